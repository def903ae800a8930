"""Plan step of a build: decide which samples to keep, and shuffle them into shards.

All samples are in memory as arrays, some 100 bytes each, and 200 more with perceptual hashes.
"""

import json
import os
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
from jaxtyping import Bool, Int16, Int32, Int64, UInt8

from bioclip_jax.errors import UserError
from bioclip_jax.files import PARTIAL

from .ingest import HASHED_SCHEMA
from .labels import TaxonNumbers, align_taxa
from .layout import Job
from .settings import BuildSettings

KEPT = "kept"
TAXA_FILE = "taxa.arrow"
# Location of each kept sample in the intermediate files, in output order.
LOCATIONS_FILE = "places.npy"
_LOCATION = np.dtype([("chunk", "<i4"), ("size", "<i4"), ("offset", "<i8"), ("taxon", "<i4")])


@dataclass
class _Samples:
    """All samples in source order. codes: index into names. quality, taxon: -1 if missing.

    replaced: pairs of removed rows and the rows kept instead. details: rows and their explanations.
    """

    codes: UInt8[np.ndarray, " n"]
    key_hash: UInt8[np.ndarray, "n 16"]
    content_hash: UInt8[np.ndarray, "n 16"]
    pdq: UInt8[np.ndarray, "n 32"]
    quality: Int16[np.ndarray, " n"]
    pixels: Int64[np.ndarray, " n"]
    observation: Int64[np.ndarray, " n"]
    observed: Bool[np.ndarray, " n"]
    offset: Int64[np.ndarray, " n"]
    size: Int32[np.ndarray, " n"]
    taxon: Int32[np.ndarray, " n"]
    names: list[str] = field(default_factory=lambda: [KEPT])
    replaced: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    details: list[tuple[np.ndarray, list[str]]] = field(default_factory=list)

    @property
    def kept(self) -> Int64[np.ndarray, " kept"]:
        return np.flatnonzero(self.codes == 0)

    def code(self, name: str) -> int:
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)

    def counts(self) -> dict[str, int]:
        counts = np.bincount(self.codes, minlength=len(self.names)).tolist()
        return {name: count for name, count in sorted(zip(self.names, counts)) if count or name == KEPT}


