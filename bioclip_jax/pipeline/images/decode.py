"""Bytes of any image format and mode to 8-bit RGB pixels."""

import io
import warnings
from pathlib import Path

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

# Why a sample could not be used; batches count bad samples in this order.
CAUSES = ("no_image", "no_caption", "not_an_image", "truncated", "too_large", "unreadable")

# What Pillow calls a decompression bomb; nothing larger is decoded.
MAX_PIXELS = 89_478_485

# How JPEG, PNG, GIF and WebP files begin, even those that are cut off before they can be told otherwise.
MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF")

_EXIF_ORIENTATION = 0x0112
# The quarter turns (np.rot90) and then the left-right flip that set each EXIF orientation upright.
_UPRIGHT = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}


class BadImage(ValueError):
    """Bytes that give no picture; `cause` is one of CAUSES."""

    def __init__(self, cause: str, message: str):
        super().__init__(message)
        self.cause = cause


def open_image(data: bytes | str | Path) -> Image.Image:
    """A picture from its bytes or its path, fully read, as stored: neither turned by EXIF nor converted.

    BadImage if it is none, is cut off or is too large; OSError if the path cannot be read.
    """
    data = Path(data).read_bytes() if isinstance(data, (str, Path)) else data
    try:
        with warnings.catch_warnings():
            # Pillow's warning of large images begins where they are refused here.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise BadImage("too_large", str(error)) from None
    except UnidentifiedImageError:
        cause = "truncated" if data.startswith(MAGIC) else "not_an_image"
        raise BadImage(cause, f"{len(data)} bytes are no image of a known format") from None
    except Exception as error:  # Pillow's readers raise whatever their parsing ran into
        raise BadImage("truncated", f"damaged image: {error}") from None
    _check_size(image.width, image.height)
    try:
        image.load()
    except Exception as error:
        raise BadImage("truncated", f"damaged {image.format} image: {error}") from None
    return image


def decode(
    data: bytes, min_side: int = 0, scratch: UInt8[np.ndarray, " bytes"] | None = None
) -> UInt8[np.ndarray, "height width 3"]:
    """A picture's RGB pixels, upright, from bytes of any format and mode.

    Transparency is dropped, 16-bit values are scaled to 8. With `min_side`, a JPEG may come out smaller than it is
    stored, its shorter side never below that; libjpeg then skips most of the work. The pixels may lie in
    `scratch` until its next use, which saves the kernel from handing out fresh pages for every image. BadImage as
    open_image.
    """
    pixels = _decode_jpeg(data, min_side, scratch) if data[:2] == b"\xff\xd8" else None
    if pixels is not None:
        orientation = _jpeg_orientation(data)
    else:
        image = open_image(data)
        orientation = _orientation(image)
        pixels = np.asarray(_eight_bit(image).convert("RGB"))
    if orientation in _UPRIGHT:
        turns, flip = _UPRIGHT[orientation]
        pixels = np.rot90(pixels, turns)
        pixels = np.ascontiguousarray(pixels[:, ::-1] if flip else pixels)
    return pixels


def _decode_jpeg(data: bytes, min_side: int, scratch: np.ndarray | None) -> np.ndarray | None:
    """Pixels of a sound RGB or grayscale JPEG; None where Pillow should look at it (CMYK, damaged)."""
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
        _check_size(width, height)
        if colorspace in ("CMYK", "YCCK"):
            return None
        if scratch is None or height * width * 3 > scratch.size:
            scratch = None
        return simplejpeg.decode_jpeg(data, "RGB", min_height=min_side, min_width=min_side, buffer=scratch)
    except BadImage:
        raise
    except ValueError:
        return None


def _jpeg_orientation(data: bytes) -> int:
    # Most training images have no EXIF at all, and opening them with Pillow would cost a tenth of the decoding.
    if data.find(b"Exif\0\0", 0, 4096) < 0:
        return 1
    try:
        return _orientation(Image.open(io.BytesIO(data)))
    except Exception:  # damage that decoding will name
        return 1


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # broken EXIF does not make a bad picture
        return 1


def _eight_bit(image: Image.Image) -> Image.Image:
    """Images of integers or floats scaled to 8 bits, where Pillow's own conversion would clip them at 255."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    if image.mode.startswith("I;16"):
        peak = 65535.0
    else:
        peaks = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        peak = next((peak for peak in peaks if values.max() <= peak), float(values.max()))
    return Image.fromarray((np.clip(values / peak, 0, 1) * 255).round().astype(np.uint8))


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise BadImage("too_large", f"{width} x {height} pixels are more than {MAX_PIXELS:,}")
