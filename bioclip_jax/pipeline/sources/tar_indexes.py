"""The indexes of many tars as one table, which all processes of a host map into memory.

The file, in the user's cache under a name made of the tars' paths, is little endian: 56 bytes (magic, a
digest of the tars' sizes and times, their number, the number of rows); the rows: tar by tar the entries of
tar_index; for each tar and the end, the row where its own begin (int64); and as JSON, which tars are damaged
and why.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Int64, UInt32
from rich.console import Console
from rich.progress import track

from .storage import Location, absolute, identity
from .tar_format import BadTar
from .tar_index import cache_directory, load_index

_MAGIC = b"BJTARIX4"
_HEAD = 56
# Tars that one process indexes before it reports, and from how many on other processes are worth their start.
_BATCH = 32
_MANY = 8


class IndexTable:
    """Where the samples of many tars begin. Pickles as the name of its file, where that could be written.

    errors: by tar, why it could not be indexed; such a tar counts as empty.
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
        """Write the table beside its place and rename it. OSError where that cannot be."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._path.parent, prefix=".table-", delete=False) as file:
            try:
                firsts = self._fill(file, shards)
                if not all(isinstance(error, BadTar) for error in self.errors.values()):
                    # A file that could not be read may be readable next time: no head will be like this one.
                    head = _MAGIC + os.urandom(len(head) - len(_MAGIC) - 8) + head[-8:]
                file.seek(0)
                file.write(head + firsts[-1:].tobytes())
                file.flush()
                os.replace(file.name, self._path)
            except BaseException:
                os.unlink(file.name)
                raise

    def _fill(self, file: BinaryIO, shards: Sequence[Location]) -> Int64[np.ndarray, " shards_and_end"]:
        """Write all but the head to the file; where each tar's rows begin."""
        file.seek(_HEAD)
        self.errors.clear()
        lengths, reasons = [0], []
        found = _indexes(shards)
        if len(shards) > _MANY:
            found = track(found, "indexing shards", len(shards), console=Console(stderr=True), transient=True)
        for number, (shard, index) in enumerate(zip(shards, found)):
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
        """The numbers of the tars that could not be indexed, and why, from the file."""
        with open(self._path, "rb") as file:
            file.seek(_HEAD + self._starts.nbytes + self._firsts.nbytes)
            return json.loads(file.read())

    @property
    def firsts(self) -> Int64[np.ndarray, " shards_and_end"]:
        """The row where each tar's begin: one more than it has samples."""
        return self._firsts

    @property
    def starts(self) -> UInt32[np.ndarray, " rows"]:
        """Row by row the block of 512 bytes where a sample begins, or where a tar's last one ends."""
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
        """Map the file, if its head is `head`, or in any case for None; whether that was so."""
        try:
            with open(self._path, "rb") as file:
                if head is not None and file.read(len(head)) != head:
                    return False
                file.seek(_HEAD - 16)
                count, rows = np.fromfile(file, "<i8", 2)
                # There is always a row, since every tar has an end.
                self._starts = np.memmap(file, "<u4", "r", offset=_HEAD, shape=(int(rows),))
                file.seek(_HEAD + 4 * int(rows))
                self._firsts = np.fromfile(file, "<i8", int(count) + 1)
        except (OSError, ValueError):
            if head is None:
                raise
            return False
        return len(self._firsts) == count + 1 and self._firsts[-1] == rows


def _head(shards: Sequence[Location]) -> bytes:
    """How the table of these tars, as they are now, begins."""
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
    """Each tar's index, or why there is none; what is not cached, from as many processes as there are processors."""
    if len(shards) <= _MANY:
        yield from map(_try_index, shards)
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(cores) as pool:
        try:
            for batch in pool.map(_batch, [shards[at : at + _BATCH] for at in range(0, len(shards), _BATCH)]):
                yield from batch
        finally:
            pool.shutdown(cancel_futures=True)


def _batch(shards: Sequence[Location]) -> list[np.ndarray | Exception]:
    found = {shard: _try_index(shard, only_cached=True) for shard in shards}
    if missing := [shard for shard, index in found.items() if index is None]:
        found |= zip(missing, _in_process(missing))
    return [found[shard] for shard in shards]


def _in_process(shards: Sequence[Location]) -> list[np.ndarray | Exception]:
    # A plain command: multiprocessing would run the user's own script again, which may not be made for it.
    command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
    process = subprocess.run(command, input=pickle.dumps(list(shards)), capture_output=True)
    # Slower, but here too, where such a process cannot be.
    return [_try_index(shard) for shard in shards] if process.returncode else pickle.loads(process.stdout)


def serve() -> None:
    """Index the tars that standard input names, as _in_process asks for it."""
    sys.stdout.buffer.write(pickle.dumps([_try_index(shard) for shard in pickle.load(sys.stdin.buffer)]))


def _try_index(shard: Location, only_cached: bool = False) -> np.ndarray | Exception | None:
    try:
        return load_index(shard, only_cached)
    except (BadTar, OSError) as error:
        return error
