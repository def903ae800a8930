"""Images as shards hold them: resized, JPEG with halved chrominance."""

import cv2
import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image

from bioclip_jax.pipeline.images import BadImage, ReadOptions, decode, exif_segment, image_header

from .settings import BuildSettings


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, as stored; (0, 0) if the bytes do not say."""
    try:
        return image_header(data)[1:]
    except BadImage:
        return 0, 0


def decode_reduced(
    data: bytes, min_side: int, read: ReadOptions = ReadOptions(strict=True)
) -> UInt8[np.ndarray, "height width 3"]:
    """The picture's RGB pixels at a whole fraction of its size with `min_side` or more on the shorter side.

    libjpeg then skips scales that are too fine for a good resize; other formats are averaged down at once, so
    that a batch of large ones fits into memory. BadImage as pipeline.images.decode.
    """
    pixels = decode(data, min_side, read=read)
    factor = min(pixels.shape[:2]) // min_side
    # libjpeg's fractions are eighths, so a JPEG comes out below twice min_side and stays as it is.
    return np.asarray(Image.fromarray(pixels).reduce(factor)) if factor > 1 else pixels


def resized_jpeg(data: bytes, pixels: UInt8[np.ndarray, "height width 3"], settings: BuildSettings) -> bytes:
    """The JPEG that goes into a shard; `data` itself where it is one of the right size, which loses nothing.

    pixels: of `data`, perhaps decoded at a smaller scale. Squashed to [size, size], or with `size` pixels on
    the shorter side; resampled by Pillow's Lanczos filter, which does not alias, or as the TreeOfLife toolbox
    does it.
    """
    if settings.resample == "toolbox":
        # From the full picture: the toolbox knows no reduced decoding.
        pixels = decode(data, read=settings.read)
    height, width = pixels.shape[:2]
    if settings.resize == "squash":
        wanted = settings.size, settings.size
    else:
        stored = image_size(data)
        # From the stored size, for the decoded one is rounded; turned if the picture was.
        long, short = max(stored), min(stored)
        length = max(settings.size, round(settings.size * long / short))
        wanted = (length, settings.size) if width >= height else (settings.size, length)
    if image_size(data) == wanted and _is_plain_jpeg(data):
        return data
    if (width, height) != wanted:
        if settings.resample == "toolbox":
            shrinks = settings.size < min(height, width)
            pixels = cv2.resize(
                pixels, wanted, interpolation=cv2.INTER_CUBIC if shrinks else cv2.INTER_LANCZOS4
            )
        else:
            pixels = np.asarray(Image.fromarray(pixels).resize(wanted, Image.Resampling.LANCZOS))
    # OpenCV and Pillow give the same bytes; simplejpeg's fast cosine transform is less exact.
    _, content = cv2.imencode(".jpg", pixels[:, :, ::-1], (cv2.IMWRITE_JPEG_QUALITY, settings.quality))
    return content.tobytes()


def _is_plain_jpeg(data: bytes) -> bool:
    """True for a JPEG that every reader shows alike: gray or YCbCr, and without EXIF."""
    if data[:2] != b"\xff\xd8" or exif_segment(data) is not None:
        return False
    try:
        _, _, colorspace, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return False
    return colorspace in ("Gray", "YCbCr", "RGB")
