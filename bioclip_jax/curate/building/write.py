"""Third step of a build: the kept samples, in their order, into shards."""

import functools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather

from bioclip_jax.curate.tar_writer import TarShardWriter
from bioclip_jax.files import atomic_write
from bioclip_jax.pipeline.sources import RecordWriter, Sample
from bioclip_jax.text import Taxon, captions_from_taxon

from .job import Job
from .plan import TAXA_FILE
from .spool import read_sample
from .taxa import TAXON_COLUMNS


def write_shard(job: Job, number: int) -> int:
    """Writes one shard of the plan. The number of samples."""
    size = job.settings.samples_per_shard
    places = _places(job.plan)[number * size : (number + 1) * size]
    taxa = (
        None if job.settings.backbone is None else _taxa(job.plan).take(pa.array(places["taxon"])).to_pylist()
    )
    path = job.shard(number)
    if job.settings.format == "tar":
        with TarShardWriter(path) as writer:
            _write(job, places, taxa, writer)
    else:
        with atomic_write(path) as partial, RecordWriter(partial) as writer:
            _write(job, places, taxa, writer)
    return len(places)


def _write(
    job: Job, places: np.ndarray, taxa: list[dict] | None, writer: TarShardWriter | RecordWriter
) -> None:
    for row, (chunk, size, offset, _) in enumerate(places.tolist()):
        sample = read_sample(job.spool(chunk), offset, size)
        if taxa is not None:
            sample = _renamed(sample, Taxon(*(taxa[row][name] for name in TAXON_COLUMNS)))
        writer.write(sample)


def _renamed(sample: Sample, taxon: Taxon) -> Sample:
    """The sample under the name that alignment gave it; one that it left as it was keeps its captions."""
    if taxon == (sample.taxon or Taxon()):
        return sample
    return Sample(sample.key, sample.image, captions_from_taxon(taxon), taxon, sample.metadata)


def close_plan() -> None:
    """Lets go of the plan's files: their path may be another plan's in the next build of this process."""
    _places.cache_clear()
    _taxa.cache_clear()


@functools.cache
def _places(plan: Path) -> np.ndarray:
    return np.load(plan / "places.npy", mmap_mode="r")


@functools.cache
def _taxa(plan: Path) -> pa.Table:
    return pyarrow.feather.read_table(plan / TAXA_FILE, memory_map=True)
