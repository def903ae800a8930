"""HEIC by libheif (pillow-heif), in the decoder's process."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import UInt8

from .bad_image import BadImage


def size(data: bytes) -> tuple[int, int]:
    """Width and height of the upright primary image."""
    return _primary(data).size


def exif(data: bytes) -> bytes | None:
    """EXIF data as a small TIFF, None without."""
    content = _primary(data).info.get("exif")
    return content.removeprefix(b"Exif\0\0") if content else None


def decode(data: bytes, max_pixels: int, upright: bool) -> UInt8[np.ndarray, "height width 3"]:
    """Decode the primary image, turned by the container's own rotation whatever `upright` is."""
    image = _primary(data)
    width, height = image.size
    if width * height > max_pixels:
        raise BadImage("too_large", f"{width} x {height} pixels are more than {max_pixels:,}")
    return np.asarray(image.to_pillow().convert("RGB"))


def _primary(data: bytes):
    import pillow_heif

    # Images of 10 bits become 8 bits.
    images = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
    return images[images.primary_index]
