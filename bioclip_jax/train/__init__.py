"""Training: config, loop, update, losses, optimizer and metrics."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compiler": ["compile_step"],
        "config": ["TrainConfig", "train_config"],
        "experiment": ["Experiment"],
        "features": ["make_encode"],
        "feed": ["Fed", "Feed"],
        "flags": ["read_config"],
        "loop": ["Interrupted", "open_sources", "train"],
        "throughput": ["Work", "loss_flops", "peak_flops", "tower_work"],
    },
)
