"""Bytes of any image format and mode to 8-bit RGB pixels, upright."""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from bioclip_jax.errors import UserError

from .orientation import (
    EXIF,
    exif_segment,
    jpeg_orientation,
    turn_image,
    turn_pixels,
)
from .recover import decode_cut_off, without_texts

# Why a sample could not be used; batches count bad samples in this order.
CAUSES = ("no_image", "no_caption", "not_an_image", "truncated", "too_large", "unreadable")

# Where Pillow, and with it pybioclip, refuses an image as a decompression bomb.
MAX_PIXELS = 178_956_970

# How JPEG, PNG, GIF and WebP files begin, even those that are cut off before they can be told otherwise.
MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF")
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG"

# Pillow's warnings name its own files; what matters about an image is reported as a BadImage.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Called with what is missing of an image that is read all the same.
OnTruncated = Callable[[str], None]


class BadImage(ValueError):
    """Bytes that give no picture; `cause` is one of CAUSES, or "too_thin" from Preprocess."""

    def __init__(self, cause: str, message: str):
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading image files.

    exif: "apply" turns pictures upright by their EXIF orientation; "ignore" takes them as stored, as
    pybioclip and open_clip do. max_pixels: a picture of more is refused, but for JPEGs of up to twice as
    many, which are decoded at half their size. strict: refuse JPEGs that lack their last rows, which are read
    and reported otherwise.
    """

    exif: Literal["apply", "ignore"] = "apply"
    max_pixels: int = MAX_PIXELS
    strict: bool = False

    def __post_init__(self):
        if self.exif not in ("apply", "ignore"):
            raise UserError(f"exif is {self.exif!r}; choose apply or ignore")
        if not isinstance(self.max_pixels, int) or self.max_pixels < 1:
            raise UserError(f"max_pixels is {self.max_pixels!r}; give a whole number of pixels above 0")

    def check_size(self, width: int, height: int, is_jpeg: bool = False) -> None:
        """BadImage for a picture of too many pixels."""
        if width * height > self.max_pixels * (2 if is_jpeg else 1):
            raise BadImage("too_large", f"{width} x {height} pixels are more than {self.max_pixels:,}")


_DEFAULT = ReadOptions()


def open_image(
    data: bytes | str | Path, read: ReadOptions = _DEFAULT, on_truncated: OnTruncated | None = None
) -> Image.Image:
    """A picture from its bytes or its path, fully read, as stored: neither turned by EXIF nor converted.

    BadImage if it is none, is damaged or is too large; OSError if the path cannot be read.
    """
    data = Path(data).read_bytes() if isinstance(data, (str, Path)) else data
    is_jpeg = data.startswith(_JPEG)
    if is_jpeg and (reduced := _decode_large_jpeg(data, read)) is not None:
        return _with_exif(reduced, data)
    if read.max_pixels > MAX_PIXELS:
        # Pillow has one limit for the whole process; it is only ever raised, because a user asks for it.
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, read.max_pixels)
    try:
        return _load(data, read)
    except BadImage as error:
        if error.cause != "truncated":
            raise
        if data.startswith(_PNG) and (plain := without_texts(data)) != data:
            return _load(plain, read)
        if not is_jpeg or read.strict or (found := decode_cut_off(data)) is None:
            raise
        pixels, missing = found
        if on_truncated:
            on_truncated(
                f"the last {missing:.1%} of its rows are missing" if missing else "its last bytes are missing"
            )
        return _with_exif(pixels, data)


def read_image(
    data: bytes, read: ReadOptions = _DEFAULT, on_truncated: OnTruncated | None = None
) -> Image.Image:
    """A picture from its bytes as 8-bit RGB, upright unless read.exif is "ignore". BadImage as open_image."""
    image = open_image(data, read, on_truncated)
    if read.exif == "apply" and data.startswith(_JPEG):
        # Pillow would parse all of the EXIF.
        orientation = jpeg_orientation(data)
        return to_rgb(image, "ignore") if orientation == 1 else _turned(to_rgb(image, "ignore"), orientation)
    return to_rgb(image, read.exif)


def to_rgb(image: Image.Image, exif: Literal["apply", "ignore"] = "apply") -> Image.Image:
    """An image of any mode as 8-bit RGB, upright unless `exif` is "ignore"; the image itself where it is that already.

    Transparency is dropped, 16-bit and float values are scaled to 8 bits. BadImage if its file is damaged.
    """
    try:
        # Pillow turns TIFFs itself while it loads them.
        image.load()
    except Exception as error:  # Pillow's readers raise whatever their parsing ran into
        raise BadImage("truncated", f"damaged image: {error}") from None
    if exif == "apply":
        image = turn_image(image)
    image = _eight_bit(image)
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def decode(
    data: bytes,
    min_side: int = 0,
    scratch: UInt8[np.ndarray, " bytes"] | None = None,
    read: ReadOptions = _DEFAULT,
) -> UInt8[np.ndarray, "height width 3"]:
    """A picture's RGB pixels, as read_image gives them.

    With `min_side`, a JPEG may come out smaller than it is stored, its shorter side never below that; libjpeg
    then skips most of the work. The pixels may lie in `scratch` until its next use, which saves the kernel
    from handing out fresh pages for every image. BadImage as open_image.
    """
    pixels = _decode_jpeg(data, min_side, scratch, read) if data.startswith(_JPEG) else None
    if pixels is None:
        return np.asarray(read_image(data, read))
    return turn_pixels(pixels, jpeg_orientation(data)) if read.exif == "apply" else pixels


def _load(data: bytes, read: ReadOptions) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise BadImage("too_large", str(error)) from None
    except UnidentifiedImageError:
        cause = "truncated" if data.startswith(MAGIC) else "not_an_image"
        raise BadImage(cause, f"{len(data)} bytes are no image of a known format") from None
    except Exception as error:  # Pillow's readers raise whatever their parsing ran into
        raise BadImage("truncated", f"damaged image: {error}") from None
    read.check_size(image.width, image.height)
    try:
        image.load()
    except Exception as error:
        raise BadImage("truncated", f"damaged {image.format} image: {error}") from None
    return image


def _decode_large_jpeg(data: bytes, read: ReadOptions) -> np.ndarray | None:
    """Pixels of a JPEG that is larger than max_pixels, at half its size; None for one that is not."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:  # damage that Pillow will name
        return None
    if width * height <= read.max_pixels:
        return None
    pixels = _decode_jpeg(data, 0, None, read)
    if pixels is None:
        raise BadImage("too_large", f"{width} x {height} pixels are more than {read.max_pixels:,}")
    return pixels


def _decode_jpeg(
    data: bytes, min_side: int, scratch: np.ndarray | None, read: ReadOptions
) -> np.ndarray | None:
    """Pixels of a sound RGB or grayscale JPEG; None where Pillow should look at it (CMYK, damaged)."""
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
        read.check_size(width, height, is_jpeg=True)
        if colorspace in ("CMYK", "YCCK"):
            return None
        if width * height > read.max_pixels:
            half = max(1, min(width, height) // 2)
            min_side = min(min_side, half) if min_side else half
        if scratch is None or height * width * 3 > scratch.size:
            scratch = None
        return simplejpeg.decode_jpeg(data, "RGB", min_height=min_side, min_width=min_side, buffer=scratch)
    except BadImage:
        raise
    except ValueError:
        return None


def _with_exif(pixels: np.ndarray, jpeg: bytes) -> Image.Image:
    """Pixels that were decoded without Pillow, with the EXIF that Pillow would have read."""
    image = Image.fromarray(pixels)
    if (segment := exif_segment(jpeg)) is not None:
        image.info["exif"] = EXIF + segment
    return image


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return Image.fromarray(turn_pixels(np.asarray(image), orientation))


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
