"""The tar format, as far as random access needs it: where the members lie, and which belong to one sample."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

BLOCK = 512

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_PAX_RECORD = re.compile(rb"\d+ ([^=]+)=")
_REGULAR = b"0\0"


class BadTar(ValueError):
    """A file that is no sound, uncompressed tar; the message says what is wrong with it."""


class Member(NamedTuple):
    """A regular file in a tar. `start` is the offset of its first header, extended headers included."""

    start: int
    name: str
    offset: int
    size: int


Read = Callable[[int, int], bytes]  # (offset, size) -> at most size bytes


def members(read: Read, end: int, start: int = 0, check: bool = True) -> Iterator[Member]:
    """The regular files whose headers lie in [start, end), in order.

    `end` is the archive's size, or the end of a span of whole members. With `check` (for whole archives), headers'
    checksums are verified, the last member's data must be complete and the end-of-archive block must be there.
    Understands ustar, GNU long names and pax headers. BadTar if the archive is damaged.
    """
    position, first_header, long_name, pax = start, None, None, {}
    while position < end:
        header = read(position, BLOCK)
        if len(header) < BLOCK:
            raise BadTar(f"it is cut off inside the header at byte {position:,}")
        if not header.strip(b"\0"):
            return
        if check:
            _check_header(header, position, start)
        kind = header[156]
        size = _number(header[124:136], position)
        data = position + BLOCK
        first_header = position if first_header is None else first_header
        after = data + _padded(size)
        if kind in b"LKxg":
            if data + size > end:
                raise BadTar(f"it is cut off inside the extended header at byte {position:,}")
            content = read(data, size)
            if kind == ord("L"):
                long_name = content.rstrip(b"\0")
            elif kind == ord("x"):
                pax = _pax(content)
            position = after
            continue
        if b"size" in pax:
            size = int(pax[b"size"])
            after = data + _padded(size)
        if check and data + size > end:
            raise BadTar(f"it is cut off: the member at byte {position:,} needs {data + size - end:,} bytes more")
        if kind in _REGULAR:
            name = pax.get(b"path") or long_name or _name(header)
            yield Member(first_header, name.decode("utf-8", "replace"), data, size)
        position, first_header, long_name, pax = after, None, None, {}
    if check:
        raise BadTar("it is cut off: the end-of-archive block is missing")


def split_name(name: str) -> tuple[str, str] | None:
    """A member's sample key and the kind of file, split at the first dot of its last part; None if it has none."""
    folder, slash, base = name.rpartition("/")
    stem, dot, kind = base.partition(".")
    return (folder + slash + stem, kind) if stem and dot else None


def _check_header(header: bytes, position: int, start: int) -> None:
    stored = header[148:156]
    try:
        checksum = _number(stored, position)
    except BadTar:
        checksum = -1
    if checksum == sum(header) - sum(stored) + 8 * ord(" "):
        return
    if position > start:
        raise BadTar(f"it is damaged: there is no tar header at byte {position:,}")
    for magic, name in _COMPRESSED.items():
        if header.startswith(magic):
            raise BadTar(f"it is compressed with {name}; random access needs it uncompressed")
    raise BadTar("it is not a tar")


def _number(digits: bytes, position: int) -> int:
    if digits[0] & 0x80:  # GNU's base 256, for more than 8 GiB
        return int.from_bytes(digits[1:], "big")
    try:
        return int(digits.strip(b" \0") or b"0", 8)
    except ValueError:
        raise BadTar(f"it is damaged: the header at byte {position:,} has no size") from None


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0" and header[345]:
        return header[345:500].partition(b"\0")[0] + b"/" + name
    return name


def _pax(content: bytes) -> dict[bytes, bytes]:
    """The records "LENGTH KEY=VALUE\\n" of an extended header."""
    records, position = {}, 0
    while match := _PAX_RECORD.match(content, position):
        length = int(match[0].split(b" ", 1)[0])
        if length < match.end() - position + 1:
            break
        records[match[1]] = content[match.end() : position + length - 1]
        position += length
    return records


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
