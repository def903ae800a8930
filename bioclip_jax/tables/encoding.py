"""Compression and text encoding of table files, detected from their first bytes."""

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable
from typing import BinaryIO

from bioclip_jax.errors import UserError

COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zip")
# Errors of a truncated, damaged or encrypted compressed file.
DAMAGED = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


def uncompressed(open_content: Callable[[], BinaryIO], name: str) -> Callable[[], BinaryIO]:
    """Return an opener of the uncompressed content; gzip, bzip2, xz and zip are detected by first bytes."""
    with open_content() as file:
        head = file.read(6)
    if head.startswith(b"\x1f\x8b"):
        return lambda: gzip.open(open_content())
    if head.startswith(b"BZh"):
        return lambda: bz2.open(open_content())
    if head.startswith(b"\xfd7zXZ\x00"):
        return lambda: lzma.open(open_content())
    if head.startswith(b"PK\x03\x04"):
        return _zip_member(open_content, name)
    return open_content


def _zip_member(open_content: Callable[[], BinaryIO], name: str) -> Callable[[], BinaryIO]:
    with zipfile.ZipFile(open_content()) as archive:
        members = [m for m in archive.namelist() if not m.endswith("/") and not m.startswith("__MACOSX/")]
    if "[Content_Types].xml" in members:
        raise UserError(f"{name} is an Excel workbook; save its sheet as CSV UTF-8")
    if len(members) != 1:
        raise UserError(f"{name} holds {len(members)} files; give one table, or unpack it and name the table")
    return lambda: zipfile.ZipFile(open_content()).open(members[0])


def possible_encodings(source: Callable[[], BinaryIO], name: str) -> list[str]:
    """Encodings to try: that of the byte order mark, or UTF-8 and then Excel's Windows-1252."""
    with source() as file:
        head = file.read(4096)
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return [encoding]
    if b"\x00" in head:
        # In UTF-16 without a mark, every other byte of Latin letters is zero.
        zeros = [head[offset::2].count(0) > len(head) / 4 for offset in (0, 1)]
        if zeros != [True, False] and zeros != [False, True]:
            raise UserError(f"{name} is not a readable CSV (it is not text); save it as UTF-8 text")
        return ["utf-16-be" if zeros[0] else "utf-16-le"]
    return ["utf-8", "cp1252"]
