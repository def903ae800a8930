"""Training: config, loop, update, losses, optimizer and metrics."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["TrainConfig", "train_config"],
        "experiment": ["Experiment", "compile_step"],
        "flops": ["Work", "loss_flops", "peak_flops", "tower_work"],
        "input": ["InputBatch", "TrainInput", "open_sources"],
        "preemption": ["Preempted"],
        "step": ["encode"],
        "train": ["start_or_resume"],
    },
)
