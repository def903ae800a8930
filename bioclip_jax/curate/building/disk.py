"""Whether the disk has room for a build, told before anything is written."""

import contextlib
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.text import CAPTION_FILES

from .job import Job
from .prepare import prepare_samples

# Images that are processed to learn how large they come out.
_TRIED = 32
_MARGIN = 1.1
_TAR_BLOCK = 512
# A row of a chunk's table and one of the catalogue.
_ROW_BYTES = 300


def bytes_needed(job: Job) -> int:
    """What the build will take while it runs, from a seeded handful of samples: their spools and the shards."""
    count = len(job.source)
    generator = np.random.Generator(np.random.Philox(job.settings.seed))
    # In order, so that a source which reads by row groups reads each once.
    tried = np.sort(
        generator.permutation(count)[:_TRIED] if count < 10**6 else generator.integers(0, count, _TRIED)
    )
    spool = io.BytesIO()
    rows = prepare_samples(replace(job, dry=False), tried.tolist(), spool)
    captions = (1 + 2 * len(CAPTION_FILES)) * _TAR_BLOCK if job.settings.format == "tar" else 0
    shard = sum(-(-row["size"] // _TAR_BLOCK) * _TAR_BLOCK + captions for row in rows if row["size"])
    return int((_MARGIN * (spool.tell() + shard) / len(rows) + _ROW_BYTES) * count)


def check_room(job: Job) -> None:
    """UserError if the disk is too small for what the build still has to write."""
    needed = bytes_needed(job) - _bytes_in(job.output)
    where = next(folder for folder in (job.output, *job.output.parents) if folder.exists())
    free = shutil.disk_usage(where).free
    if needed > free:
        raise UserError(
            f"{job.output}: the build needs about {_amount(needed)} (half of it only until it ends) and the "
            f"disk has "
            f"{_amount(free)} free; free some, or write to another disk"
        )


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        # Another build may be running here, which is told later.
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _amount(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
