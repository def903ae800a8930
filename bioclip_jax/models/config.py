"""Architectures by their open_clip names, with open_clip's numbers."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

from bioclip_jax.errors import UserError, did_you_mean

__all__ = ["CLIPConfig", "TextConfig", "VisionConfig", "get_config", "model_names"]


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """A plain ViT: class token, pre-LN blocks, a square image cut into square patches (pixels).

    patch_dropout: share of patches that training leaves out; no part of the architecture, so it does not tell
    two apart.
    """

    image_size: int
    patch_size: int
    width: int
    layers: int
    head_width: int = 64
    mlp_ratio: float = 4.0
    ls_init_value: float | None = None
    patch_dropout: float = dataclasses.field(default=0.0, compare=False)

    @property
    def heads(self) -> int:
        return self.width // self.head_width

    @property
    def mlp_width(self) -> int:
        return int(self.width * self.mlp_ratio)

    @property
    def grid(self) -> int:
        """Patches along one side; what does not fill a patch is cut off, as a strided convolution does."""
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        return self.grid**2 + 1


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """A causal transformer over byte-pair tokens, read at the end-of-text token."""

    width: int
    heads: int
    layers: int
    context_length: int = 77
    vocab_size: int = 49408
    mlp_ratio: float = 4.0
    ls_init_value: float | None = None

    @property
    def mlp_width(self) -> int:
        return int(self.width * self.mlp_ratio)


@dataclasses.dataclass(frozen=True)
class CLIPConfig:
    """Two towers that meet in `embed_dim` dimensions; `quick_gelu` is x·sigmoid(1.702x) for exact GELU."""

    embed_dim: int
    vision: VisionConfig
    text: TextConfig
    quick_gelu: bool = False

    def to_open_clip(self) -> dict[str, Any]:
        """The `model_cfg` of an open_clip_config.json; open_clip's defaults are left out."""
        vision = {
            "image_size": self.vision.image_size,
            "layers": self.vision.layers,
            "width": self.vision.width,
            "patch_size": self.vision.patch_size,
        }
        text = {
            "context_length": self.text.context_length,
            "vocab_size": self.text.vocab_size,
            "width": self.text.width,
            "heads": self.text.heads,
            "layers": self.text.layers,
        }
        for tower, config in ((vision, self.vision), (text, self.text)):
            for name, default in _WITH_DEFAULT:
                value = getattr(config, name, default)
                if value != default:
                    tower[name] = value
        quick = {"quick_gelu": True} if self.quick_gelu else {}
        return {"embed_dim": self.embed_dim, **quick, "vision_cfg": vision, "text_cfg": text}

    @classmethod
    def from_open_clip(cls, model_cfg: Mapping[str, Any]) -> "CLIPConfig":
        """Reads a `model_cfg`; UserError names the first entry that a plain ViT-CLIP cannot express, or whose type
        open_clip would not take.
        """
        for name in ("embed_dim", "vision_cfg", "text_cfg"):
            if name not in model_cfg:
                raise UserError(
                    f"model_cfg has no {name}: it is not an open_clip CLIP; give a ViT model's configuration"
                )
        vision, text = model_cfg["vision_cfg"], model_cfg["text_cfg"]
        for name, tower in (("vision_cfg", vision), ("text_cfg", text)):
            if not isinstance(tower, Mapping):
                raise UserError(f"{name} is {tower!r}; it must be a group of keys")
        _refuse_unknown("", model_cfg, _TOP_KEYS, {})
        # A tower of another kind is told by its name, which says more than its first odd number would.
        _refuse_unknown("vision_cfg.", vision, _VISION_KEYS, _VISION_NEUTRAL)
        _refuse_unknown("text_cfg.", text, _TEXT_KEYS, _TEXT_NEUTRAL)
        if isinstance(vision.get("layers", 12), (list, tuple)):
            raise UserError(
                f"vision_cfg.layers = {vision['layers']} is a ResNet: only plain ViT towers are supported"
            )
        of_vision, of_text = _Reader("vision_cfg.", vision), _Reader("text_cfg.", text)
        return cls(
            embed_dim=_Reader("", model_cfg).count("embed_dim", 0),
            vision=VisionConfig(
                image_size=of_vision.square("image_size", 224),
                patch_size=of_vision.square("patch_size", 16),
                width=of_vision.count("width", 768),
                layers=of_vision.count("layers", 12),
                head_width=of_vision.count("head_width", 64, or_float=True),
                mlp_ratio=of_vision.number("mlp_ratio", 4.0),
                ls_init_value=of_vision.number("ls_init_value", None),
                patch_dropout=of_vision.number("patch_dropout", 0.0),
            ),
            text=TextConfig(
                width=of_text.count("width", 512),
                heads=of_text.count("heads", 8),
                layers=of_text.count("layers", 12),
                context_length=of_text.count("context_length", 77),
                vocab_size=of_text.count("vocab_size", 49408),
                mlp_ratio=of_text.number("mlp_ratio", 4.0),
                ls_init_value=of_text.number("ls_init_value", None),
            ),
            quick_gelu=bool(model_cfg.get("quick_gelu", False)),
        )


