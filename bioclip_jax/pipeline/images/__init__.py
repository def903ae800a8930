"""Images: bytes of any kind to pixels, the random training crop, and open_clip's evaluation transform.

Training turns a picture by its EXIF orientation and scales 16-bit pixels to 8; evaluation does neither, because its
pixels are open_clip's, exactly.
"""

from bioclip_jax.pipeline.images.decode import CAUSES, BadImage, decode, open_image
from bioclip_jax.pipeline.images.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocess
from bioclip_jax.pipeline.images.training import ImageConfig, TrainTransform

__all__ = [
    "CAUSES",
    "OPENAI_MEAN",
    "OPENAI_STD",
    "BadImage",
    "ImageConfig",
    "Preprocess",
    "TrainTransform",
    "decode",
    "open_image",
]
