"""From whatever a person calls an image to the pixels that the model sees."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from bioclip_jax.convert import ModelBundle, Transform
from bioclip_jax.pipeline.images import BadImage, OnTruncated, Preprocess, read_image, to_rgb

from .inputs import ImageFile
from .squash import Squash

# A path, the encoded bytes, a picture, or its uint8 pixels [height, width(, 3)].
ImageLike = str | os.PathLike | ImageFile | bytes | Image.Image | UInt8[np.ndarray, "height width *channels"]
# What the model sees, before normalisation: between 0 and 255.
Pixels = UInt8[np.ndarray, "size size 3"] | Float32[np.ndarray, "size size 3"]


def choose_preprocess(bundle: ModelBundle, transform: Transform | None = None) -> Preprocess:
    """The preprocessing of `transform`, or where it is None of the one that the model's origin asks for.

    "pybioclip" normalizes the published models as pybioclip does, and others by the mean and std of their
    training.
    """
    own = bundle.preprocess
    if (transform or bundle.origin.transform) == "model":
        return own
    if bundle.origin.published is not None:
        return Squash(own.size, read=own.read)
    return Squash(own.size, own.mean, own.std, read=own.read)


def load_pixels(image: ImageLike, preprocess: Preprocess, on_truncated: OnTruncated | None = None) -> Pixels:
    """The image as upright RGB, then resized and cropped as the model wants it; from Squash in floats.

    Read as `preprocess.read` says; with its exif "ignore", the pixels are pybioclip's, which also converts to
    RGB first. BadImage or OSError where there is no picture.
    """
    return preprocess(_open(image, preprocess, on_truncated))


def _open(image: ImageLike, preprocess: Preprocess, on_truncated: OnTruncated | None) -> Image.Image:
    if isinstance(image, np.ndarray):
        channels = image.shape[2] if image.ndim == 3 else 1
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in (1, 3, 4) or not image.size:
            raise BadImage(
                "unreadable", f"an array of {image.dtype} {list(image.shape)}, not uint8 [height, width, 3]"
            )
        return Image.fromarray(image[:, :, 0] if image.ndim == 3 and channels == 1 else image).convert("RGB")
    if isinstance(image, Image.Image):
        return to_rgb(image, preprocess.read.exif)
    if isinstance(image, ImageFile):
        image = image.read()
    elif not isinstance(image, bytes):
        image = Path(image).read_bytes()
    return read_image(image, preprocess.read, on_truncated)


def name_of(image: ImageLike) -> str:
    """What to call the image in a message or a result; "" for one without a name."""
    if isinstance(image, ImageFile):
        return image.name
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else ""
