"""Sample index of a tar, built once and cached beside the tar or in the user's cache.

The index file has 32 bytes (magic, the tar's size, its mtime in ns, a checksum of its first and last bytes;
little endian, 8 bytes each), followed by the first 512-byte block of each sample and the end, as uint32. At 4
bytes per sample, 214 million samples take less than 1 GB.
"""

import hashlib
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt32

from bioclip_jax.errors import UserError
from bioclip_jax.files import atomic_write
from bioclip_jax.files import cache_directory as user_cache
from bioclip_jax.pipeline.sources.storage import Files, ForwardReader, Location, absolute, identity, is_url

from .format import BLOCK, BadTar, Read, members, split_name
from .scan import scan_spans

# Also the version: indexes up to BJTARIX2 ended at the first of several concatenated tars.
_MAGIC = b"BJTARIX3"
_HEAD = struct.Struct("<8sQQQ")
_PROBE = 4096


def load_index(shard: Location, only_cached: bool = False) -> UInt32[np.ndarray, " samples_and_end"] | None:
    """The index of a tar from its cache if up to date, else built and cached, or None with `only_cached`.

    Building reads a tar in object storage whole. Raises BadTar if the file is not an undamaged uncompressed
    tar, OSError if it cannot be read.
    """
    if is_url(shard):
        size, changes = identity(shard)
        paths = [cache_directory() / _cache_name(shard)]
        head = _HEAD.pack(_MAGIC, size, zlib.crc32(changes.encode()), 0)
        if only_cached:
            return _read_first(paths, head)
        return _read_or_build(paths, head, ForwardReader(Files(), shard, size).read, size)
    descriptor = os.open(shard, os.O_RDONLY)
    try:
        paths = [shard.with_name(shard.name + ".index"), cache_directory() / _cache_name(shard)]
        head = _head(descriptor)
        if only_cached:
            return _read_first(paths, head)
        read = lambda offset, size: os.pread(descriptor, size, offset)  # noqa: E731
        return _read_or_build(paths, head, read, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def _read_first(paths: list[Path], head: bytes) -> UInt32[np.ndarray, " samples_and_end"] | None:
    """The index from the first of the paths that has an up-to-date one."""
    return next((starts for path in paths if (starts := _read(path, head)) is not None), None)


def _read_or_build(
    paths: list[Path], head: bytes, read: Read, end: int
) -> UInt32[np.ndarray, " samples_and_end"]:
    """The cached index, else a new one, written to the first of the paths that is writable."""
    if (starts := _read_first(paths, head)) is not None:
        return starts
    starts = scan(read, end)
    for path in paths:
        if _write(path, head, starts):
            break
    return starts


def scan(read: Read, end: int) -> UInt32[np.ndarray, " samples_and_end"]:
    """Build the index of a tar of `end` bytes from its headers. Each sample's files must be adjacent.

    Raises BadTar if it is damaged.
    """
    if end == 0:
        raise BadTar("it is empty")
    if (spans := scan_spans(read, end)) is not None:
        return _blocks(*spans)
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


def _head(descriptor: int) -> bytes:
    """The index file's head, which identifies the tar and its content."""
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
    """Write the index atomically; False if the folder is not writable."""
    try:
        if path.parent == cache_directory():
            path.parent.mkdir(parents=True, exist_ok=True)
        # Checked because root could write to a folder marked read-only.
        if not path.parent.stat().st_mode & 0o222:
            return False
        with atomic_write(path) as partial:
            partial.write_bytes(head + starts.astype("<u4").tobytes())
    except (OSError, UserError):
        return False
    return True


def cache_directory() -> Path:
    """The folder of index tables, and of indexes whose tars' folders are not writable."""
    return user_cache() / "tar_index"


def _cache_name(shard: Location) -> str:
    return hashlib.sha256(os.fsencode(absolute(shard))).hexdigest()[:32] + ".index"
