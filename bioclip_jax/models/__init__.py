"""The towers, by their open_clip names."""

from bioclip_jax.models.clip import LOGIT_BIAS, CLIP, graphdef, init_params
from bioclip_jax.models.config import CLIPConfig, TextConfig, VisionConfig, get_config, model_names
from bioclip_jax.models.options import Options
from bioclip_jax.models.platform import on_nvidia
from bioclip_jax.models.vision import draw_patches, kept_patches, normalize_images

__all__ = [
    "LOGIT_BIAS",
    "CLIP",
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
    "normalize_images",
    "on_nvidia",
]
