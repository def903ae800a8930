"""Numbers, sizes and pictures in the form that pages show; each function is a template filter too."""

from __future__ import annotations

import base64
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from bioclip_jax.errors import count_of

__all__ = ["THUMBNAIL_SIDE", "count_of", "data_size", "data_url", "number", "share", "thumbnail_url"]

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
# Sharp at 112 CSS pixels on screens of 1.5 device pixels each.
THUMBNAIL_SIDE = 168
_JPEG_QUALITY = 72


def number(value: float) -> str:
    """Format with thousands separators; a fraction below 100 keeps one digit: 12,345 or 12.3."""
    if isinstance(value, float) and value < 100 and value != int(value):
        return f"{value:,.1f}"
    return f"{round(value):,}"


def data_size(size: float) -> str:
    """Format bytes in decimal units with three digits: 82.5 MB."""
    unit = 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.3g} {_UNITS[unit]}" if unit else f"{size:,.0f} bytes"


def share(part: float, whole: float) -> str:
    """Format a percentage, 12.3 %; only exact values become 0 % and 100 %, and a whole of 0 becomes "–"."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %".replace(".0 %", " %")


def data_url(content: bytes, media_type: str = "image/jpeg") -> str:
    """Encode a file as a data URL, to embed it in a page."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def thumbnail_url(pixels: UInt8[np.ndarray, "height width 3"], side: int = THUMBNAIL_SIDE) -> str:
    """Shrink an image to fit a square of `side` pixels and return a JPEG data URL."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return data_url(stream.getvalue())
