"""From whatever a person calls an image to the pixels that the model sees."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from bioclip_jax.convert.load import ModelBundle
from bioclip_jax.convert.pretrained import PUBLISHED
from bioclip_jax.pipeline.images import BadImage, Preprocess, decode, open_image
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.squash import Squash

# A path, the encoded bytes, a picture, or its uint8 pixels [height, width(, 3)].
ImageLike = str | os.PathLike | ImageFile | bytes | Image.Image | UInt8[np.ndarray, "height width *channels"]
# What the model sees, before normalisation: between 0 and 255.
Pixels = UInt8[np.ndarray, "size size 3"] | Float32[np.ndarray, "size size 3"]


def prediction_preprocess(bundle: ModelBundle) -> Preprocess:
    """The transform under which a model's predictions are pybioclip's: Squash for the two PUBLISHED models from the
    Hub, and for every other the model's own. The evaluation protocols always use the model's own."""
    return Squash(bundle.preprocess.size) if bundle.source in PUBLISHED else bundle.preprocess


def load_pixels(image: ImageLike, preprocess: Preprocess) -> Pixels:
    """The image as RGB, then resized and cropped as the model wants it; from Squash in floats.

    The conversion to RGB comes first, as in pybioclip, and EXIF orientation is not applied, as in open_clip: the
    scores are theirs. BadImage or OSError where there is no picture.
    """
    return preprocess(_open(image))


def _open(image: ImageLike) -> Image.Image:
    if isinstance(image, np.ndarray):
        channels = image.shape[2] if image.ndim == 3 else 1
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in (1, 3, 4) or not image.size:
            raise BadImage("unreadable", f"an array of {image.dtype} {list(image.shape)}, not uint8 [height, width, 3]")
        return Image.fromarray(image[:, :, 0] if image.ndim == 3 and channels == 1 else image).convert("RGB")
    if isinstance(image, Image.Image):
        return _rgb(image)
    if isinstance(image, ImageFile):
        image = image.read()
    elif not isinstance(image, bytes):
        image = Path(image).read_bytes()
    picture = open_image(image)
    # Pillow would clip 16-bit and float pixels at 255, which leaves nothing to see.
    return Image.fromarray(decode(image)) if picture.mode.startswith(("I", "F")) else _rgb(picture)


def _rgb(image: Image.Image) -> Image.Image:
    # The conversion copies every pixel, even of a picture that is RGB.
    return image if image.mode == "RGB" else image.convert("RGB")


def name_of(image: ImageLike) -> str:
    """What to call the image in a message or a result; "" for one without a name."""
    if isinstance(image, ImageFile):
        return image.name
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else ""
