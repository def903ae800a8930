"""Recover images that Pillow refuses: PNGs with long text chunks, truncated JPEGs."""

import re
import struct

import numpy as np
import simplejpeg
from jaxtyping import UInt8

# Largest share of missing rows at the bottom of a truncated JPEG that is still read.
MOST_MISSING = 0.1

_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_SCAN, _END = 0xDA, 0xD9
_FRAMES = {0xC0, 0xC1, 0xC2}
_PROGRESSIVE = 0xC2
# Libjpeg fills missing pixels with this gray.
_FILL = 128
_EDGE = 8


def without_texts(png: bytes) -> bytes:
    """Strip a PNG's texts and color profile, which change no pixel; Pillow refuses those above 1 MB."""
    kept, position = [_PNG_HEAD], len(_PNG_HEAD)
    while position + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, position)
        following = position + 12 + length
        if kind not in _PNG_TEXTS:
            kept.append(png[position:following])
        position = following
    return b"".join(kept)


def decode_cut_off(jpeg: bytes) -> tuple[UInt8[np.ndarray, "height width 3"], float] | None:
    """Pixels of a truncated JPEG, and the share of its rows that are missing (gray).

    None if that is more than MOST_MISSING, or if a progressive JPEG lacks whole scans.
    """
    try:
        if not _has_all_scans(jpeg):
            return None
        pixels = simplejpeg.decode_jpeg(jpeg, "RGB", strict=False)
    except (ValueError, IndexError, struct.error):  # also damaged before the pixels
        return None
    # Decoding ends within a row of blocks, whose right edge is then gray.
    gray = (pixels[:, -_EDGE:] == _FILL).all(axis=(1, 2))[::-1]
    missing = float((len(gray) if gray.all() else int(gray.argmin())) / len(gray))
    return (pixels, missing) if missing <= MOST_MISSING else None


def _has_all_scans(jpeg: bytes) -> bool:
    """True if the last scan of every component, that with the finest detail, has begun."""
    complete: dict[int, set[int]] = {}
    progressive, position = False, 2
    while match := _MARKER.search(jpeg, position):
        kind, start = jpeg[match.start() + 1], match.end()
        if kind == _END:
            break
        (length,) = struct.unpack_from(">H", jpeg, start)
        body = jpeg[start + 2 : start + length]
        if len(body) < length - 2:
            break
        if kind in _FRAMES:
            progressive = kind == _PROGRESSIVE
            complete = {body[6 + 3 * number]: set() for number in range(body[5])}
        elif kind == _SCAN:
            names = body[1 : 1 + 2 * body[0] : 2]
            first, last, approximation = body[1 + 2 * body[0] :][:3]
            if approximation & 15 == 0:
                for name in names:
                    complete.setdefault(name, set()).update(range(first, last + 1))
        position = start + length
    required = set(range(64)) if progressive else {0}
    return bool(complete) and all(required <= coefficients for coefficients in complete.values())
