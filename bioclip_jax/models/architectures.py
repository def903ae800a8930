"""Architectures by their open_clip names."""

import functools

from bioclip_jax.errors import UserError, did_you_mean

from .config import CLIPConfig, TextConfig, VisionConfig

__all__ = ["get_config", "model_names"]

# width, layers, head_width, mlp_ratio
_VISION = {
    "S": (384, 12, 64, 4.0),
    "M": (512, 12, 64, 4.0),
    "B": (768, 12, 64, 4.0),
    "B-plus": (896, 12, 64, 4.0),
    "L": (1024, 24, 64, 4.0),
    "H": (1280, 32, 80, 4.0),
    "g": (1408, 40, 88, 4.3637),
    "bigG": (1664, 48, 104, 4.9231),
    "e": (1792, 56, 112, 8.5715),
}

# name: vision tower, patch_size, image_size, text width (embed_dim too; heads of 64), text layers
_ARCHITECTURES = {
    "ViT-S-32": ("S", 32, 224, 384, 12),
    "ViT-S-32-alt": ("S", 32, 224, 256, 10),
    "ViT-S-16": ("S", 16, 224, 384, 12),
    "ViT-S-16-alt": ("S", 16, 224, 256, 10),
    "ViT-M-32": ("M", 32, 224, 512, 12),
    "ViT-M-32-alt": ("M", 32, 224, 384, 12),
    "ViT-M-16": ("M", 16, 224, 512, 12),
    "ViT-M-16-alt": ("M", 16, 224, 384, 12),
    "ViT-B-32": ("B", 32, 224, 512, 12),
    "ViT-B-32-256": ("B", 32, 256, 512, 12),
    "ViT-B-32-quickgelu": ("B", 32, 224, 512, 12),
    "ViT-B-32-plus-256": ("B-plus", 32, 256, 640, 12),
    "ViT-B-16": ("B", 16, 224, 512, 12),
    "ViT-B-16-quickgelu": ("B", 16, 224, 512, 12),
    "ViT-B-16-plus": ("B-plus", 16, 224, 640, 12),
    "ViT-B-16-plus-240": ("B-plus", 16, 240, 640, 12),
    "ViT-L-16": ("L", 16, 224, 768, 12),
    "ViT-L-16-320": ("L", 16, 320, 768, 12),
    "ViT-L-14": ("L", 14, 224, 768, 12),
    "ViT-L-14-quickgelu": ("L", 14, 224, 768, 12),
    "ViT-L-14-280": ("L", 14, 280, 768, 12),
    "ViT-L-14-336": ("L", 14, 336, 768, 12),
    "ViT-L-14-336-quickgelu": ("L", 14, 336, 768, 12),
    "ViT-H-16": ("H", 16, 224, 1024, 24),
    "ViT-H-14": ("H", 14, 224, 1024, 24),
    "ViT-H-14-quickgelu": ("H", 14, 224, 1024, 24),
    "ViT-H-14-378": ("H", 14, 378, 1024, 24),
    "ViT-H-14-378-quickgelu": ("H", 14, 378, 1024, 24),
    "ViT-g-14": ("g", 14, 224, 1024, 24),
    "ViT-bigG-14": ("bigG", 14, 224, 1280, 32),
    "ViT-bigG-14-quickgelu": ("bigG", 14, 224, 1280, 32),
    "ViT-e-14": ("e", 14, 224, 1280, 36),
}

# Not in open_clip: small enough to train on two CPU cores.
_SMALL = {
    "ViT-Test-16": CLIPConfig(
        embed_dim=32,
        vision=VisionConfig(image_size=32, patch_size=16, width=64, layers=2, head_width=32),
        text=TextConfig(width=64, heads=2, layers=2),
    ),
    "ViT-Mini-16": CLIPConfig(
        embed_dim=128,
        vision=VisionConfig(image_size=64, patch_size=16, width=192, layers=4),
        text=TextConfig(width=64, heads=1, layers=2),
    ),
    "ViT-Mini-8": CLIPConfig(
        embed_dim=128,
        vision=VisionConfig(image_size=48, patch_size=8, width=192, layers=4),
        text=TextConfig(width=64, heads=1, layers=2),
    ),
}


def model_names() -> tuple[str, ...]:
    """Return the names of all architectures: open_clip's from small to large, then the small ones."""
    return (*_ARCHITECTURES, *_SMALL)


@functools.cache
def get_config(name: str) -> CLIPConfig:
    """Return an architecture by name; "ViT-B/32" is "ViT-B-32". Raises UserError for an unknown name."""
    name = name.replace("/", "-")
    if name in _SMALL:
        return _SMALL[name]
    if name not in _ARCHITECTURES:
        raise UserError(f"unknown model {name!r}{did_you_mean(name, model_names(), cutoff=0.0)}")
    tower, patch_size, image_size, text_width, text_layers = _ARCHITECTURES[name]
    width, layers, head_width, mlp_ratio = _VISION[tower]
    ls_init_value = 1e-4 if name == "ViT-M-16-alt" else None
    return CLIPConfig(
        embed_dim=text_width,
        vision=VisionConfig(image_size, patch_size, width, layers, head_width, mlp_ratio, ls_init_value),
        text=TextConfig(text_width, text_width // 64, text_layers),
        quick_gelu=name.endswith("-quickgelu"),
    )
