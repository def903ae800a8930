"""open_clip's evaluation transform, pixel for pixel."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from bioclip_jax.errors import UserError

from .bad_image import BadImage
from .read_options import ReadOptions

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)

# Largest intermediate image in pixels: an aspect ratio of about 100:1 at 336 pixels.
_MOST_RESIZED = 12_000_000

_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Preprocess:
    """open_clip's evaluation transform, pixel for pixel, except normalization, which runs on the device.

    Fields are those of open_clip's preprocess_cfg, `size` the side in pixels, and `read`, the options for
    reading files, which preprocess_cfg lacks.
    """

    size: int = 224
    mean: tuple[float, float, float] = OPENAI_MEAN
    std: tuple[float, float, float] = OPENAI_STD
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    resize_mode: Literal["shortest", "squash", "longest"] = "shortest"
    fill_color: int = 0
    read: ReadOptions = ReadOptions()

    def __post_init__(self):
        object.__setattr__(self, "mean", tuple(self.mean))
        object.__setattr__(self, "std", tuple(self.std))
        check_image_fields(self)

    def __call__(self, image: Image.Image) -> UInt8[np.ndarray, "size size 3"]:
        """Transform an image to the model's input before normalization. Converts to RGB last, as open_clip.

        Raises BadImage if the image is too thin to be resized to a shorter side of `size` pixels.
        """
        width, height = image.size
        if self.resize_mode == "squash":
            image = self._resize(image, self.size, self.size)
        elif self.resize_mode == "shortest":
            short, long = self.size, int(self.size * max(width, height) / min(width, height))
            if short * long > _MOST_RESIZED:
                raise BadImage("too_thin", f"{width} x {height} pixels are too thin to be resized")
            image = self._resize(image, *((short, long) if width <= height else (long, short)))
            image = self._crop_or_pad(image)
        else:
            ratio = max(width, height) / self.size
            image = self._resize(image, max(1, round(width / ratio)), max(1, round(height / ratio)))
            image = self._crop_or_pad(image)
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))

    def _resize(self, image: Image.Image, width: int, height: int) -> Image.Image:
        if image.size == (width, height):
            return image
        return image.resize((width, height), _RESAMPLING[self.interpolation])

    def _crop_or_pad(self, image: Image.Image) -> Image.Image:
        across, down = max(0, self.size - image.width), max(0, self.size - image.height)
        if across or down:
            bands = len(image.getbands())
            fill = self.fill_color if bands == 1 else (self.fill_color,) * bands
            palette = image.getpalette() if image.mode == "P" else None
            border = (across // 2, down // 2, (across + 1) // 2, (down + 1) // 2)
            image = ImageOps.expand(image, border=border, fill=fill)
            if palette is not None:
                image.putpalette(palette)
        top = round((image.height - self.size) / 2)
        left = round((image.width - self.size) / 2)
        return image.crop((left, top, left + self.size, top + self.size))

    def describe(self) -> str:
        """Describe the transform for a log, and for results.json, whose description `--resume` compares."""
        descriptions = {
            "squash": f"squashed to {self.size} x {self.size}",
            "shortest": f"shorter side to {self.size}, center crop",
            "longest": f"longer side to {self.size}, padded",
        }
        exif = ", not turned by EXIF" if self.read.exif == "ignore" else ""
        return f"{descriptions[self.resize_mode]}, {self.interpolation}{exif}"

    @classmethod
    def from_open_clip(cls, config: Mapping[str, Any], size: int | None = None) -> "Preprocess":
        """Build from a preprocess_cfg. Missing, None or empty values take open_clip's defaults.

        Unknown keys are ignored. `size` overrides that of `config`. As in open_clip, a single number as mean
        or std applies to each channel. Raises UserError for a value that open_clip would refuse.
        """
        if not isinstance(config, Mapping):
            raise UserError(f"preprocess_cfg is {config!r}; it must be a group of keys")
        if config.get("mode") not in (None, "RGB"):
            raise UserError(f"preprocess_cfg.mode is {config['mode']!r}; only RGB is supported")
        fields: dict[str, Any] = {"size": _square(config.get("size") or 224) if size is None else size}
        for name in ("mean", "std"):
            if config.get(name):
                fields[name] = _channels(name, config[name])
        for name in ("interpolation", "resize_mode"):
            if config.get(name):
                fields[name] = config[name]
        if fields.get("interpolation") == "random":
            fields["interpolation"] = "bicubic"
        fill = config.get("fill_color") or 0
        if type(fill) is not int:
            raise UserError(f"preprocess_cfg.fill_color is {fill!r}; it must be a whole number")
        return cls(**fields, fill_color=fill)

    def to_open_clip(self) -> dict[str, Any]:
        """The preprocess_cfg, with every field that open_clip reads."""
        return {
            "size": [self.size, self.size],
            "mode": "RGB",
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation,
            "resize_mode": self.resize_mode,
            "fill_color": self.fill_color,
        }


def _square(size: Any) -> int:
    sides = size if isinstance(size, (list, tuple)) and size else [size]
    if not all(type(side) is int for side in sides):
        raise UserError(f"preprocess_cfg.size is {size!r}; it must be a whole number of pixels")
    if sides[0] != sides[-1]:
        raise UserError(f"preprocess_cfg.size is {size}, not square; only square images are supported")
    return sides[0]


def _channels(name: str, value: Any) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not all(isinstance(item, (int, float)) and math.isfinite(item) for item in values):
        raise UserError(f"preprocess_cfg.{name} is {value!r}; it must be one number, or three")
    return values * 3 if len(values) == 1 else values


def check_image_fields(config: Any) -> None:
    """Raise UserError if mean, std, interpolation or resize_mode of a config is invalid."""
    for name in ("mean", "std"):
        if len(getattr(config, name)) != 3:
            raise UserError(f"image.{name} is {getattr(config, name)}; it must be three numbers")
    if min(config.std) <= 0:
        raise UserError(f"image.std is {config.std}; each must be above 0")
    if config.interpolation not in _RESAMPLING:
        raise UserError(f"image.interpolation is {config.interpolation!r}; choose bicubic or bilinear")
    if config.resize_mode not in ("shortest", "squash", "longest"):
        raise UserError(f"image.resize_mode is {config.resize_mode!r}; choose shortest, squash or longest")
