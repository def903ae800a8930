"""What an image file says of itself before its pixels."""

import io

import simplejpeg
from PIL import Image, UnidentifiedImageError

from .decoding import MAGIC, BadImage, ReadOptions
from .recover import without_texts

_LIMITS = ReadOptions()


def image_header(image: bytes) -> tuple[str, int, int]:
    """An encoded image's format (as Pillow calls it), width and height, from its header. BadImage if it has none."""
    if not image:
        raise BadImage("no_image", "there are no bytes")
    kind, width, height = _jpeg_header(image) or _any_header(image)
    _LIMITS.check_size(width, height, is_jpeg=kind == "JPEG")
    return kind, width, height


def _jpeg_header(image: bytes) -> tuple[str, int, int] | None:
    if image[:2] != b"\xff\xd8":
        return None
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(image)
    except ValueError:
        return None
    return "JPEG", width, height


def _any_header(image: bytes) -> tuple[str, int, int]:
    try:
        opened = Image.open(io.BytesIO(without_texts(image) if image.startswith(b"\x89PNG\r") else image))
    except Image.DecompressionBombError as error:
        raise BadImage("too_large", str(error)) from None
    except UnidentifiedImageError:
        cause = "truncated" if image.startswith(MAGIC) else "not_an_image"
        raise BadImage(cause, f"{len(image)} bytes are no image of a known format") from None
    except Exception as error:  # Pillow's readers raise whatever their parsing ran into
        raise BadImage("truncated", f"damaged image: {error}") from None
    return opened.format or "unknown", opened.width, opened.height