def make_plan(job: Job) -> None:
    """Decide about all samples once all chunks are prepared, and save the decisions in job.plan."""
    folder = job.plan.with_name(f"{job.plan.name}{PARTIAL}{uuid.uuid4().hex}")
    folder.mkdir()
    samples, numbers = _load(job)
    alignment, evaluation = {}, {}
    if job.settings.backbone is not None:
        images = np.bincount(samples.taxon)
        taxa, alignment = align_taxa(numbers.taxa(), images, job.settings, folder)
        # Uncompressed, so that all workers share one memory mapping.
        pyarrow.feather.write_feather(taxa, folder / TAXA_FILE, compression="uncompressed")
        if job.settings.unresolved == "drop":
            _remove_unresolved(samples, taxa)
    if job.settings.leakage:
        evaluation = _remove_leaks(samples, job)
    # Last, so that a sample removed above does not remove others of its key or content.
    _remove_repeated_keys(samples)
    if job.settings.dedup is not None:
        _remove_duplicates(samples, job.settings)
    # Sorted by random numbers: NumPy keeps their sequence between versions, unlike its shuffles.
    draws = np.random.Generator(np.random.Philox(job.settings.seed)).random(len(samples.kept))
    order = samples.kept[np.argsort(draws, kind="stable")]
    _save(job, folder, samples, order)
    summary = {
        "counts": samples.counts(),
        "names": samples.names,
        "samples": len(order),
        "shards": -(-len(order) // job.settings.samples_per_shard),
        "alignment": alignment,
        "evaluation": evaluation,
    }
    (folder / "plan.json").write_text(json.dumps(summary))
    for file in folder.iterdir():
        # On disk before the rename that declares the plan complete.
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    folder.rename(job.plan)


def read_plan(job: Job) -> dict[str, Any]:
    """Read the plan's summary: counts by decision, decision names by code, samples, shards, alignment."""
    return json.loads((job.plan / "plan.json").read_text())


def _load(job: Job) -> tuple[_Samples, TaxonNumbers]:
    count, hashed = int(job.starts[-1]), job.settings.needs_pdq
    samples = _Samples(
        codes=np.zeros(count, np.uint8),
        key_hash=np.zeros((count, 16), np.uint8),
        content_hash=np.zeros((count, 16), np.uint8),
        pdq=np.zeros((count if hashed else 0, 32), np.uint8),
        quality=np.full(count if hashed else 0, -1, np.int16),
        pixels=np.zeros(count, np.int64),
        observation=np.zeros(count, np.int64),
        observed=np.zeros(count, bool),
        offset=np.zeros(count, np.int64),
        size=np.zeros(count, np.int32),
        taxon=np.full(count, -1, np.int32),
    )
    numbers = TaxonNumbers()
    for chunk in range(job.chunks):
        rows = slice(*job.starts[chunk : chunk + 2].tolist())
        table = pq.read_table(job.prepared(chunk)).combine_chunks()
        decisions = table["decision"].combine_chunks().dictionary_encode()
        codes = [samples.code(name) if name else 0 for name in decisions.dictionary.to_pylist()]
        samples.codes[rows] = np.array(codes, np.uint8)[decisions.indices.to_numpy()]
        samples.key_hash[rows] = _byte_column(table, "key_hash")
        samples.content_hash[rows] = _byte_column(table, "content_hash")
        samples.pixels[rows] = table["width"].to_numpy().astype(np.int64) * table["height"].to_numpy()
        samples.observation[rows] = table["observation"].fill_null(0).to_numpy()
        samples.observed[rows] = table["observation"].is_valid().to_numpy()
        samples.offset[rows] = table["offset"].to_numpy()
        samples.size[rows] = table["size"].to_numpy()
        if hashed:
            samples.pdq[rows] = _byte_column(table, "pdq")
            samples.quality[rows] = table["pdq_quality"].fill_null(-1).to_numpy()
        if job.settings.backbone is not None:
            samples.taxon[rows] = numbers.encode(table)
    return samples, numbers


def _byte_column(table: pa.Table, name: str) -> UInt8[np.ndarray, "rows width"]:
    """View a column of fixed-size binary values as bytes, nulls as zeros."""
    column = table[name].combine_chunks()
    width = column.type.byte_width
    filled = column.fill_null(bytes(width)) if column.null_count else column
    values = np.frombuffer(filled.buffers()[1], np.uint8).reshape(-1, width)
    return values[filled.offset : filled.offset + len(filled)]


def _remove_repeated_keys(samples: _Samples) -> None:
    """Keep the first sample of each key: keys are unique in the output."""
    kept = samples.kept
    first = _first_equal(samples.key_hash[kept])
    samples.codes[kept[first != np.arange(len(kept))]] = samples.code("duplicate_key")


def _first_equal(hashes: UInt8[np.ndarray, "n 16"]) -> Int64[np.ndarray, " n"]:
    """Index of the first equal hash, for every hash."""
    halves = np.ascontiguousarray(hashes).view("<u8")
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: equal hashes stay in source order
    ordered = halves[order]
    new = np.ones(len(hashes), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = np.empty(len(hashes), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(new, np.arange(len(hashes)), 0))]
    return first


def _remove_unresolved(samples: _Samples, taxa: pa.Table) -> None:
    kept = samples.kept
    rows = kept[~taxa["resolved"].to_numpy()[samples.taxon[kept]]]
    samples.codes[rows] = samples.code("unresolved")
    texts = [
        f"{status}: {proposal}" if proposal else status
        for status, proposal in zip(taxa["alignment"].to_pylist(), taxa["proposal"].to_pylist())
    ]
    samples.details.append((rows, [texts[number] for number in samples.taxon[rows].tolist()]))


def _remove_leaks(samples: _Samples, job: Job) -> dict[str, int]:
    """Remove samples that show an evaluation image.

    Returns the numbers of evaluation images compared by PDQ, too plain for it (compared by their bytes only),
    and unreadable. Raises UserError if all images of an evaluation are unreadable.
    """
    from bioclip_jax.curate.dedup import MIN_QUALITY, decide_leakage

    tables = []
    for number, location in enumerate(job.settings.leakage):
        files = sorted((job.folder / "evaluation").glob(f"{number:03d}-*.parquet"))
        tables += [pq.read_table(file, schema=HASHED_SCHEMA) for file in files]
        if not any((table["pdq_quality"].to_numpy() >= 0).any() for table in tables[-len(files) :]):
            raise UserError(f"no image of the evaluation data {location} can be read; repair or omit it")
    evaluation = pa.concat_tables(tables)
    quality = evaluation["pdq_quality"].to_numpy()
    read = np.flatnonzero(quality >= 0)
    evaluation, quality = evaluation.take(pa.array(read)), quality[read]
    hashes = [np.frombuffer(value, np.uint8).reshape(-1, 32) for value in evaluation["pdq"].to_pylist()]
    kept = samples.kept
    index, distance = decide_leakage(
        samples.pdq[kept],
        samples.quality[kept],
        np.stack(hashes),
        quality,
        **_without_none(distance=job.settings.leakage_distance),
    )
    # Equal bytes are the same image, even one too plain for PDQ.
    by_content = {value: number for number, value in enumerate(evaluation["content_hash"].to_pylist())}
    for row, value in enumerate(samples.content_hash[kept]):
        if (number := by_content.get(value.tobytes())) is not None:
            index[row], distance[row] = number, 0
    leaks = np.flatnonzero(index >= 0)
    samples.codes[kept[leaks]] = samples.code("leakage")
    names = evaluation["key"].take(pa.array(index[leaks])).to_pylist()
    texts = [f"{name}, distance {bits}" for name, bits in zip(names, distance[leaks].tolist())]
    samples.details.append((kept[leaks], texts))
    plain = int((quality < MIN_QUALITY).sum())
    return {
        "compared": len(quality) - plain,
        "too_plain": plain,
        "unreadable": sum(map(len, tables)) - len(quality),
    }


def _remove_duplicates(samples: _Samples, settings: BuildSettings) -> None:
    from bioclip_jax.curate.dedup import EXACT, NEAR, OBSERVATION, decide_duplicates

    kept = samples.kept
    if settings.dedup == "near":
        hashes, quality = samples.pdq[kept], samples.quality[kept]
    else:
        hashes, quality = np.broadcast_to(np.uint8(0), (len(kept), 32)), np.full(len(kept), -1, np.int16)
    observations = None
    if settings.observation_column is not None:
        alone = ~samples.observed[kept]
        observations = np.unique(samples.observation[kept], return_inverse=True)[1]
        observations[alone] = -1
    decisions = decide_duplicates(
        _first_equal(samples.content_hash[kept]),
        hashes,
        quality,
        samples.pixels[kept],
        observations,
        **_without_none(distance=settings.dedup_distance),
    )
    for cause in (EXACT, NEAR, OBSERVATION):
        rows = np.flatnonzero(decisions.decision == cause)
        samples.codes[kept[rows]] = samples.code(cause)
        samples.replaced.append((kept[rows], kept[decisions.instead[rows]]))


def _without_none(**options: Any) -> dict[str, Any]:
    """Drop unset options, which then take the called function's defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _save(job: Job, folder: Path, samples: _Samples, order: Int64[np.ndarray, " kept"]) -> None:
    count = len(order)
    position = np.full(len(samples.codes), -1, np.int64)
    position[order] = np.arange(count)
    locations = np.empty(count, _LOCATION)
    locations["chunk"] = np.searchsorted(job.starts, order, "right") - 1
    locations["size"], locations["offset"] = samples.size[order], samples.offset[order]
    locations["taxon"] = samples.taxon[order]
    details = samples.details + [_kept_keys(job, *pair) for pair in samples.replaced]
    rows = np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in details)])
    texts = pa.chunked_array([pa.array(texts, pa.large_string()) for _, texts in details], pa.large_string())
    by_row = np.argsort(rows)
    details = pa.table({"row": rows[by_row], "detail": texts.take(pa.array(by_row))})

    np.save(folder / LOCATIONS_FILE, locations)
    np.save(folder / "position.npy", position)
    np.save(folder / "codes.npy", samples.codes)
    np.save(folder / "taxon.npy", samples.taxon)
    pq.write_table(details, folder / "details.parquet")


def _kept_keys(
    job: Job, removed: Int64[np.ndarray, " pairs"], kept: Int64[np.ndarray, " pairs"]
) -> tuple[Int64[np.ndarray, " pairs"], list[str]]:
    """Return the removed rows, reordered, and the keys of the samples kept instead of them."""
    order = np.argsort(kept, kind="stable")
    removed, kept = removed[order], kept[order]
    bounds = np.searchsorted(kept, job.starts)
    keys = []
    for chunk in np.flatnonzero(np.diff(bounds)).tolist():
        column = pq.read_table(job.prepared(chunk), columns=["key"])["key"]
        keys += column.take(pa.array(kept[slice(*bounds[chunk : chunk + 2])] - job.starts[chunk])).to_pylist()
    return removed, keys
