"""The towers, by their open_clip names."""

from typing import Any

from bioclip_jax.models.config import (
    CLIPConfig,
    TextConfig,
    VisionConfig,
    get_config,
    model_names,
    nearest_name,
)

__all__ = [
    "CLIP",
    "LOGIT_BIAS",
    "CLIPConfig",
    "Options",
    "TextConfig",
    "VisionConfig",
    "draw_patches",
    "get_config",
    "graphdef",
    "init_params",
    "kept_patches",
    "model_names",
    "nearest_name",
    "normalize_images",
    "on_nvidia",
]

# Loaded when they are first asked for: Flax takes half a second to import, which who only reads weights need
# not pay.
_HOMES = {
    "LOGIT_BIAS": "clip",
    "CLIP": "clip",
    "graphdef": "clip",
    "init_params": "clip",
    "Options": "options",
    "on_nvidia": "platform",
    "draw_patches": "vision",
    "kept_patches": "vision",
    "normalize_images": "vision",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
