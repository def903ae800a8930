"""Image resizing for shards: antialiased or as the TreeOfLife toolbox, encoded as 4:2:0 JPEG."""

import cv2
import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image

from bioclip_jax.pipeline.images import BadImage, ReadOptions, decode, exif_segment, image_header

from .settings import BuildSettings

_STRICT = ReadOptions(strict=True)


def image_size(data: bytes) -> tuple[int, int]:
    """Return stored width and height in pixels; (0, 0) for an invalid image."""
    try:
        return image_header(data)[1:]
    except BadImage:
        return 0, 0


def decode_reduced(
    data: bytes, min_side: int, read: ReadOptions = _STRICT
) -> UInt8[np.ndarray, "height width 3"]:
    """Decode RGB pixels, reduced by an integer factor that keeps the shorter side at `min_side` or more.

    libjpeg reduces while it decodes; other formats are averaged right away, so that a batch of large images
    fits into memory. Raises BadImage as pipeline.images.decode does.
    """
    pixels = decode(data, min_side, read=read)
    factor = min(pixels.shape[:2]) // min_side
    # libjpeg scales by eighths, so a JPEG is already below twice min_side.
    return np.asarray(Image.fromarray(pixels).reduce(factor)) if factor > 1 else pixels


def resized_jpeg(data: bytes, pixels: UInt8[np.ndarray, "height width 3"], settings: BuildSettings) -> bytes:
    """Return the JPEG for a shard: squashed to [size, size], or with `size` pixels on the shorter side.

    A JPEG of the right size is returned unchanged, without loss. pixels: decoded from `data`, possibly
    reduced. Resampled by Pillow's antialiased Lanczos filter, or with resample "toolbox" as the TreeOfLife
    toolbox does.
    """
    if settings.resample == "toolbox":
        # The toolbox decodes at full scale.
        pixels = decode(data, read=settings.read)
    height, width = pixels.shape[:2]
    if settings.resize == "squash":
        target = settings.size, settings.size
    else:
        stored = image_size(data)
        # From the stored size, because the reduced one is rounded; transposed if EXIF turned the image.
        long, short = max(stored), min(stored)
        length = max(settings.size, round(settings.size * long / short))
        target = (length, settings.size) if width >= height else (settings.size, length)
    if image_size(data) == target and _is_plain_jpeg(data):
        return data
    if (width, height) != target:
        if settings.resample == "toolbox":
            shrinks = settings.size < min(height, width)
            pixels = cv2.resize(
                pixels, target, interpolation=cv2.INTER_CUBIC if shrinks else cv2.INTER_LANCZOS4
            )
        else:
            pixels = np.asarray(Image.fromarray(pixels).resize(target, Image.Resampling.LANCZOS))
    # OpenCV encodes to the same bytes as Pillow; simplejpeg's fast cosine transform is less exact.
    _, content = cv2.imencode(".jpg", pixels[:, :, ::-1], (cv2.IMWRITE_JPEG_QUALITY, settings.quality))
    return content.tobytes()


def _is_plain_jpeg(data: bytes) -> bool:
    """True for a JPEG that all readers decode alike: gray or YCbCr, without EXIF."""
    if data[:2] != b"\xff\xd8" or exif_segment(data) is not None:
        return False
    try:
        _, _, colorspace, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return False
    return colorspace in ("Gray", "YCbCr", "RGB")
