"""Configuration of the towers, and open_clip's `model_cfg` form of it."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from bioclip_jax.errors import UserError

__all__ = ["CLIPConfig", "TextConfig", "VisionConfig"]


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """A plain ViT: class token, pre-LN blocks, a square image cut into square patches (pixels).

    patch_dropout: fraction of patches dropped in training; not part of the architecture, so not compared.
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
        """Number of attention heads."""
        return self.width // self.head_width

    @property
    def mlp_width(self) -> int:
        """Number of hidden units of the MLP."""
        return int(self.width * self.mlp_ratio)

    @property
    def grid(self) -> int:
        """Patches along one side; remaining pixels are cut off, as by a strided convolution."""
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        """Patches and the class token."""
        return self.grid**2 + 1


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """A causal transformer over byte-pair tokens, pooled at the end-of-text token."""

    width: int
    heads: int
    layers: int
    context_length: int = 77
    vocab_size: int = 49408
    mlp_ratio: float = 4.0
    ls_init_value: float | None = None

    @property
    def mlp_width(self) -> int:
        """Number of hidden units of the MLP."""
        return int(self.width * self.mlp_ratio)


@dataclasses.dataclass(frozen=True)
class CLIPConfig:
    """Two towers with outputs of `embed_dim`; quick_gelu: x·sigmoid(1.702x) instead of the exact GELU."""

    embed_dim: int
    vision: VisionConfig
    text: TextConfig
    quick_gelu: bool = False

    def to_open_clip(self) -> dict[str, Any]:
        """Return the `model_cfg` of an open_clip_config.json, without open_clip's default values."""
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
            for name, default in _DEFAULTS:
                value = getattr(config, name, default)
                if value != default:
                    tower[name] = value
        quick = {"quick_gelu": True} if self.quick_gelu else {}
        return {"embed_dim": self.embed_dim, **quick, "vision_cfg": vision, "text_cfg": text}

    @classmethod
    def from_open_clip(cls, model_cfg: Mapping[str, Any]) -> "CLIPConfig":
        """Read a `model_cfg`.

        Raises UserError for an entry that a plain ViT-CLIP cannot express or open_clip would reject.
        """
        for name in ("embed_dim", "vision_cfg", "text_cfg"):
            if name not in model_cfg:
                raise UserError(
                    f"model_cfg has no {name}: it is not an open_clip CLIP; give a ViT's configuration"
                )
        vision, text = model_cfg["vision_cfg"], model_cfg["text_cfg"]
        for name, tower in (("vision_cfg", vision), ("text_cfg", text)):
            if not isinstance(tower, Mapping):
                raise UserError(f"{name} is {tower!r}; it must be a group of keys")
        _check_entries("", model_cfg, _TOP_KEYS, {})
        # Before the values: an entry of another kind of tower explains more than a value of a wrong type.
        _check_entries("vision_cfg.", vision, _VISION_KEYS, _VISION_NEUTRAL)
        _check_entries("text_cfg.", text, _TEXT_KEYS, _TEXT_NEUTRAL)
        if isinstance(vision.get("layers", 12), (list, tuple)):
            raise UserError(
                f"vision_cfg.layers = {vision['layers']} is a ResNet: only plain ViT towers are supported"
            )
        vision_reader, text_reader = _Reader("vision_cfg.", vision), _Reader("text_cfg.", text)
        return cls(
            embed_dim=_Reader("", model_cfg).count("embed_dim", 0),
            vision=VisionConfig(
                image_size=vision_reader.square("image_size", 224),
                patch_size=vision_reader.square("patch_size", 16),
                width=vision_reader.count("width", 768),
                layers=vision_reader.count("layers", 12),
                head_width=vision_reader.count("head_width", 64, or_float=True),
                mlp_ratio=vision_reader.number("mlp_ratio", 4.0),
                ls_init_value=vision_reader.number("ls_init_value", None),
                patch_dropout=vision_reader.number("patch_dropout", 0.0),
            ),
            text=TextConfig(
                width=text_reader.count("width", 512),
                heads=text_reader.count("heads", 8),
                layers=text_reader.count("layers", 12),
                context_length=text_reader.count("context_length", 77),
                vocab_size=text_reader.count("vocab_size", 49408),
                mlp_ratio=text_reader.number("mlp_ratio", 4.0),
                ls_init_value=text_reader.number("ls_init_value", None),
            ),
            quick_gelu=bool(model_cfg.get("quick_gelu", False)),
        )


_DEFAULTS = (("head_width", 64), ("mlp_ratio", 4.0), ("ls_init_value", None), ("patch_dropout", 0.0))
_TOP_KEYS = {
    "embed_dim",
    "vision_cfg",
    "text_cfg",
    "quick_gelu",
    "custom_text",
    "init_logit_scale",
    "output_dict",
}
# The logit bias is a parameter, so the weights determine it.
_TOP_KEYS |= {"nonscalar_logit_scale", "init_logit_bias"}
# From the trainer of BioCLIP 2: a second projector, which the weights determine too.
_TOP_KEYS |= {"is_continual"}
_VISION_KEYS = {"image_size", "patch_size", "width", "layers", "head_width", "mlp_ratio", "ls_init_value"}
# These affect only training, or a pooler or tower that the neutral values exclude.
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


def _check_entries(
    prefix: str, given: Mapping[str, Any], known: set[str], neutral: Mapping[str, Any]
) -> None:
    for name, value in given.items():
        if name in known or (name in neutral and (value == neutral[name] or value in (None, {}))):
            continue
        raise UserError(f"{prefix}{name} = {value!r} is not supported: only plain ViT-CLIP models are")


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Typed values of a mapping, whose names get `prefix` in messages. Raises UserError for wrong types."""

    prefix: str
    values: Mapping[str, Any]

    def count(self, name: str, default: int, or_float: bool = False) -> int:
        """Return a positive integer; or_float: accept 64.0 too."""
        value = self.values.get(name, default)
        if or_float and type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or value < 1:
            raise UserError(f"{self.prefix}{name} is {value!r}; it must be a whole number above 0")
        return value

    def number(self, name: str, default: float | None) -> float | None:
        """Return a finite non-negative number, or None if the default is None."""
        value = self.values.get(name, default)
        if value is None and default is None:
            return None
        if type(value) not in (int, float) or not 0 <= value < math.inf:
            raise UserError(f"{self.prefix}{name} is {value!r}; it must be a finite number, 0 or more")
        return value

    def square(self, name: str, default: int) -> int:
        """Return the side of a square in pixels, from one number or equal height and width."""
        size = self.values.get(name, default)
        if isinstance(size, (list, tuple)):
            if len(size) != 2 or size[0] != size[1]:
                problem = "is not square: only square images and patches are supported"
                raise UserError(f"{self.prefix}{name} = {list(size)} {problem}")
            size = size[0]
        return _Reader(self.prefix, {name: size}).count(name, default)
