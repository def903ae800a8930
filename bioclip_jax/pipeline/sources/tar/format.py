"""Tar headers and members, and the grouping of members into samples."""

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

BLOCK = 512

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
# name, size, kind, magic, prefix
_HEADER = struct.Struct("100s24x12s20xs100x6s82x155s12x")
# Webdataset writes an extended header with only times before every member.
_HARMLESS_PAX = re.compile(rb"(?:\d+ [acm]time=[\d.]+\n)*").fullmatch
_OCTAL = re.compile(rb"[0-7]+").fullmatch
_PAX_RECORD = re.compile(rb"\d+ ([^=]+)=")
_REGULAR = (b"0", b"\0")
_EXTENDED = (b"L", b"K", b"x", b"g")  # GNU long name and link, pax for one member and for all
_CHUNK = 64 << 10


class BadTar(ValueError):
    """The file is not an undamaged, uncompressed tar; the message gives the reason."""


class Member(NamedTuple):
    """A regular file in a tar. `start` is the offset of its first header, extended headers included."""

    start: int
    name: str
    offset: int
    size: int


Read = Callable[[int, int], bytes]  # (offset, size) -> at most size bytes


def members(read: Read, end: int, start: int = 0, check: bool = True) -> Iterator[Member]:
    """Iterate over the regular files whose headers are in [start, end), in order.

    `end` is the archive's size, or the end of a span of whole members. With `check` (for whole archives),
    header checksums, the completeness of the last member and the end-of-archive block are verified. Continues
    after that block if another tar follows, as GNU tar with --ignore-zeros, so the result of `cat a.tar
    b.tar` is read whole. Supports ustar, GNU long names and pax headers. Raises BadTar if the archive is
    damaged.
    """
    position, first_header, long_name, pax = start, None, None, {}
    while position < end:
        header = read(position, BLOCK)
        if len(header) < BLOCK:
            raise BadTar(f"it is cut off inside the header at byte {position:,}")
        if not header.strip(b"\0"):
            following = next_tar(read, position, end)
            if following is None:
                return
            position, first_header, long_name, pax = following, None, None, {}
            continue
        if check:
            _check_header(header, position, start)
        name, digits, kind, magic, prefix = _HEADER.unpack(header)
        size = _number(digits, position)
        data = position + BLOCK
        if first_header is None:
            first_header = position
        if kind in _EXTENDED:
            if data + size > end:
                raise BadTar(f"it is cut off inside the extended header at byte {position:,}")
            if kind == b"L":
                long_name = read(data, size).rstrip(b"\0")
            elif kind == b"x":
                pax = _pax(read(data, size))
            position = data + -(-size // BLOCK) * BLOCK
            continue
        if pax and b"size" in pax:
            size = _decimal(pax[b"size"], position)
        if check and data + size > end:
            raise BadTar(
                f"it is cut off: the member at byte {position:,} needs {data + size - end:,} bytes more"
            )
        if kind in _REGULAR:
            name = pax.get(b"path") or long_name or _full_name(name, magic, prefix)
            yield Member(first_header, name.decode("utf-8", "replace"), data, size)
        position, first_header, long_name, pax = data + -(-size // BLOCK) * BLOCK, None, None, {}
    if check:
        raise BadTar("it is cut off: the end-of-archive block is missing")


def next_tar(read: Read, position: int, end: int) -> int | None:
    """Offset of the tar after the end-of-archive block at `position`, or None."""
    position += BLOCK
    while position < end:
        chunk = read(position, min(_CHUNK, end - position))
        if not chunk:
            return None
        if rest := chunk.lstrip(b"\0"):
            position += (len(chunk) - len(rest)) // BLOCK * BLOCK
            header = read(position, BLOCK)
            return position if len(header) == BLOCK and _has_checksum(header, position) else None
        position += len(chunk)
    return None


def parse_sample(span: bytes) -> tuple[str, dict[str, bytes]]:
    """Split a sample's members into its key and its contents by kind. Raises BadTar if damaged."""
    plain = _parse_plain(span)
    if plain is not None:
        return plain
    key, files = "", {}
    for member in members(lambda offset, size: span[offset : offset + size], len(span), check=False):
        if parts := split_name(member.name):
            key = parts[0]
            files.setdefault(parts[1], span[member.offset : member.offset + member.size])
    return key, files


def _parse_plain(span: bytes) -> tuple[str, dict[str, bytes]] | None:
    """Fast path of parse_sample for regular files named in their own headers; None for anything else."""
    key, files, position, end, skip = None, {}, 0, len(span), 0
    unpack, block = _HEADER.unpack_from, BLOCK
    while position < end:
        name, digits, kind, _, prefix = unpack(span, position)
        data = position + block
        if digits[0] not in b"01234567":  # a sign or base 256
            return None
        try:
            size = int(digits[:11], 8)
        except ValueError:
            return None
        position = data + (size + block - 1) // block * block
        if kind == b"0" and not prefix[0]:
            name = name[: name.find(0)]
            if key is None:
                parts = split_name(name.decode("utf-8", "replace"))
                if parts is None:
                    return None
                key = parts[0]
                key_bytes = key.encode()
                skip = len(key_bytes) + 1
            elif not name.startswith(key_bytes):
                return None
            files.setdefault(name[skip:].decode("utf-8", "replace"), span[data : data + size])
        elif kind != b"x" or not _HARMLESS_PAX(span, data, data + size):
            return None
    return (key, files) if key is not None else None


def split_name(name: str) -> tuple[str, str] | None:
    """Split a name at the first dot of its last part into sample key and kind; None without a dot."""
    folder, slash, base = name.rpartition("/")
    stem, dot, kind = base.partition(".")
    return (folder + slash + stem, kind) if stem and dot else None


def _check_header(header: bytes, position: int, start: int) -> None:
    if _has_checksum(header, position):
        return
    if position > start:
        raise BadTar(f"it is damaged: there is no tar header at byte {position:,}")
    for magic, name in _COMPRESSED.items():
        if header.startswith(magic):
            raise BadTar(f"it is compressed with {name}; random access needs it uncompressed")
    raise BadTar("it is not a tar")


def _has_checksum(header: bytes, position: int) -> bool:
    stored = header[148:156]
    try:
        return _number(stored, position) == sum(header) - sum(stored) + 8 * ord(" ")
    except BadTar:
        return False


def _number(digits: bytes, position: int) -> int:
    if digits[0] & 0x80:  # GNU's base 256, for more than 8 GiB
        return int.from_bytes(digits[1:], "big")
    digits = digits.strip(b" \0") or b"0"
    if not _OCTAL(digits):
        raise BadTar(f"it is damaged: the header at byte {position:,} has no size")
    return int(digits, 8)


def _decimal(digits: bytes, position: int) -> int:
    if not digits.isdigit() or len(digits) > 18:
        raise BadTar(
            f"it is damaged: the extended header before byte {position:,} gives a size of {digits[:20]!r}"
        )
    return int(digits)


def _full_name(name: bytes, magic: bytes, prefix: bytes) -> bytes:
    name = name.partition(b"\0")[0]
    if magic == b"ustar\0" and prefix[0]:
        return prefix.partition(b"\0")[0] + b"/" + name
    return name


def _pax(content: bytes) -> dict[bytes, bytes]:
    r"""Parse the records "LENGTH KEY=VALUE\n" of an extended header."""
    records, position = {}, 0
    while match := _PAX_RECORD.match(content, position):
        length = int(match[0].split(b" ", 1)[0])
        if length < match.end() - position + 1:
            break
        records[match[1]] = content[match.end() : position + length - 1]
        position += length
    return records
