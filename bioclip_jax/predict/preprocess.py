"""Preprocess images of any form to the model's pixels, also by pybioclip's antialiased bilinear squash."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Real, UInt8
from PIL import Image

from bioclip_jax.convert import ModelBundle, Transform
from bioclip_jax.pipeline.images import (
    BadImage,
    FrameReader,
    OnTruncated,
    Preprocess,
    read_image,
    to_rgb,
)

from .crop import crop
from .image_file import ImageFile, image_file, read_upright

# A path, encoded bytes, a PIL image, or uint8 pixels [height, width(, channels)].
ImageLike = str | os.PathLike | ImageFile | bytes | Image.Image | UInt8[np.ndarray, "height width *channels"]
# The model's input before normalization, between 0 and 255.
Pixels = UInt8[np.ndarray, "size size 3"] | Float32[np.ndarray, "size size 3"]

# Output rows per matrix product in _resize; neighbors share most of their input rows.
_ROWS_PER_PRODUCT = 8


def choose_preprocess(bundle: ModelBundle, transform: Transform | None = None) -> Preprocess:
    """Return the preprocessing named by `transform`; None follows the model's origin.

    "pybioclip" normalizes published models as pybioclip does, others by the mean and std of their training.
    """
    own = bundle.preprocess
    if (transform or bundle.origin.transform) == "model":
        return own
    if bundle.origin.published is not None:
        return Squash(own.size, read=own.read)
    return Squash(own.size, own.mean, own.std, read=own.read)


def load_pixels(
    image: ImageLike,
    preprocess: Preprocess,
    on_truncated: OnTruncated | None = None,
    frames: FrameReader | None = None,
) -> Pixels:
    """Read an image as upright RGB, and resize and crop it for the model; Squash returns floats.

    Reading follows `preprocess.read`; with exif "ignore" the pixels equal pybioclip's, which also converts
    to RGB first. The box of an ImageFile is cut out of the upright image, whatever `preprocess.read.exif`
    is, since detectors turn images by EXIF. frames: decodes a video's frames in one pass. Raises BadImage or
    OSError if there is no readable image, and for a box of a few pixels.
    """
    return preprocess(load_upright(image, preprocess, on_truncated, frames))


def load_upright(
    image: ImageLike,
    preprocess: Preprocess,
    on_truncated: OnTruncated | None = None,
    frames: FrameReader | None = None,
) -> Image.Image:
    """Read an image as load_pixels, before it is resized: RGB, upright, and cut to its box."""
    if isinstance(image, np.ndarray):
        channels = image.shape[2] if image.ndim == 3 else 1
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in (1, 3, 4) or not image.size:
            raise BadImage(
                "unreadable", f"an array of {image.dtype} {list(image.shape)}, not uint8 [height, width, 3]"
            )
        return Image.fromarray(image[:, :, 0] if image.ndim == 3 and channels == 1 else image).convert("RGB")
    if isinstance(image, Image.Image):
        return to_rgb(image, preprocess.read.exif)
    if isinstance(image, bytes):
        return read_image(image, preprocess.read, on_truncated)
    if not isinstance(image, ImageFile):
        image = image_file(os.fspath(image))
    if image.box is None:
        return read_upright(image, preprocess.read, on_truncated, frames)
    return crop(read_upright(image, replace(preprocess.read, exif="apply"), on_truncated, frames), image.box)


def name_of(image: ImageLike) -> str:
    """Return the image's name for messages and results, "" if it has none."""
    if isinstance(image, ImageFile):
        return image.name
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else ""


@dataclass(frozen=True)
class Squash(Preprocess):
    """Bilinear, antialiased resize of the whole image to a square, without rounding to integers.

    Equals torchvision's Resize after ToTensor to 2e-6 of the normalized values, on the scale of 0 to 255.
    Pillow's own resize of floats weighs in double precision and is off by up to 6e-5.
    """

    interpolation: Literal["bilinear"] = "bilinear"
    resize_mode: Literal["squash"] = "squash"

    def describe(self) -> str:
        """Describe the transform for a log."""
        return f"{super().describe()}, antialiased, not rounded"

    def __call__(self, image: Image.Image) -> Float32[np.ndarray, "size size 3"]:
        """Return the unnormalized pixels of an RGB image."""
        rows = _resize(np.asarray(image), self.size)
        return np.ascontiguousarray(_resize(rows.swapaxes(0, 1), self.size).swapaxes(0, 1))


class _Product(NamedTuple):
    """Some output rows: `weights` times the input rows from `first` to before `last`."""

    first: int
    last: int
    weights: Float32[np.ndarray, "rows taps"]


def _resize(pixels: Real[np.ndarray, "height width 3"], size: int) -> Float32[np.ndarray, "size width 3"]:
    """Resize the height to `size`, a few rows at a time, so that no float copy of a large image is made."""
    height, width, channels = pixels.shape
    if height == size:
        return pixels.astype(np.float32)
    resized = np.empty((size, width * channels), np.float32)
    row = 0
    for first, last, weights in _products(height, size):
        part = pixels[first:last].reshape(-1, width * channels).astype(np.float32)
        np.matmul(weights, part, out=resized[row : row + len(weights)])
        row += len(weights)
    return resized.reshape(size, width, channels)


# A folder's images often have few sizes.
@functools.lru_cache(maxsize=64)
def _products(height: int, size: int) -> tuple[_Product, ...]:
    """Return the triangle filter, one output pixel wide when shrinking, in PyTorch's float32 arithmetic."""
    scale = np.float32(height) / np.float32(size)
    support = max(scale, np.float32(1))
    centers = scale * (np.arange(size, dtype=np.float32) + np.float32(0.5))
    first = np.maximum((centers - support + np.float32(0.5)).astype(int), 0)
    last = np.minimum((centers + support + np.float32(0.5)).astype(int), height)
    products = []
    for start in range(0, size, _ROWS_PER_PRODUCT):
        rows = slice(start, start + _ROWS_PER_PRODUCT)
        taps = np.arange(first[rows][0], last[rows][-1])
        distances = np.abs(taps.astype(np.float32) - centers[rows, None] + np.float32(0.5)) * (
            np.float32(1) / support
        )
        inside = (taps >= first[rows, None]) & (taps < last[rows, None])
        weights = np.where(inside, np.maximum(np.float32(1) - distances, np.float32(0)), np.float32(0))
        weights /= weights.sum(axis=1, keepdims=True)
        products.append(_Product(int(first[rows][0]), int(last[rows][-1]), weights))
    return tuple(products)
