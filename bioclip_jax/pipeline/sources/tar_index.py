"""Where the samples of a tar begin: found once, kept in a file beside the tar or in the user's cache.

The index file is 32 bytes (magic, the tar's size, its mtime in ns, a checksum of its first and last bytes;
little endian, 8 bytes each) and then, for each sample and for the end, the block of 512 bytes where it
begins, as uint32.
That is 4 bytes a sample: 214 million samples take less than 1 GB.
"""

import hashlib
import os
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt32

from bioclip_jax.files import cache_directory as user_cache

from .storage import Files, ForwardReader, Location, absolute, identity, is_url
from .tar_format import BLOCK, BadTar, Read, members, split_name
from .tar_scan import scan_spans

# Also the version: indexes up to BJTARIX2 ended at the first of several joined tars.
_MAGIC = b"BJTARIX3"
_HEAD = struct.Struct("<8sQQQ")
_PROBE = 4096


def load_index(shard: Location, only_cached: bool = False) -> UInt32[np.ndarray, " samples_and_end"] | None:
    """The index of a tar, from its cache if that still fits, else scanned and cached; None with `only_cached`.

    A tar in object storage is read whole for it. BadTar if the file is no sound uncompressed tar, OSError if
    it cannot be read.
    """
    if is_url(shard):
        size, changes = identity(shard)
        places = [cache_directory() / _cache_name(shard)]
        head = _HEAD.pack(_MAGIC, size, zlib.crc32(changes.encode()), 0)
        if only_cached:
            return _first_of(places, head)
        return _cached(places, head, ForwardReader(Files(), shard, size).read, size)
    descriptor = os.open(shard, os.O_RDONLY)
    try:
        places = [shard.with_name(shard.name + ".index"), cache_directory() / _cache_name(shard)]
        head = _identity(descriptor)
        if only_cached:
            return _first_of(places, head)
        read = lambda offset, size: os.pread(descriptor, size, offset)  # noqa: E731
        return _cached(places, head, read, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def _first_of(places: list[Path], head: bytes) -> UInt32[np.ndarray, " samples_and_end"] | None:
    """The index in the first of the places that holds it."""
    return next((starts for path in places if (starts := _read(path, head)) is not None), None)


def _cached(places: list[Path], head: bytes, read: Read, end: int) -> UInt32[np.ndarray, " samples_and_end"]:
    """The cached index; else the scanned one, written to the first of the places that takes it."""
    if (starts := _first_of(places, head)) is not None:
        return starts
    starts = scan(read, end)
    for path in places:
        if _write(path, head, starts):
            break
    return starts


def scan(read: Read, end: int) -> UInt32[np.ndarray, " samples_and_end"]:
    """The index of a tar of `end` bytes, from all its headers. A sample's files must stand together, as webdataset's.

    BadTar if it is damaged.
    """
    if end == 0:
        raise BadTar("it is empty")
    if (found := scan_spans(read, end)) is not None:
        return _blocks(*found)
    starts, last_key, finish = [], None, 0
    for member in members(read, end):
        parts = split_name(member.name)
        if parts is None:
            continue
        if parts[0] != last_key:
            starts.append(member.start)
            last_key = parts[0]
        finish = -(-(member.offset + member.size) // BLOCK) * BLOCK
    return _blocks(np.array(starts, np.int64), finish)


def _blocks(starts: Int64[np.ndarray, " samples"], finish: int) -> UInt32[np.ndarray, " samples_and_end"]:
    blocks = np.append(starts, finish) // BLOCK
    if blocks[-1] >= 1 << 32:
        raise BadTar("it is larger than 2 TiB; split it")
    return blocks.astype(np.uint32)


def _identity(descriptor: int) -> bytes:
    """What must not have changed since the index was made."""
    status = os.fstat(descriptor)
    probe = os.pread(descriptor, _PROBE, 0) + os.pread(descriptor, _PROBE, max(0, status.st_size - _PROBE))
    return _HEAD.pack(_MAGIC, status.st_size, status.st_mtime_ns, zlib.crc32(probe))


def _read(path: Path, head: bytes) -> np.ndarray | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    body = content[_HEAD.size :]
    if content[: _HEAD.size] != head or len(body) < 4 or len(body) % 4:
        return None
    return np.frombuffer(body, "<u4").astype(np.uint32, copy=False)


def _write(path: Path, head: bytes, starts: np.ndarray) -> bool:
    """Writes the index beside its place and renames it; False where that cannot be done."""
    try:
        if path.parent == cache_directory():
            path.parent.mkdir(parents=True, exist_ok=True)
        # A folder marked read-only is left alone by root too, whom the mode would not stop.
        if not path.parent.stat().st_mode & 0o222:
            return False
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".index-", delete=False) as file:
            try:
                file.write(head + starts.astype("<u4").tobytes())
                file.flush()
                os.chmod(file.name, 0o644)
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError:
        return False
    return True


def cache_directory() -> Path:
    """Where indexes go that cannot stand beside their tars."""
    return user_cache() / "tar_index"


def _cache_name(shard: Location) -> str:
    return hashlib.sha256(os.fsencode(absolute(shard))).hexdigest()[:32] + ".index"
