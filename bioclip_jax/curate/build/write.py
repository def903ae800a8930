"""Write step of a build: shards of the kept samples, and the catalog of all samples with their decisions."""

import functools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from bioclip_jax.curate.tar_writer import TarShardWriter
from bioclip_jax.file_kinds import CATALOG_FILE
from bioclip_jax.files import atomic_write
from bioclip_jax.pipeline.sources import RecordWriter, Sample
from bioclip_jax.text import Taxon, captions_from_taxon

from .labels import TAXON_COLUMNS
from .layout import Job, read_sample
from .plan import LOCATIONS_FILE, TAXA_FILE, read_plan

# Rows per row group: readers skip whole groups, and writing holds one in memory.
_GROUP_ROWS = 100_000

CATALOG_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("key", "source_key", "source", *TAXON_COLUMNS, "alignment")),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("bytes", pa.int64()),
        ("content_hash", pa.string()),
        ("pdq", pa.binary(32)),
        ("pdq_quality", pa.int16()),
        ("decision", pa.string()),
        ("detail", pa.string()),
        ("shard", pa.string()),
        ("position", pa.int32()),
    ]
)


def write_shard(job: Job, number: int) -> int:
    """Write one shard of the plan and return its number of samples."""
    size = job.settings.samples_per_shard
    locations = _locations(job.plan)[number * size : (number + 1) * size]
    taxa = None
    if job.settings.backbone is not None:
        taxa = _taxa(job.plan).take(pa.array(locations["taxon"])).to_pylist()
    path = job.shard(number)
    if job.settings.format == "tar":
        with TarShardWriter(path) as writer:
            _write_samples(job, locations, taxa, writer)
    else:
        with atomic_write(path) as partial, RecordWriter(partial) as writer:
            _write_samples(job, locations, taxa, writer)
    return len(locations)


def _write_samples(
    job: Job, locations: np.ndarray, taxa: list[dict] | None, writer: TarShardWriter | RecordWriter
) -> None:
    for row, (chunk, size, offset, _) in enumerate(locations.tolist()):
        sample = read_sample(job.intermediate(chunk), offset, size)
        if taxa is not None:
            sample = _relabeled(sample, Taxon(*(taxa[row][name] for name in TAXON_COLUMNS)))
        writer.write(sample)


def _relabeled(sample: Sample, taxon: Taxon) -> Sample:
    """Return the sample with its aligned taxon; if alignment changed nothing, its captions are kept."""
    if taxon == (sample.taxon or Taxon()):
        return sample
    return Sample(sample.key, sample.image, captions_from_taxon(taxon), taxon, sample.metadata)


def close_plan() -> None:
    """Release the plan's files: the next build of this process may reuse their paths."""
    _locations.cache_clear()
    _taxa.cache_clear()


@functools.cache
def _locations(plan: Path) -> np.ndarray:
    return np.load(plan / LOCATIONS_FILE, mmap_mode="r")


@functools.cache
def _taxa(plan: Path) -> pa.Table:
    return pyarrow.feather.read_table(plan / TAXA_FILE, memory_map=True)


def write_catalog(job: Job) -> None:
    """Write catalogue.parquet beside the shards: one row per source sample, in source order."""
    path = job.output / CATALOG_FILE
    with (
        atomic_write(path) as partial,
        pq.ParquetWriter(partial, CATALOG_SCHEMA, compression="zstd") as writer,
    ):
        pending, rows = [], 0
        plan = _PlanReader(job)
        for chunk in range(job.chunks):
            pending.append(plan.catalog_rows(chunk))
            rows += pending[-1].num_rows
            if rows >= _GROUP_ROWS or chunk == job.chunks - 1:
                writer.write_table(pa.concat_tables(pending).combine_chunks(), row_group_size=rows)
                pending, rows = [], 0


class _PlanReader:
    def __init__(self, job: Job):
        self._job = job
        self._names = pa.array(read_plan(job)["names"])
        self._codes = np.load(job.plan / "codes.npy", mmap_mode="r")
        self._position = np.load(job.plan / "position.npy", mmap_mode="r")
        self._taxon = np.load(job.plan / "taxon.npy", mmap_mode="r")
        details = pq.read_table(job.plan / "details.parquet")
        self._detail_rows, self._details = details["row"].to_numpy(), details["detail"]
        self._taxa = None if job.settings.backbone is None else _taxa(job.plan)

    def catalog_rows(self, chunk: int) -> pa.Table:
        start, stop = self._job.starts[chunk : chunk + 2].tolist()
        part = pq.read_table(self._job.prepared(chunk))
        columns = {name: part[name] for name in CATALOG_SCHEMA.names if name in part.column_names}
        columns["content_hash"] = [value.hex() for value in part["content_hash"].to_pylist()]
        columns["decision"] = self._names.take(pa.array(self._codes[start:stop]))
        detail = part["detail"].to_pylist()
        first, last = np.searchsorted(self._detail_rows, [start, stop]).tolist()
        for row, text in zip(self._detail_rows[first:last].tolist(), self._details[first:last].to_pylist()):
            detail[row - start] = text
        columns["detail"] = detail
        if self._taxa is None:
            columns["alignment"] = [""] * (stop - start)
        else:
            aligned = self._taxa.take(pa.array(self._taxon[start:stop]))
            columns |= {name: aligned[name] for name in (*TAXON_COLUMNS, "alignment")}
        position, size = self._position[start:stop], self._job.settings.samples_per_shard
        columns["shard"] = [
            self._job.shard(index // size).name if index >= 0 else "" for index in position.tolist()
        ]
        columns["position"] = np.where(position >= 0, position % size, -1).astype(np.int32)
        return pa.table({name: columns[name] for name in CATALOG_SCHEMA.names}, CATALOG_SCHEMA)
