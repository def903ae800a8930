"""The indexes of many tars in one table, memory-mapped by all processes of a host.

The file is in the user's cache under a hash of the tars' paths. Little endian: 56 bytes (magic, a digest of
the tars' sizes and times, number of tars, number of rows); the rows, the index entries tar by tar; the first
row of each tar and the end (int64); and the damaged tars with their reasons, as JSON.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Int64, UInt32
from rich.console import Console
from rich.progress import track

from bioclip_jax.files import atomic_write
from bioclip_jax.pipeline.sources.storage import Location, absolute, identity

from .format import BadTar
from .index import cache_directory, load_index

_MAGIC = b"BJTARIX4"
_HEAD = 56
# Tars per task of an indexing process, and the number of tars up to which this process indexes alone.
_BATCH = 32
_MANY = 8


class IndexTable:
    """Start blocks of the samples of many tars. Pickles as the path of its file if that could be written.

    errors: the exception of each tar that could not be indexed, which counts as empty.
    """

    def __init__(self, shards: Sequence[Location]):
        self.errors: dict[Location, Exception] = {}
        paths = "\0".join(map(absolute, shards))
        self._path: Path | None = (
            cache_directory() / f"{hashlib.sha256(os.fsencode(paths)).hexdigest()[:32]}.table"
        )
        head = _head(shards)
        try:
            if not self._map(head):
                self._write(shards, head)
                self._map(None)
            else:
                self.errors = {shards[number]: BadTar(reason) for number, reason in self._reasons()}
        except OSError:
            memory = io.BytesIO()
            self._path, self._firsts = None, self._fill(memory, shards)
            self._starts = np.frombuffer(memory.getvalue(), "<u4", int(self._firsts[-1]), _HEAD)

    def _write(self, shards: Sequence[Location], head: bytes) -> None:
        """Write the table atomically. Raises OSError if the cache is not writable."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self._path) as partial, partial.open("wb") as file:
            firsts = self._fill(file, shards)
            if not all(isinstance(error, BadTar) for error in self.errors.values()):
                # An unreadable file may be readable next time, so a random digest keeps the table from reuse.
                head = _MAGIC + os.urandom(len(head) - len(_MAGIC) - 8) + head[-8:]
            file.seek(0)
            file.write(head + firsts[-1:].tobytes())

    def _fill(self, file: BinaryIO, shards: Sequence[Location]) -> Int64[np.ndarray, " shards_and_end"]:
        """Write everything but the head, and return each tar's first row."""
        file.seek(_HEAD)
        self.errors.clear()
        lengths, reasons = [0], []
        indexes = _indexes(shards)
        if len(shards) > _MANY:
            console = Console(stderr=True)
            indexes = track(indexes, "indexing shards", len(shards), console=console, transient=True)
        for number, (shard, index) in enumerate(zip(shards, indexes)):
            if isinstance(index, Exception):
                self.errors[shard] = index
                reasons.append((number, str(index)))
                index = np.zeros(1, np.uint32)
            lengths.append(len(index))
            file.write(index.astype("<u4", copy=False).tobytes())
        firsts = np.cumsum(lengths, dtype="<i8")
        file.write(firsts.tobytes() + json.dumps(reasons).encode())
        return firsts

    def _reasons(self) -> list[tuple[int, str]]:
        """Read from the file the numbers of the damaged tars and the reasons."""
        with open(self._path, "rb") as file:
            file.seek(_HEAD + self._starts.nbytes + self._firsts.nbytes)
            return json.loads(file.read())

    @property
    def firsts(self) -> Int64[np.ndarray, " shards_and_end"]:
        """First row of each tar, which has one row more than samples."""
        return self._firsts

    @property
    def starts(self) -> UInt32[np.ndarray, " rows"]:
        """First 512-byte block of each sample, and the end block of each tar's last one."""
        return self._starts

    def __getstate__(self):
        state = dict(self.__dict__)
        if self._path is not None:
            del state["_firsts"], state["_starts"]
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self._path is not None:
            self._map(None)

    def _map(self, head: bytes | None) -> bool:
        """Map the file and return True if it is complete and its head is `head`; None accepts any head."""
        try:
            with open(self._path, "rb") as file:
                if head is not None and file.read(len(head)) != head:
                    return False
                file.seek(_HEAD - 16)
                count, rows = np.fromfile(file, "<i8", 2)
                # There is at least one row, since every tar has an end.
                self._starts = np.memmap(file, "<u4", "r", offset=_HEAD, shape=(int(rows),))
                file.seek(_HEAD + 4 * int(rows))
                self._firsts = np.fromfile(file, "<i8", int(count) + 1)
        except (OSError, ValueError):
            if head is None:
                raise
            return False
        return len(self._firsts) == count + 1 and self._firsts[-1] == rows


def _head(shards: Sequence[Location]) -> bytes:
    """Head of the table of these tars in their present state, without the number of rows."""
    digest = hashlib.sha256()
    with ThreadPoolExecutor(16) as pool:
        for size, changes in pool.map(_identity_or_none, shards):
            digest.update(f"{size} {changes}\n".encode())
    return _MAGIC + digest.digest() + np.int64(len(shards)).astype("<i8").tobytes()


def _identity_or_none(shard: Location) -> tuple[int, str]:
    try:
        return identity(shard)
    except OSError:
        return -1, ""


def _indexes(shards: Sequence[Location]) -> Iterator[np.ndarray | Exception]:
    """Yield each tar's index or exception; what is not cached is built by one process per core."""
    if len(shards) <= _MANY:
        yield from map(_try_index, shards)
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(cores) as pool:
        try:
            batches = [shards[start : start + _BATCH] for start in range(0, len(shards), _BATCH)]
            for batch in pool.map(_batch, batches):
                yield from batch
        finally:
            pool.shutdown(cancel_futures=True)


def _batch(shards: Sequence[Location]) -> list[np.ndarray | Exception]:
    indexes = {shard: _try_index(shard, only_cached=True) for shard in shards}
    if missing := [shard for shard, index in indexes.items() if index is None]:
        indexes |= zip(missing, _in_process(missing))
    return [indexes[shard] for shard in shards]


def _in_process(shards: Sequence[Location]) -> list[np.ndarray | Exception]:
    # A plain command, because multiprocessing would import the user's main script again.
    command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
    process = subprocess.run(command, input=pickle.dumps(list(shards)), capture_output=True)
    # If the process cannot run, index in this one.
    return [_try_index(shard) for shard in shards] if process.returncode else pickle.loads(process.stdout)


def serve() -> None:
    """Index the tars named on standard input; the process that _in_process starts."""
    sys.stdout.buffer.write(pickle.dumps([_try_index(shard) for shard in pickle.load(sys.stdin.buffer)]))


def _try_index(shard: Location, only_cached: bool = False) -> np.ndarray | Exception | None:
    try:
        return load_index(shard, only_cached)
    except (BadTar, OSError) as error:
        return error
