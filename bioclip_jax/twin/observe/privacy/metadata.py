"""Images without metadata: no EXIF with its GPS and thumbnail, no XMP, IPTC, comments or trailing data."""

from __future__ import annotations

import io
import re
import struct

from PIL import Image, ImageOps

from bioclip_jax.errors import UserError, first_line

JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
# Chunks that decide on the pixels; all others are text, times, EXIF, profiles or private.
_PNG_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"IDAT", b"IEND"}
_ORIENTATION = 0x0112
_EOI = b"\xff\xd9"
_APP0, _APP14, _COMMENT, _SCAN, _END = 0xE0, 0xEE, 0xFE, 0xDA, 0xD9
# In the entropy-coded data of a scan, 0xFF is followed by 0 or is a restart marker.
_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
_ADOBE = 12  # bytes of the segment that tells the color transform
_SEGMENT = re.compile(rb"\xff+([^\x00\xff])")
# TIFF, big endian, with one entry, a short, and no further directory.
_EXIF = struct.Struct(">6s 2sHI H HHIHH I")


def strip_metadata(image: bytes) -> bytes:
    """Return an image file with its pixels and nothing else.

    Pixels of a JPEG or PNG are copied bit by bit, and of a JPEG's EXIF the orientation, without which it
    would lie on its side; of several pictures in a file the first is kept. Other formats, damaged JPEGs and
    PNGs that EXIF turns become a JPEG of quality 95. Color profiles go, so colors are read as sRGB.
    What is drawn into the pixels stays, such as the strip in which a camera prints its name.

    Raises UserError if it is not a readable image.
    """
    try:
        with Image.open(io.BytesIO(image)) as opened:
            orientation = opened.getexif().get(_ORIENTATION, 1)
            if opened.format in ("JPEG", "MPO"):
                stripped = _strip_jpeg(image, orientation)
            elif opened.format == "PNG" and orientation == 1:
                stripped = _strip_png(image)
            else:
                stripped = None
            return stripped or _encode(opened)
    except UserError:
        raise
    except Exception as error:  # Pillow raises errors of many types
        raise UserError(f"an image cannot be read ({first_line(error)}); delete it or replace it") from None


def _encode(image: Image.Image) -> bytes:
    file = io.BytesIO()
    # A new image, as Pillow would save the comment of an opened one.
    pixels = ImageOps.exif_transpose(image).convert("RGB")
    Image.frombytes("RGB", pixels.size, pixels.tobytes()).save(file, "JPEG", quality=95)
    return file.getvalue()


def _strip_jpeg(image: bytes, orientation: int) -> bytes | None:
    """Copy the segments that decode the first picture; None if they are damaged.

    Source: ITU-T T.81, annex B.
    """
    kept: list[bytes] = []
    position = 2
    while match := _SEGMENT.match(image, position):
        marker, start = match[1][0], match.end()
        if marker == _END:
            return JPEG + _exif(orientation) + b"".join(kept) + _EOI
        length = int.from_bytes(image[start : start + 2], "big")
        end = start + length
        if length < 2 or end > len(image):
            return None
        if marker == _SCAN:
            following = _MARKER.search(image, end)
            if following is None:
                return None
            end = following.start()
        body = image[start:end]
        if marker == _APP14 and body[2:7] == b"Adobe" and length >= 2 + _ADOBE:
            body = (2 + _ADOBE).to_bytes(2, "big") + body[2 : 2 + _ADOBE]
        elif _APP0 <= marker <= 0xEF or marker == _COMMENT:
            body = b""
        if body:
            kept.append(bytes((0xFF, marker)) + body)
        position = end
    return None


def _exif(orientation: int) -> bytes:
    """An EXIF segment with the orientation alone; nothing for an upright picture."""
    if orientation not in range(2, 9):
        return b""
    exif = _EXIF.pack(b"Exif", b"MM", 42, 8, 1, _ORIENTATION, 3, 1, orientation, 0, 0)
    return b"\xff\xe1" + (2 + len(exif)).to_bytes(2, "big") + exif


def _strip_png(image: bytes) -> bytes | None:
    """Copy the chunks that decode the picture; None if they are damaged.

    Source: W3C, Portable Network Graphics, section 5.
    """
    kept, position = [_PNG], len(_PNG)
    while position + 12 <= len(image):
        length = int.from_bytes(image[position : position + 4], "big")
        kind, end = image[position + 4 : position + 8], position + 12 + length
        if end > len(image):
            return None
        if kind in _PNG_CHUNKS:
            kept.append(image[position:end])
        if kind == b"IEND":
            return b"".join(kept)
        position = end
    return None
