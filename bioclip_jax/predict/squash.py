"""pybioclip's preprocessing of images for the published models: antialiased bilinear squash."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Real
from PIL import Image

from bioclip_jax.pipeline.images import Preprocess

# Rows that one product makes: they share most of the rows that they are made of.
_GROUP = 8


@dataclass(frozen=True)
class Squash(Preprocess):
    """The whole picture in a square, bilinear and antialiased, never rounded to integers.

    Equals torchvision's Resize after ToTensor to 2e-6 of the normalised values, on the scale of 0 to 255.
    Pillow's own resize of floats weighs in double precision and is off by up to 6e-5.
    """

    interpolation: Literal["bilinear"] = "bilinear"
    resize_mode: Literal["squash"] = "squash"

    def describe(self) -> str:
        """Description of the transform, for a log."""
        return f"{super().describe()}, antialiased, not rounded"

    def __call__(self, image: Image.Image) -> Float32[np.ndarray, "size size 3"]:
        """The pixels that the model sees, before normalisation, of a picture in RGB."""
        rows = _resize(np.asarray(image), self.size)
        return np.ascontiguousarray(_resize(rows.swapaxes(0, 1), self.size).swapaxes(0, 1))


class _Product(NamedTuple):
    """`weights` times the rows from `first` to `last` gives some rows of the result."""

    first: int
    last: int
    weights: Float32[np.ndarray, "rows taps"]


def _resize(pixels: Real[np.ndarray, "height width 3"], size: int) -> Float32[np.ndarray, "size width 3"]:
    """The rows brought to `size`, a few at a time, so that a large picture is never whole in floats."""
    height, width, channels = pixels.shape
    if height == size:
        return pixels.astype(np.float32)
    rows = [
        product.weights
        @ pixels[product.first : product.last].reshape(-1, width * channels).astype(np.float32)
        for product in _products(height, size)
    ]
    return np.concatenate(rows).reshape(size, width, channels)


# A folder's pictures often have few sizes.
@functools.lru_cache(maxsize=64)
def _products(height: int, size: int) -> tuple[_Product, ...]:
    """The triangle filter, as wide as an output pixel where the picture shrinks, in PyTorch's float32 arithmetic."""
    scale = np.float32(height) / np.float32(size)
    support = max(scale, np.float32(1))
    centers = scale * (np.arange(size, dtype=np.float32) + np.float32(0.5))
    first = np.maximum((centers - support + np.float32(0.5)).astype(int), 0)
    last = np.minimum((centers + support + np.float32(0.5)).astype(int), height)
    products = []
    for start in range(0, size, _GROUP):
        rows = slice(start, start + _GROUP)
        taps = np.arange(first[rows][0], last[rows][-1])
        distances = np.abs(taps.astype(np.float32) - centers[rows, None] + np.float32(0.5)) * (
            np.float32(1) / support
        )
        inside = (taps >= first[rows, None]) & (taps < last[rows, None])
        weights = np.where(inside, np.maximum(np.float32(1) - distances, np.float32(0)), np.float32(0))
        weights /= weights.sum(axis=1, keepdims=True)
        products.append(_Product(int(first[rows][0]), int(last[rows][-1]), weights))
    return tuple(products)
