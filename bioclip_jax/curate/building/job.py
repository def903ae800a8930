"""A build as its workers know it: what is read, how it is cut into chunks, and where everything lies."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from bioclip_jax.curate.cleaning import Detector
from bioclip_jax.pipeline.sources import Source

from .settings import BuildSettings

# A thousand chunks show progress and lose little when one is cut short; within these bounds a file each is
# cheap.
_CHUNKS = 1000
_SMALLEST, _LARGEST = 64, 10_000
_SUFFIXES = {"tar": ".tar", "array_record": ".array_record"}


@dataclass(frozen=True)
class Job:
    """What every worker of a build holds.

    provider: the source's name, for samples that name none. starts: where the source's chunks begin, and its
    end.
    evaluations: sources whose images must not leak. folder: for what is only needed while building.
    dry: only to be reported on, so no image is made.
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
        """How many chunks the source is cut into."""
        return len(self.starts) - 1

    def prepared(self, chunk: int) -> Path:
        """The table of a chunk's samples; it is there if and only if the chunk is done."""
        return self.folder / "prepared" / f"{chunk:06d}.parquet"

    def spool(self, chunk: int) -> Path:
        """The chunk's resized images and labels, one record after the other."""
        return self.folder / "prepared" / f"{chunk:06d}.spool"

    def hashed(self, evaluation: int, chunk: int) -> Path:
        """The hashes of one chunk of an evaluation's images."""
        return self.folder / "evaluation" / f"{evaluation:03d}-{chunk:06d}.parquet"

    @property
    def plan(self) -> Path:
        """Which samples are kept, and in what order; there if and only if it is decided."""
        return self.folder / "plan"

    def shard(self, number: int) -> Path:
        """A shard; it is there if and only if it is written."""
        return self.output / f"shard-{number:05d}{_SUFFIXES[self.settings.format]}"


def chunk_starts(source: Source) -> Int64[np.ndarray, " chunks_and_end"]:
    """Where to cut a source: a function of nothing but its size, and of its row groups if it is read by them."""
    count = len(source)
    size = min(max(-(-count // _CHUNKS), _SMALLEST), _LARGEST)
    groups = getattr(source, "group_starts", None)
    if groups is None:
        return np.array([*range(0, count, size), count], np.int64)
    starts = [0]
    for start, end in zip(groups[:-1].tolist(), groups[1:].tolist()):
        if end - starts[-1] <= size:
            continue
        # The group does not fit into the open chunk: that one ends before it, and a large group is cut by
        # itself.
        starts += [start] * (start > starts[-1]) + list(range(start + _LARGEST, end, _LARGEST))
    return np.array([*starts, count], np.int64)
