"""Camera raw by LibRaw (rawpy), in the decoder's process.

The camera's own JPEG inside the file is used where it has at least half of the sensor's resolution: it has
the camera's colors and decodes faster. Otherwise LibRaw develops the sensor's data.
"""

from __future__ import annotations

import contextlib
import io

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image

from .bad_image import BadImage
from .orientation import exif_segment, turn_pixels

# EXIF's orientation for LibRaw's flip.
_ORIENTATION = {0: 1, 1: 2, 3: 3, 2: 4, 4: 5, 6: 6, 7: 7, 5: 8}
_TRANSPOSED = (5, 6, 7, 8)
# The shorter side of a sensor from which a development at half the size, which needs no demosaicing, has
# more pixels than a model takes.
_HALVED_FROM = 1024

Pixels = UInt8[np.ndarray, "height width 3"]


def size(data: bytes) -> tuple[int, int]:
    """Width and height of the sensor's image, upright."""
    with _open(data) as raw:
        sides = raw.sizes.width, raw.sizes.height
        return sides[::-1] if _orientation(raw) in _TRANSPOSED else sides


def exif(data: bytes) -> bytes | None:
    """EXIF data as a small TIFF, from the file itself if it is a TIFF, or else from its preview."""
    if data[:4] in (b"II*\0", b"MM\0*"):
        return data
    with _open(data) as raw:
        preview = _preview(raw)
    return None if preview is None else exif_segment(preview)


def decode(data: bytes, max_pixels: int, upright: bool) -> Pixels:
    """Decode the preview or develop the raw data. upright: turn the pixels by the file's orientation."""
    with _open(data) as raw:
        sizes = raw.sizes
        if sizes.raw_width * sizes.raw_height > max_pixels:
            raise BadImage(
                "too_large", f"{sizes.raw_width} x {sizes.raw_height} pixels are more than {max_pixels:,}"
            )
        orientation = _orientation(raw) if upright else 1
        pixels = _large_preview(raw, max_pixels)
        if pixels is None:
            half = min(sizes.width, sizes.height) >= _HALVED_FROM
            pixels = raw.postprocess(half_size=half, use_camera_wb=True, user_flip=0)
        elif orientation in _TRANSPOSED and _is_wide(pixels.shape[::-1][1:]) != _is_wide(
            (sizes.width, sizes.height)
        ):
            orientation = 1  # this preview is stored upright
        return turn_pixels(pixels, orientation)


@contextlib.contextmanager
def _open(data: bytes):
    import rawpy

    try:
        with rawpy.RawPy() as raw:
            raw.open_buffer(io.BytesIO(data))
            yield raw
    except rawpy.LibRawFileUnsupportedError:
        raise BadImage("not_an_image", "LibRaw does not know the camera's format") from None
    except rawpy.LibRawError as error:
        raise BadImage("truncated", f"damaged raw file: {_text(error)}") from None


def _text(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    return reason.decode() if isinstance(reason, bytes) else str(reason)


def _orientation(raw) -> int:
    return _ORIENTATION.get(raw.sizes.flip, 1)


def _preview(raw) -> bytes | None:
    import rawpy

    try:
        preview = raw.extract_thumb()
    except rawpy.LibRawError:
        return None
    return preview.data if preview.format == rawpy.ThumbFormat.JPEG else None


def _large_preview(raw, max_pixels: int) -> Pixels | None:
    """Pixels of the JPEG preview, if it is intact and has half of the sensor's sides."""
    data = _preview(raw)
    if data is None:
        return None
    sensor = sorted((raw.sizes.width, raw.sizes.height))
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
        sides = sorted((width, height))
        if any(2 * side < whole for side, whole in zip(sides, sensor)) or width * height > max_pixels:
            return None
        if colorspace in ("CMYK", "YCCK"):
            return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        return simplejpeg.decode_jpeg(data, "RGB")
    except ValueError:
        return None


def _is_wide(sides: tuple[int, ...]) -> bool:
    return sides[0] > sides[1]
