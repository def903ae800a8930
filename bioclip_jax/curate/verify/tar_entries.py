"""Every header of a tar, sound or not, in order; reading goes on behind damage where another header stands.

Stricter than pipeline.sources.tar_format, which only has to find samples: what it passes over is told here.
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
# A name and some times: what is larger is no extended header that anyone needs.
_LONGEST_EXTENDED = 1 << 20
_CHUNK = 1 << 20
_END = bytes(BLOCK)


class Entry(NamedTuple):
    """A member: `start` is where its first header lies, extended ones included, `position` its own; `data` its content.

    type: the header's letter, b"0" for a regular file. target: what a link leads to.
    """

    start: int
    position: int
    name: bytes
    type: bytes
    target: bytes
    data: int
    size: int


class Damage(NamedTuple):
    """A place that cannot be read on from; `kind` is one of findings.ERRORS or NOTES."""

    position: int
    kind: str
    message: str


class _Header(NamedTuple):
    name: bytes
    size: int
    type: bytes
    target: bytes


def entries(file: BinaryIO, end: int) -> Iterator[Entry | Damage]:
    """The members of an archive of `end` bytes, and where it is damaged. OSError if it cannot be read."""
    if end == 0:
        yield Damage(0, "empty_file", "it is empty")
        return
    position, start, long_name, pax = 0, 0, b"", {}
    while True:
        block = _read(file, position, BLOCK)
        if len(block) < BLOCK:
            where = "inside a header" if block else "the end mark is missing"
            yield Damage(position, "cut_off_tar", f"it is cut off: {where}")
            return
        if block == _END:
            after = _first_nonzero(file, position, end)
            if after is None:
                return
            following = _next_header(file, after // BLOCK * BLOCK, end)
            if following is None:
                yield Damage(after, "data_after_end", "there is data behind the end mark")
                return
            yield Damage(
                following, "joined_tar", "another tar begins behind the end mark; webdataset stops before it"
            )
            position = start = following
            long_name, pax = b"", {}
            continue
        header = _parse(block)
        if header is None:
            following = _next_header(file, position + BLOCK, end)
            if position == 0 and following is None:
                yield _no_tar(block)
                return
            passed = (end if following is None else following) - position
            yield Damage(
                position, "damaged_header", f"there is no sound tar header; {passed} bytes are passed over"
            )
            if following is None:
                return
            position = start = following
            long_name, pax = b"", {}
            continue
        data, size = position + BLOCK, header.size
        if header.type in _EXTENDED:
            if data + size > end:
                yield Damage(position, "cut_off_tar", "it is cut off inside an extended header")
                return
            if size > _LONGEST_EXTENDED:
                yield Damage(position, "damaged_header", f"an extended header of {size} bytes is passed over")
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
                yield Damage(position, "damaged_header", "its extended header gives no sound size")
        if data + size > end:
            yield Damage(
                position, "cut_off_tar", f"it is cut off: the member needs {data + size - end} bytes more"
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
    """The header in a block; None if its checksum or its size is not sound."""
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
    """The records "LENGTH KEY=VALUE\\n" of an extended header, up to the first that is none."""
    records, position = {}, 0
    while match := _PAX_RECORD.match(content, position):
        finish = position + int(match[1])
        if finish <= match.end() or finish > len(content):
            break
        records[match[2]] = content[match.end() : finish - 1]
        position = finish
    return records


def _next_header(file: BinaryIO, position: int, end: int) -> int | None:
    """Where the next sound header stands, on a whole block from `position` on."""
    while position < end:
        chunk = _read(file, position, _CHUNK)
        if not chunk:
            return None
        found = chunk.find(_MAGIC)
        while found >= 0:
            start = found - _MAGIC_AT
            if start >= 0 and start % BLOCK == 0 and len(chunk) >= start + BLOCK:
                if _parse(chunk[start : start + BLOCK]) is not None:
                    return position + start
            found = chunk.find(_MAGIC, found + 1)
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


def _no_tar(block: bytes) -> Damage:
    for magic, name in _COMPRESSED.items():
        if block.startswith(magic):
            return Damage(0, "compressed_tar", f"it is compressed with {name}; uncompress it")
    return Damage(0, "not_a_tar", "it is no tar")
