"""Images: bytes of any kind to pixels, the random training crop, and open_clip's evaluation transform.

Training, evaluation and prediction all turn a picture upright by its EXIF orientation and scale 16-bit pixels
to 8; ReadOptions(exif="ignore") takes pictures as they are stored, as the peers do.
"""

from bioclip_jax.pipeline.images.decode import (
    CAUSES,
    BadImage,
    ReadOptions,
    decode,
    open_image,
    read_image,
    to_rgb,
)
from bioclip_jax.pipeline.images.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocess
from bioclip_jax.pipeline.images.training import ImageConfig, TrainTransform

__all__ = [
    "CAUSES",
    "OPENAI_MEAN",
    "OPENAI_STD",
    "BadImage",
    "ImageConfig",
    "Preprocess",
    "ReadOptions",
    "TrainTransform",
    "decode",
    "open_image",
    "read_image",
    "to_rgb",
]
