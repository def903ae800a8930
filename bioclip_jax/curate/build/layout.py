"""Layout of a build: its chunks, the paths of its files, and the format of intermediate samples."""

import functools
import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Int64

from bioclip_jax.pipeline.sources import Sample, Source, pack_sample, unpack_sample

from .detectors import Detector
from .settings import BuildSettings

# A thousand chunks give fine-grained progress and lose little when one is cut short; the bounds keep a file
# per chunk cheap.
_CHUNKS = 1000
_MIN_CHUNK, _MAX_CHUNK = 64, 10_000
_SUFFIXES = {"tar": ".tar", "array_record": ".array_record"}
_OPEN_FILES = 256


@dataclass(frozen=True)
class Job:
    """Inputs, settings and paths of a build, sent to every worker.

    provider: source name of samples without one. starts: first index of each chunk, then the source's length.
    evaluations: sources whose images must not leak. folder: for intermediate files. dry: decide about samples
    without encoding images.
    """

    source: Source
    provider: str
    starts: Int64[np.ndarray, " chunks_and_end"]
    evaluations: tuple[Source, ...]
    detectors: tuple[Detector, ...]
    settings: BuildSettings
    folder: Path
    output: Path
    dry: bool = False

    @property
    def chunks(self) -> int:
        """Number of chunks of the source."""
        return len(self.starts) - 1

    def prepared(self, chunk: int) -> Path:
        """Path of the table of a chunk's samples."""
        return self.folder / "prepared" / f"{chunk:06d}.parquet"

    def intermediate(self, chunk: int) -> Path:
        """Path of a chunk's processed samples, concatenated records."""
        return self.folder / "prepared" / f"{chunk:06d}.spool"

    def hashed(self, evaluation: int, chunk: int) -> Path:
        """Path of the hashes of one chunk of an evaluation's images."""
        return self.folder / "evaluation" / f"{evaluation:03d}-{chunk:06d}.parquet"

    @property
    def plan(self) -> Path:
        """Folder of the plan: the kept samples and their order."""
        return self.folder / "plan"

    def shard(self, number: int) -> Path:
        """Path of a shard."""
        return self.output / f"shard-{number:05d}{_SUFFIXES[self.settings.format]}"


def chunk_starts(source: Source) -> Int64[np.ndarray, " chunks_and_end"]:
    """Chunk boundaries, a function of the source's size and, if it is read by row groups, of these."""
    count = len(source)
    size = min(max(-(-count // _CHUNKS), _MIN_CHUNK), _MAX_CHUNK)
    groups = getattr(source, "group_starts", None)
    if groups is None:
        return np.array([*range(0, count, size), count], np.int64)
    starts = [0]
    for start, end in zip(groups[:-1].tolist(), groups[1:].tolist()):
        if end - starts[-1] <= size:
            continue
        # The group exceeds the open chunk, which ends before it; a large group is split by itself.
        starts += [start] * (start > starts[-1]) + list(range(start + _MAX_CHUNK, end, _MAX_CHUNK))
    return np.array([*starts, count], np.int64)


def append_sample(file: BinaryIO, sample: Sample) -> tuple[int, int]:
    """Append a sample to an intermediate file and return the record's offset and size."""
    offset, record = file.tell(), pack_sample(sample)
    file.write(record)
    return offset, len(record)


def read_sample(path: Path, offset: int, size: int) -> Sample:
    """Read one sample of an intermediate file."""
    return unpack_sample(os.pread(_opened(path).descriptor, size, offset))


def close_intermediates() -> None:
    """Close the files opened by read_sample: the next build of this process may reuse their paths."""
    _opened.cache_clear()


class _OpenFile:
    def __init__(self, path: Path):
        self.descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)


@functools.lru_cache(_OPEN_FILES)
def _opened(path: Path) -> _OpenFile:
    return _OpenFile(path)
