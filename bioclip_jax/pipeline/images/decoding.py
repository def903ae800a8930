"""Bytes of any image format and mode to 8-bit RGB pixels, upright."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from .bad_image import BadImage
from .decoder_process import decode_foreign, foreign_size
from .formats import foreign_kind
from .orientation import EXIF, exif_segment, jpeg_orientation, turn_image, turn_pixels
from .read_options import MAX_PIXELS, ReadOptions
from .recover import decode_cut_off, without_texts

# Causes of bad samples, in the order in which batches count them.
CAUSES = ("no_image", "no_caption", "not_an_image", "truncated", "too_large", "unreadable")

# First bytes of JPEG, PNG, GIF and WebP files, which identify even a truncated header.
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF")
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG"

# Pillow's warnings name its own source files; relevant problems are reported as BadImage.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Called with a description of the missing part if a truncated image is read nevertheless.
OnTruncated = Callable[[str], None]


_DEFAULT = ReadOptions()


def open_image(
    data: bytes | str | Path, read: ReadOptions = _DEFAULT, on_truncated: OnTruncated | None = None
) -> Image.Image:
    """Decode an image from its bytes or path as stored: neither rotated by EXIF nor converted.

    Raises BadImage if it is not an image, damaged or too large; OSError if the path cannot be read.
    """
    data = Path(data).read_bytes() if isinstance(data, (str, Path)) else data
    is_jpeg = data.startswith(_JPEG)
    if not is_jpeg and (kind := foreign_kind(data)) is not None:
        return Image.fromarray(decode_foreign(data, kind, read))
    if is_jpeg and (reduced := _decode_large_jpeg(data, read)) is not None:
        return _with_exif(reduced, data)
    if read.max_pixels > MAX_PIXELS:
        # Pillow has one limit per process, so it is raised on request and never lowered.
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, read.max_pixels)
    try:
        return _load(data, read)
    except BadImage as error:
        if error.cause != "truncated":
            raise
        if data.startswith(_PNG) and (plain := without_texts(data)) != data:
            return _load(plain, read)
        if not is_jpeg or read.strict or (decoded := decode_cut_off(data)) is None:
            raise
        pixels, missing = decoded
        if on_truncated:
            on_truncated(
                f"the last {missing:.1%} of its rows are missing" if missing else "its last bytes are missing"
            )
        return _with_exif(pixels, data)


def read_image(
    data: bytes, read: ReadOptions = _DEFAULT, on_truncated: OnTruncated | None = None
) -> Image.Image:
    """Decode an image as 8-bit RGB, upright unless read.exif is "ignore". Raises BadImage as open_image."""
    image = open_image(data, read, on_truncated)
    if read.exif == "apply" and data.startswith(_JPEG):
        # Pillow would parse the whole EXIF segment.
        orientation, image = jpeg_orientation(data), to_rgb(image, "ignore")
        return image if orientation == 1 else Image.fromarray(turn_pixels(np.asarray(image), orientation))
    return to_rgb(image, read.exif)


def to_rgb(image: Image.Image, exif: Literal["apply", "ignore"] = "apply") -> Image.Image:
    """Convert an image of any mode to 8-bit RGB, upright unless `exif` is "ignore".

    Returns the image itself if it needs no conversion. Drops transparency, scales 16-bit and float values to
    8 bits. Raises BadImage if its file is damaged.
    """
    try:
        # Pillow rotates TIFFs itself while loading them.
        image.load()
    except Exception as error:  # Pillow's readers raise errors of any type
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
    """Decode an image to RGB pixels, equal to read_image's.

    With `min_side`, a JPEG may be decoded at a reduced size, its shorter side at least that; libjpeg then
    skips most of the work. The pixels may be in `scratch` until its next use, which avoids page faults for
    every image. Raises BadImage as open_image.
    """
    pixels = _decode_jpeg(data, min_side, scratch, read) if data.startswith(_JPEG) else None
    if pixels is None:
        return np.asarray(read_image(data, read))
    return turn_pixels(pixels, jpeg_orientation(data)) if read.exif == "apply" else pixels


def image_header(data: bytes) -> tuple[str, int, int]:
    """Pillow's name of the format, width and height, from the header. Raises BadImage if it has none."""
    if not data:
        raise BadImage("no_image", "there are no bytes")
    if data.startswith(_JPEG) and (size := _jpeg_size(data)) is not None:
        kind, (width, height) = "JPEG", size
    elif (foreign := foreign_kind(data)) is not None:
        kind, (width, height) = foreign.upper(), foreign_size(data, foreign, _DEFAULT)
    else:
        image = _open(without_texts(data) if data.startswith(_PNG) else data)
        kind, width, height = image.format or "unknown", image.width, image.height
    _DEFAULT.check_size(width, height, is_jpeg=kind == "JPEG")
    return kind, width, height


def _open(data: bytes) -> Image.Image:
    """Parse an image's header."""
    try:
        return Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise BadImage("too_large", str(error)) from None
    except UnidentifiedImageError:
        cause = "truncated" if data.startswith(_MAGIC) else "not_an_image"
        raise BadImage(cause, f"{len(data)} bytes are not an image of a known format") from None
    except Exception as error:  # Pillow's readers raise errors of any type
        raise BadImage("truncated", f"damaged image: {error}") from None


def _load(data: bytes, read: ReadOptions) -> Image.Image:
    image = _open(data)
    read.check_size(image.width, image.height)
    try:
        image.load()
    except Exception as error:
        raise BadImage("truncated", f"damaged {image.format} image: {error}") from None
    return image


def _decode_large_jpeg(data: bytes, read: ReadOptions) -> np.ndarray | None:
    """Pixels at half size of a JPEG larger than max_pixels; None for a smaller one."""
    size = _jpeg_size(data)
    if size is None or size[0] * size[1] <= read.max_pixels:
        return None
    pixels = _decode_jpeg(data, 0, None, read)
    if pixels is None:
        raise BadImage("too_large", f"{size[0]} x {size[1]} pixels are more than {read.max_pixels:,}")
    return pixels


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height; None if the header is damaged, which Pillow then reports."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return width, height


def _decode_jpeg(
    data: bytes, min_side: int, scratch: np.ndarray | None, read: ReadOptions
) -> np.ndarray | None:
    """Pixels of an intact RGB or grayscale JPEG; None if Pillow has to read it (CMYK, damaged)."""
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
    """An image of pixels decoded without Pillow, with the file's EXIF as Pillow attaches it."""
    image = Image.fromarray(pixels)
    if (segment := exif_segment(jpeg)) is not None:
        image.info["exif"] = EXIF + segment
    return image


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale integer and float images to 8 bits; Pillow's own conversion would clip them at 255."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    if image.mode.startswith("I;16"):
        peak = 65535.0
    else:
        peaks = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        peak = next((peak for peak in peaks if values.max() <= peak), float(values.max()))
    return Image.fromarray((np.clip(values / peak, 0, 1) * 255).round().astype(np.uint8))
