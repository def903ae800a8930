"""Repair shards: copy their sound samples, with safe names and complete captions, to a new folder."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from bioclip_jax.curate.executors import map_in_order
from bioclip_jax.curate.tar_writer import TarShardWriter
from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import SIZES_FILE
from bioclip_jax.files import check_folder

from .checks import clean_sample
from .findings import Findings
from .raw_samples import is_records, read_samples
from .shards import Shard

# Upper bound per sample: completing captions adds up to ten members, which most shards already have.
_ADDED_BYTES = 10 * 1024


@dataclass(frozen=True)
class _Copy:
    shard: Shard
    sound: Bool[np.ndarray, " samples"]
    target: Path


def check_output(output: Path, folder: Path) -> None:
    """Raise UserError unless `output` is new or empty and disjoint from the repaired folder."""
    target, source = output.resolve(), folder.resolve()
    if target.is_relative_to(source) or source.is_relative_to(target):
        raise UserError(
            f"{output} overlaps with {folder}; shards are not repaired in place, name another folder"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} exists and is not an empty folder; name a new one")
    check_folder(output, "the --repair folder", parents=True)


def repair_shards(
    shards: Sequence[Shard],
    sound: Sequence[Bool[np.ndarray, " samples"]],
    output: Path,
    processes: int | None,
) -> dict[str, Any]:
    """Write each shard's sound samples to a shard of the same name, and sizes.json.

    The folder appears once it is complete; shards without a sound sample are skipped. Returns output, and the
    numbers of shards and samples. Raises UserError if the disk is too small or no sample is sound.
    """
    samples = sum(int(mask.sum()) for mask in sound)
    if not samples:
        raise UserError(f"no sample is sound, so {output} is not written; download or build the shards again")
    with _folder_beside(output) as partial:
        needed = sum(shard.path.stat().st_size for shard in shards) + samples * _ADDED_BYTES
        if (free := shutil.disk_usage(partial).free) < needed:
            raise UserError(
                f"{output}: up to {needed:,} bytes are needed and {free:,} are free; name another disk"
            )
        copies = [
            _Copy(shard, mask, partial / shard.name) for shard, mask in zip(shards, sound) if mask.any()
        ]
        for _ in map_in_order(_write, copies, processes, "writing shards"):
            pass
        for folder in {copy.target.parent for copy in copies}:
            sizes = {
                copy.target.name: int(copy.sound.sum()) for copy in copies if copy.target.parent == folder
            }
            (folder / SIZES_FILE).write_text(json.dumps(sizes, indent=1) + "\n")
    return {"output": str(output), "shards": len(copies), "samples": samples}


def _write(copy: _Copy) -> None:
    copy.target.parent.mkdir(parents=True, exist_ok=True)
    if is_records(copy.shard.path):
        from bioclip_jax.pipeline.sources import RecordWriter

        writer = RecordWriter(copy.target)
    else:
        writer = TarShardWriter(copy.target)
    written = 0
    with writer:
        for number, raw in enumerate(read_samples(copy.shard.path, Findings(copy.shard.name))):
            if number < len(copy.sound) and copy.sound[number]:
                writer.write(clean_sample(raw))
                written += 1
        if written != copy.sound.sum():
            raise UserError(f"{copy.shard.path} has changed since it was verified; repair it again")


@contextmanager
def _folder_beside(output: Path) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to `output` on success and removed on failure."""
    partial = output.with_name(f"{output.name}.partial-{uuid.uuid4().hex}")
    try:
        partial.mkdir(parents=True)
        yield partial
        os.replace(partial, output)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{output} cannot be written ({reason}); name a folder on another disk") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