_WITH_DEFAULT = (("head_width", 64), ("mlp_ratio", 4.0), ("ls_init_value", None), ("patch_dropout", 0.0))
_TOP_KEYS = {
    "embed_dim",
    "vision_cfg",
    "text_cfg",
    "quick_gelu",
    "custom_text",
    "init_logit_scale",
    "output_dict",
}
# The bias is a parameter, and so told by the weights.
_TOP_KEYS |= {"nonscalar_logit_scale", "init_logit_bias"}
# Of the trainer behind BioCLIP 2: a second projector, which the weights tell too.
_TOP_KEYS |= {"is_continual"}
_VISION_KEYS = {"image_size", "patch_size", "width", "layers", "head_width", "mlp_ratio", "ls_init_value"}
# These say something only about training, or about a pooler or tower that the neutral values rule out.
_VISION_KEYS |= {
    "patch_dropout",
    "output_tokens",
    "attn_pooler_queries",
    "attn_pooler_heads",
    "timm_pool",
    "timm_proj",
}
_VISION_KEYS |= {"timm_model_pretrained", "timm_proj_bias", "timm_drop", "timm_drop_path", "is_continual"}
_TEXT_KEYS = {"width", "heads", "layers", "context_length", "vocab_size", "mlp_ratio", "ls_init_value"}
_TEXT_KEYS |= {"pad_id", "eos_id", "output_tokens", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type"}
_BLOCK_NEUTRAL = {
    "block_type": "default",
    "qk_norm": False,
    "scaled_cosine_attn": False,
    "scale_heads": False,
    "scale_attn_inner": False,
    "scale_attn": False,
    "scale_fc": False,
    "final_ln_after_pool": False,
    "act_kwargs": None,
    "norm_kwargs": None,
}
_VISION_NEUTRAL = _BLOCK_NEUTRAL | {
    "timm_model_name": None,
    "attentional_pool": False,
    "no_ln_pre": False,
    "pos_embed_type": "learnable",
    "pool_type": "tok",
}
_TEXT_NEUTRAL = _BLOCK_NEUTRAL | {
    "hf_model_name": None,
    "hf_tokenizer_name": None,
    "tokenizer_mode": None,
    "tokenizer_kwargs": None,
    "embed_cls": False,
    "no_causal_mask": False,
    "pool_type": "argmax",
    "proj_type": "linear",
    "proj_bias": False,
}


def _refuse_unknown(
    where: str, given: Mapping[str, Any], known: set[str], neutral: Mapping[str, Any]
) -> None:
    for name, value in given.items():
        if name in known or (name in neutral and (value == neutral[name] or value in (None, {}))):
            continue
        raise UserError(
            f"{where}{name} = {value!r} is not supported: only plain ViT-CLIP models are, see `model_names()`"
        )


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Numbers of a group of keys; UserError for one of another type. `where`: what its name is prefixed with."""

    where: str
    values: Mapping[str, Any]

    def count(self, name: str, default: int, or_float: bool = False) -> int:
        """A whole number above 0. `or_float`: one such as 64.0, too."""
        value = self.values.get(name, default)
        if or_float and type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or value < 1:
            raise UserError(f"{self.where}{name} is {value!r}; it must be a whole number above 0")
        return value

    def number(self, name: str, default: float | None) -> float | None:
        """A finite number that is not negative, or the default where that is None."""
        value = self.values.get(name, default)
        if value is None and default is None:
            return None
        if type(value) not in (int, float) or not 0 <= value < math.inf:
            raise UserError(f"{self.where}{name} is {value!r}; it must be a number from 0 on")
        return value

    def square(self, name: str, default: int) -> int:
        """Pixels of a side, where height and width may be given."""
        size = self.values.get(name, default)
        if isinstance(size, (list, tuple)):
            if len(size) != 2 or size[0] != size[1]:
                problem = "is not square: only square images and patches are supported"
                raise UserError(f"{self.where}{name} = {list(size)} {problem}")
            size = size[0]
        return _Reader(self.where, {name: size}).count(name, default)


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

# Ours, for two CPU cores: open_clip has no names for them.
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
    """All architectures, open_clip's from small to large, then ours."""
    return (*_ARCHITECTURES, *_SMALL)


@functools.cache
def get_config(name: str) -> CLIPConfig:
    """The architecture of that name, "ViT-B/32" being "ViT-B-32"; UserError names the nearest where there is none."""
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
