"""Camtrap DP 1.0.2: read, write and check packages of camera-trap data."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "package": ["Package"],
        "times": ["parse_times"],
    },
)
