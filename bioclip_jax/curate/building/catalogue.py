"""The catalogue of a build: one row a source sample, with what became of it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from bioclip_jax.files import atomic_write

from .job import Job
from .plan import TAXA_FILE, read_plan
from .taxa import TAXON_COLUMNS

CATALOGUE_FILE = "catalogue.parquet"
# Rows of a row group: readers skip by groups, and writing holds one in memory.
_GROUP_ROWS = 100_000

SCHEMA = pa.schema(
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


def write_catalogue(job: Job) -> Path:
    """Writes catalogue.parquet beside the shards, from the chunks' tables and the plan, in source order."""
    path = job.output / CATALOGUE_FILE
    with atomic_write(path) as partial, pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
        waiting, rows = [], 0
        plan = _Plan(job)
        for chunk in range(job.chunks):
            waiting.append(plan.complete(chunk))
            rows += waiting[-1].num_rows
            if rows >= _GROUP_ROWS or chunk == job.chunks - 1:
                writer.write_table(pa.concat_tables(waiting).combine_chunks(), row_group_size=rows)
                waiting, rows = [], 0
    return path


class _Plan:
    def __init__(self, job: Job):
        self._job = job
        self._names = pa.array(read_plan(job)["names"])
        self._codes = np.load(job.plan / "codes.npy", mmap_mode="r")
        self._position = np.load(job.plan / "position.npy", mmap_mode="r")
        self._taxon = np.load(job.plan / "taxon.npy", mmap_mode="r")
        details = pq.read_table(job.plan / "details.parquet")
        self._detail_rows, self._details = details["row"].to_numpy(), details["detail"]
        self._taxa = None
        if job.settings.backbone is not None:
            self._taxa = pyarrow.feather.read_table(job.plan / TAXA_FILE, memory_map=True)

    def complete(self, chunk: int) -> pa.Table:
        """The catalogue's rows of one chunk."""
        start, stop = self._job.starts[chunk : chunk + 2].tolist()
        part = pq.read_table(self._job.prepared(chunk))
        columns = {name: part[name] for name in SCHEMA.names if name in part.column_names}
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
            self._job.shard(place // size).name if place >= 0 else "" for place in position.tolist()
        ]
        columns["position"] = np.where(position >= 0, position % size, -1).astype(np.int32)
        return pa.table({name: columns[name] for name in SCHEMA.names}, SCHEMA)
