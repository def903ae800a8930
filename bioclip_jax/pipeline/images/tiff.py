"""Pages of a TIFF: its directories, without thumbnails, levels of a pyramid and masks."""

from __future__ import annotations

import struct
from typing import BinaryIO

from PIL import Image

from .bad_image import BadImage
from .decoding import to_rgb
from .read_options import ReadOptions

MOST_PAGES = 65_536

_NEW_SUBFILE_TYPE = 254
# Bits of NewSubfileType: a reduced version of another image, and a mask.
_NOT_A_PAGE = 1 | 4
# By the first four bytes: order, struct's letters for an offset and a number of tags, size of a tag.
_LAYOUTS = {
    b"II*\0": ("<", "I", "H", 12),
    b"MM\0*": (">", "I", "H", 12),
    b"II+\0": ("<", "Q", "Q", 20),
    b"MM\0+": (">", "Q", "Q", 20),
}
_MOST_TAGS = 65_536


def tiff_pages(file: BinaryIO) -> list[int]:
    """Numbers of a TIFF's directories, from 1, that are pages; at most MOST_PAGES, and one more if there are.

    [] for a file that is no TIFF or whose first directory is damaged.
    """
    layout = _LAYOUTS.get(file.read(4))
    if layout is None:
        return []
    order, offset, count, size = layout
    pages, seen, number = [], set(), 0
    try:
        # BigTIFF states the size of an offset first.
        file.seek(8 if offset == "Q" else 4)
        start = _unpack(file, order + offset)
        while start and start not in seen and len(pages) <= MOST_PAGES:
            seen.add(start)
            number += 1
            file.seek(start)
            tags = _unpack(file, order + count)
            if tags > _MOST_TAGS:
                break
            content = file.read(tags * size)
            start = _unpack(file, order + offset)
            value = size - struct.calcsize(order + offset)
            if not _subfile_type(content, order, size, value) & _NOT_A_PAGE:
                pages.append(number)
    except (struct.error, OverflowError, OSError):
        pass  # the directories before the damage
    return pages


def read_page(file: BinaryIO, number: int, read: ReadOptions) -> Image.Image:
    """Decode a page, a directory's number from 1, to RGB. Raises BadImage."""
    try:
        image = Image.open(file, formats=["TIFF"])
        image.seek(number - 1)
    except Exception as error:  # Pillow's readers raise errors of any type
        raise BadImage("truncated", f"damaged TIFF: page {number} cannot be read ({error})") from None
    read.check_size(image.width, image.height)
    return to_rgb(image, read.exif)


def _unpack(file: BinaryIO, form: str) -> int:
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _subfile_type(tags: bytes, order: str, size: int, value: int) -> int:
    """NewSubfileType of a directory, 0 by default. value: position of the value in a tag of `size` bytes."""
    for entry in range(0, len(tags) - size + 1, size):
        tag, kind = struct.unpack_from(order + "HH", tags, entry)
        if tag == _NEW_SUBFILE_TYPE:
            return struct.unpack_from(order + ("H" if kind == 3 else "I"), tags, entry + value)[0]
    return 0
