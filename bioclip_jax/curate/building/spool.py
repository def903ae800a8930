"""Processed samples on their way from the source to the shards: one file a chunk, read at random."""

import functools
import os
import weakref
from pathlib import Path
from typing import BinaryIO

from bioclip_jax.pipeline.sources import Sample, pack_sample, unpack_sample

_OPEN_FILES = 256


def append_sample(file: BinaryIO, sample: Sample) -> tuple[int, int]:
    """Writes a sample at the file's end; the record's offset and size."""
    offset, record = file.tell(), pack_sample(sample)
    file.write(record)
    return offset, len(record)


def read_sample(path: Path, offset: int, size: int) -> Sample:
    """The sample at that place."""
    return unpack_sample(os.pread(_opened(path).descriptor, size, offset))


def close_spools() -> None:
    """Closes what read_sample has opened: a path may be another file's in the next build of this process."""
    _opened.cache_clear()


class _Opened:
    def __init__(self, path: Path):
        self.descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)


@functools.lru_cache(_OPEN_FILES)
def _opened(path: Path) -> _Opened:
    return _Opened(path)
