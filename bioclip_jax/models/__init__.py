"""The towers, by their open_clip names."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "clip": ["CLIP", "LOGIT_BIAS", "graphdef", "init_params"],
        "config": ["CLIPConfig", "TextConfig", "VisionConfig", "get_config", "model_names"],
        "options": ["Implementation", "Options", "Remat", "precision"],
        "platform": ["on_nvidia"],
        "vision": ["draw_patches", "kept_patches", "normalize_images"],
    },
)
