"""The indexes of many tars as one table, which all processes of a host map into memory.

The file, in the user's cache under a name made of the tars' paths, is little endian: 48 bytes (magic, a digest of the
tars' sizes and times, their number), for each tar and the end the row where its own begin (int64), then the rows: tar
by tar the entries of tar_index.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt32
from rich.console import Console
from rich.progress import track

from bioclip_jax.pipeline.sources.storage import Location, absolute, identity
from bioclip_jax.pipeline.sources.tar_format import BadTar
from bioclip_jax.pipeline.sources.tar_index import cache_directory, load_index

_MAGIC = b"BJTARIX2"
_HEAD = 48
# Tars that one process indexes before it reports, and from how many on other processes are worth their start.
_BATCH = 32
_MANY = 8


class IndexTable:
    """Where the samples of many tars begin. Pickles as the name of its file, where that could be written.

    errors: by tar, why it could not be indexed; such a tar counts as empty.
    """

    def __init__(self, shards: Sequence[Location]):
        self.errors: dict[Location, Exception] = {}
        paths = "\0".join(absolute(shard) for shard in shards)
        self._path: Path | None = cache_directory() / f"{hashlib.sha256(os.fsencode(paths)).hexdigest()[:32]}.table"
        head = _head(shards)
        if head is None or not self._map(head):
            firsts, starts = self._make(shards)
            # A table with an error in it is made again next time, when the tar may have been replaced.
            if self.errors or head is None or not _write(self._path, head, firsts, starts) or not self._map(head):
                self._path, self._firsts, self._starts = None, firsts, starts

    def _make(self, shards: Sequence[Location]) -> tuple[np.ndarray, np.ndarray]:
        indexes = []
        found = _indexes(shards)
        if len(shards) > _MANY:
            found = track(found, "indexing shards", len(shards), console=Console(stderr=True), transient=True)
        for shard, index in zip(shards, found):
            if isinstance(index, Exception):
                self.errors[shard] = index
                index = np.zeros(1, np.uint32)
            indexes.append(index)
        firsts = np.cumsum([0, *map(len, indexes)], dtype=np.int64)
        return firsts, np.concatenate(indexes) if indexes else np.zeros(0, np.uint32)

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
                file.seek(_HEAD - 8)
                count = int(np.fromfile(file, "<i8", 1)[0])
                self._firsts = np.fromfile(file, "<i8", count + 1)
                # An empty map is refused; there is always a row, since every tar has an end.
                self._starts = np.memmap(file, "<u4", "r", offset=_HEAD + 8 * (count + 1), shape=(int(self._firsts[-1]),))
        except (OSError, ValueError, IndexError):
            if head is None:
                raise
            return False
        return True


def _head(shards: Sequence[Location]) -> bytes | None:
    """How the table of these tars, as they are now, begins; None if one is not there, which its own index will say."""
    digest = hashlib.sha256()
    try:
        with ThreadPoolExecutor(16) as pool:
            for size, changes in pool.map(identity, shards):
                digest.update(f"{size} {changes}\n".encode())
    except OSError:
        return None
    return _MAGIC + digest.digest() + np.int64(len(shards)).astype("<i8").tobytes()


def _indexes(shards: Sequence[Location]) -> Iterator[np.ndarray | Exception]:
    """Each tar's index, or why there is none, from as many processes as there are processors."""
    if len(shards) <= _MANY:
        yield from map(_try_index, shards)
        return
    batches = [shards[first : first + _BATCH] for first in range(0, len(shards), _BATCH)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for batch in pool.map(_in_process, batches):
                yield from batch
        finally:
            pool.shutdown(cancel_futures=True)


def _in_process(shards: Sequence[Location]) -> list[np.ndarray | Exception]:
    # A plain command: multiprocessing would run the user's own script again, which may not be made for it.
    command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
    process = subprocess.run(command, input=pickle.dumps(list(shards)), stdout=subprocess.PIPE, check=True)
    return pickle.loads(process.stdout)


def serve() -> None:
    """Index the tars that standard input names, as _in_process asks for it."""
    sys.stdout.buffer.write(pickle.dumps([_try_index(shard) for shard in pickle.load(sys.stdin.buffer)]))


def _try_index(shard: Path) -> np.ndarray | Exception:
    try:
        return load_index(shard)
    except (BadTar, OSError) as error:
        return error


def _write(path: Path, head: bytes, firsts: np.ndarray, starts: np.ndarray) -> bool:
    """Writes the table beside its place and renames it; False where that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".table-", delete=False) as file:
            try:
                file.write(head + firsts.astype("<i8").tobytes())
                starts.astype("<u4", copy=False).tofile(file)
                file.flush()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError:
        return False
    return True

