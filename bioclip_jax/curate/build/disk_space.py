"""Disk space: estimate what a build needs, and refuse to start without it."""

import contextlib
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.text import CAPTION_FILES

from .ingest import prepare_samples
from .layout import Job

# Number of images processed to estimate the output size.
_TRIAL_SAMPLES = 32
_MARGIN = 1.1
_TAR_BLOCK = 512
# A row of a chunk's table plus one of the catalog.
_ROW_BYTES = 300


def bytes_needed(job: Job) -> int:
    """Estimated peak size of intermediate files and shards, from a seeded sample of the source."""
    count = len(job.source)
    generator = np.random.Generator(np.random.Philox(job.settings.seed))
    # Sorted, so that a source that reads by row groups reads each group once.
    indices = np.sort(
        generator.permutation(count)[:_TRIAL_SAMPLES]
        if count < 10**6
        else generator.integers(0, count, _TRIAL_SAMPLES)
    )
    intermediate = io.BytesIO()
    rows = prepare_samples(replace(job, dry=False), indices.tolist(), intermediate)
    captions = (1 + 2 * len(CAPTION_FILES)) * _TAR_BLOCK if job.settings.format == "tar" else 0
    shard = sum(-(-row["size"] // _TAR_BLOCK) * _TAR_BLOCK + captions for row in rows if row["size"])
    return int((_MARGIN * (intermediate.tell() + shard) / len(rows) + _ROW_BYTES) * count)


def check_disk_space(job: Job) -> None:
    """Raise UserError if the disk cannot hold the rest of the build."""
    needed = bytes_needed(job) - _bytes_in(job.output)
    existing = next(folder for folder in (job.output, *job.output.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise UserError(
            f"{job.output}: the build needs about {_format_size(needed)} (half of it only until it ends) and "
            f"the disk has {_format_size(free)} free; free some, or write to another disk"
        )


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        # Another build may be running in the folder; the lock reports that later.
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _format_size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
