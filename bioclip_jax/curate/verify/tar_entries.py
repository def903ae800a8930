"""All headers of a tar in order, with its damage; reading resumes at the next valid header.

Stricter than pipeline.sources.tar.format, which only needs to find samples and skips damage silently.
"""

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from bioclip_jax.pipeline.sources import BLOCK

# name, size, checksum, type, link target, magic, prefix
_HEADER = struct.Struct("100s24x12s12x8s1s100s6s82x155s12x")
_MAGIC, _MAGIC_AT = b"ustar", 257
_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*").fullmatch
_PAX_RECORD = re.compile(rb"(\d{1,9}) ([^=]+)=")
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_EXTENDED = b"LKxg"
# Extended headers hold names and times; a larger one is damage.
_MAX_EXTENDED = 1 << 20
_CHUNK = 1 << 20
_END = bytes(BLOCK)


class Entry(NamedTuple):
    """A member. Offsets: start of its first header, extended ones included; position of its own; data.

    type: the header's letter, b"0" for a regular file. target: of a link.
    """

    start: int
    position: int
    name: bytes
    type: bytes
    target: bytes
    data: int
    size: int


class Damage(NamedTuple):
    """Damage at a byte; `kind` is one of findings.ERRORS or NOTES."""

    position: int
    kind: str
    message: str


class _Header(NamedTuple):
    name: bytes
    size: int
    type: bytes
    target: bytes


def entries(file: BinaryIO, end: int) -> Iterator[Entry | Damage]:
    """Yield members and damage of an archive of `end` bytes. Raises OSError if it cannot be read."""
    if end == 0:
        yield Damage(0, "empty_file", "the file is empty")
        return
    position, start, long_name, pax = 0, 0, b"", {}
    while True:
        block = _read(file, position, BLOCK)
        if len(block) < BLOCK:
            where = "inside a header" if block else "its end marker is missing"
            yield Damage(position, "cut_off_tar", f"the tar is truncated: {where}")
            return
        if block == _END:
            after = _first_nonzero(file, position, end)
            if after is None:
                return
            following = _next_header(file, after // BLOCK * BLOCK, end)
            if following is None:
                yield Damage(after, "data_after_end", "there is data after the end marker")
                return
            yield Damage(
                following, "joined_tar", "another tar begins after the end marker; webdataset stops before it"
            )
            position = start = following
            long_name, pax = b"", {}
            continue
        header = _parse(block)
        if header is None:
            following = _next_header(file, position + BLOCK, end)
            if position == 0 and following is None:
                yield _not_a_tar(block)
                return
            skipped = (end if following is None else following) - position
            yield Damage(position, "damaged_header", f"no valid tar header; skipped {skipped} bytes")
            if following is None:
                return
            position = start = following
            long_name, pax = b"", {}
            continue
        data, size = position + BLOCK, header.size
        if header.type in _EXTENDED:
            if data + size > end:
                yield Damage(position, "cut_off_tar", "the tar is truncated inside an extended header")
                return
            if size > _MAX_EXTENDED:
                yield Damage(position, "damaged_header", f"skipped an extended header of {size} bytes")
            elif header.type == b"L":
                long_name = _read(file, data, size).rstrip(b"\0")
            elif header.type == b"x":
                pax = _pax(_read(file, data, size))
            position = data + _padded(size)
            continue
        if b"size" in pax:
            if pax[b"size"].isdigit() and len(pax[b"size"]) < 20:
                size = int(pax[b"size"])
            else:
                yield Damage(position, "damaged_header", "the size in its extended header is invalid")
        if data + size > end:
            yield Damage(
                position,
                "cut_off_tar",
                f"the tar is truncated: the member needs {data + size - end} more bytes",
            )
            return
        name = pax.get(b"path") or long_name or header.name
        yield Entry(start, position, name, header.type, header.target, data, size)
        position = start = data + _padded(size)
        long_name, pax = b"", {}


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _parse(block: bytes) -> _Header | None:
    """Parse a header block; None if its checksum or size is invalid."""
    name, digits, stored, kind, target, magic, prefix = _HEADER.unpack(block)
    checksum, size = _number(stored), _number(digits)
    if size is None or checksum != sum(block) - sum(stored) + 8 * ord(" "):
        return None
    name = name.partition(b"\0")[0]
    if magic == b"ustar\0" and prefix[0]:
        name = prefix.partition(b"\0")[0] + b"/" + name
    return _Header(name, size, b"0" if kind == b"\0" else kind, target.partition(b"\0")[0])


def _number(digits: bytes) -> int | None:
    if digits[0] == 0x80:  # GNU's base 256, for more than 8 GiB
        return int.from_bytes(digits[1:], "big")
    match = _OCTAL(digits)
    return int(match[1] or b"0", 8) if match else None


def _pax(content: bytes) -> dict[bytes, bytes]:
    r"""Parse an extended header's records "LENGTH KEY=VALUE\n", up to the first invalid one."""
    records, position = {}, 0
    while match := _PAX_RECORD.match(content, position):
        finish = position + int(match[1])
        if finish <= match.end() or finish > len(content):
            break
        records[match[2]] = content[match.end() : finish - 1]
        position = finish
    return records


def _next_header(file: BinaryIO, position: int, end: int) -> int | None:
    """Offset of the next valid header, block-aligned relative to `position`; None if there is none."""
    while position < end:
        chunk = _read(file, position, _CHUNK)
        if not chunk:
            return None
        match = chunk.find(_MAGIC)
        while match >= 0:
            start = match - _MAGIC_AT
            if start >= 0 and start % BLOCK == 0 and len(chunk) >= start + BLOCK:
                if _parse(chunk[start : start + BLOCK]) is not None:
                    return position + start
            match = chunk.find(_MAGIC, match + 1)
        position += len(chunk)
    return None


def _first_nonzero(file: BinaryIO, position: int, end: int) -> int | None:
    while position < end:
        chunk = _read(file, position, _CHUNK)
        if not chunk:
            return None
        if rest := chunk.lstrip(b"\0"):
            return position + len(chunk) - len(rest)
        position += len(chunk)
    return None


def _not_a_tar(block: bytes) -> Damage:
    for magic, name in _COMPRESSED.items():
        if block.startswith(magic):
            return Damage(0, "compressed_tar", f"it is compressed with {name}; decompress it")
    return Damage(0, "not_a_tar", "it is not a tar")
