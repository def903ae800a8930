"""CLIP's image and text towers, and architectures by their open_clip names."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "architectures": ["get_config", "model_names"],
        "clip": ["CLIP", "LOGIT_BIAS", "graphdef", "init_params", "parameter_axes"],
        "config": ["CLIPConfig", "TextConfig", "VisionConfig"],
        "options": ["Implementation", "Options", "Remat", "on_nvidia"],
        "preprocess": ["crop_and_resize", "normalize_images"],
        "vision": ["draw_patches", "kept_patches"],
    },
)
