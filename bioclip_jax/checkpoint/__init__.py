"""The training directory: its layout, its config, and Orbax checkpoints."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["build", "to_dict"],
        "layout": ["TrainingDirectory"],
        "manager": ["Checkpoints", "restore_params"],
    },
)
