"""EXIF orientation: a fast parser, and the rotation of pixels."""

import struct

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

_ORIENTATION = 0x0112
# Quarter turns (np.rot90), then a left-right flip, that correct each EXIF orientation.
_UPRIGHT = {
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}

EXIF = b"Exif\0\0"
_APP1, _SCAN, _END = 0xE1, 0xDA, 0xD9
_SEGMENT = struct.Struct(">BBH")
# TIFF's integer types: byte, short, long.
_INTEGERS = {1: "B", 3: "H", 4: "I"}


def exif_segment(jpeg: bytes) -> bytes | None:
    """The EXIF data of a JPEG, a small TIFF; None if it has none.

    Walks the segments before the pixels, about ten, in two microseconds for a shard's images without EXIF.
    """
    position, last = 2, len(jpeg) - _SEGMENT.size
    while position <= last:
        mark, kind, length = _SEGMENT.unpack_from(jpeg, position)
        if mark != 0xFF or kind in (_SCAN, _END):
            return None
        if kind == 0xFF:  # padding before a segment
            position += 1
            continue
        if kind == _APP1 and jpeg.startswith(EXIF, position + 4):
            return jpeg[position + 4 + len(EXIF) : position + 2 + length]
        position += 2 + length
    return None


def jpeg_orientation(jpeg: bytes) -> int:
    """The EXIF orientation of a JPEG, 1 to 8; 1 (upright) by default."""
    tiff = exif_segment(jpeg)
    if tiff is None:
        return 1
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == _ORIENTATION and kind in _INTEGERS:
                (value,) = struct.unpack_from(f"{order}{_INTEGERS[kind]}", tiff, entry + 8)
                return value if value in _UPRIGHT else 1
    except struct.error:  # damaged EXIF does not make a bad image
        pass
    return 1


def turn_pixels(pixels: UInt8[np.ndarray, "height width 3"], orientation: int) -> UInt8[np.ndarray, "..."]:
    """Rotate pixels of that EXIF orientation upright."""
    if orientation not in _UPRIGHT:
        return pixels
    turns, flip = _UPRIGHT[orientation]
    pixels = np.rot90(pixels, turns)
    return np.ascontiguousarray(pixels[:, ::-1] if flip else pixels)


def turn_image(image: Image.Image) -> Image.Image:
    """Rotate a loaded image upright; returns the image itself if its EXIF does not rotate it."""
    try:
        if image.getexif().get(_ORIENTATION, 1) not in _UPRIGHT:
            return image
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF does not make a bad image, and Pillow's parser raises errors of any type
        return image
