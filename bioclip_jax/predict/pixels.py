"""From whatever a person calls an image to the pixels that the model sees."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from bioclip_jax.pipeline.images import BadImage, Preprocess, decode, open_image
from bioclip_jax.predict.inputs import ImageFile

# A path, the encoded bytes, a picture, or its uint8 pixels [height, width(, 3)].
ImageLike = str | os.PathLike | ImageFile | bytes | Image.Image | UInt8[np.ndarray, "height width *channels"]


def load_pixels(image: ImageLike, preprocess: Preprocess) -> UInt8[np.ndarray, "size size 3"]:
    """The image as RGB, then resized and cropped as the model wants it.

    The conversion to RGB comes first, as in pybioclip, and EXIF orientation is not applied, as in open_clip: the
    scores are theirs. BadImage or OSError where there is no picture.
    """
    return preprocess(_open(image))


def _open(image: ImageLike) -> Image.Image:
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3):
            raise BadImage("unreadable", f"an array of {image.dtype} {list(image.shape)}, not uint8 [height, width, 3]")
        return Image.fromarray(image).convert("RGB")
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    if isinstance(image, ImageFile):
        image = image.read()
    elif not isinstance(image, bytes):
        image = Path(image).read_bytes()
    picture = open_image(image)
    # Pillow would clip 16-bit and float pixels at 255, which leaves nothing to see.
    return Image.fromarray(decode(image)) if picture.mode.startswith(("I", "F")) else picture.convert("RGB")


def name_of(image: ImageLike) -> str:
    """What to call the image in a message or a result; "" for one without a name."""
    if isinstance(image, ImageFile):
        return image.name
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else ""
