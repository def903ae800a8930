"""Ingest step of a build: read, check, hash and resize every sample once, chunk by chunk."""

import contextlib
import hashlib
import re
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bioclip_jax.curate.dedup import DECODE_SIDE, content_hash, pdq, pdq_variants
from bioclip_jax.files import atomic_write
from bioclip_jax.pipeline.images import BadImage
from bioclip_jax.pipeline.sources import Sample, Source
from bioclip_jax.text import (
    MissingCaption,
    Taxon,
    captions_from_taxon,
    complete_captions,
)

from .detectors import Detector, ImageChecks
from .labels import TAXON_COLUMNS, taxon_row
from .layout import Job, append_sample
from .resize import decode_reduced, image_size, resized_jpeg
from .settings import BuildSettings

# Images in memory at a time, and per call of a detector.
_BATCH = 32

# A longer key would need an extended tar header for the longest caption file.
_SAFE_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}").fullmatch
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_HASH_BYTES = 16

PART_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("key", "source_key", "source", *TAXON_COLUMNS)),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("bytes", pa.int64()),
        ("content_hash", pa.binary(_HASH_BYTES)),
        ("pdq", pa.binary(32)),
        ("pdq_quality", pa.int16()),
        ("decision", pa.string()),  # "" for a candidate to keep
        ("detail", pa.string()),
        # Not in the catalog.
        ("key_hash", pa.binary(_HASH_BYTES)),
        ("observation", pa.int64()),
        ("offset", pa.int64()),
        ("size", pa.int32()),
    ]
)
# An unreadable image has an empty pdq of quality -1.
HASHED_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("content_hash", pa.binary(_HASH_BYTES)),
        ("pdq", pa.binary()),
        ("pdq_quality", pa.int16()),
    ]
)


def prepare_chunk(job: Job, chunk: int) -> int:
    """Write a chunk's intermediate samples, then its table, and return the number of samples."""
    start, stop = job.starts[chunk : chunk + 2].tolist()
    rows = []
    with atomic_write(job.intermediate(chunk)) as partial, partial.open("wb") as file:
        for first in range(start, stop, _BATCH):
            rows += prepare_samples(job, range(first, min(first + _BATCH, stop)), file)
    with atomic_write(job.prepared(chunk)) as partial:
        pq.write_table(pa.Table.from_pylist(rows, PART_SCHEMA), partial, compression="zstd")
    return stop - start


def prepare_samples(job: Job, indices: Sequence[int], file: BinaryIO) -> list[dict[str, Any]]:
    """Return the samples' rows of PART_SCHEMA, and append candidates to keep to an intermediate file."""
    rows, candidates = [], []
    checks = ImageChecks(job.settings.min_side, job.settings.min_range)
    for index in indices:
        sample, cause, message = _read(job.source, index)
        row = _labels(sample, job.provider, job.settings)
        rows.append(row)
        if cause is None:
            try:
                pixels = decode_reduced(
                    sample.image, max(DECODE_SIDE, 2 * job.settings.size), job.settings.read
                )
            except BadImage as error:
                cause, message = error.cause, str(error)
        if cause is None and (failure := checks(pixels, row["width"], row["height"])):
            cause, message = failure
        if cause is None:
            candidates.append((row, sample, pixels))
        else:
            # A library's error may name an object's address, which differs between runs.
            row |= {"decision": cause, "detail": _ADDRESS.sub("", message)}
    _apply_detectors([(row, pixels) for row, _, pixels in candidates], job.detectors)
    for row, sample, pixels in candidates:
        if row["decision"]:
            continue
        if job.settings.needs_pdq:
            bits, quality = pdq(pixels)
            row |= {"pdq": bits.tobytes(), "pdq_quality": quality}
        if job.dry:
            continue
        captions = complete_captions(sample.captions or captions_from_taxon(sample.taxon))
        image = resized_jpeg(sample.image, pixels, job.settings)
        kept = Sample(row["key"], image, captions, sample.taxon, sample.metadata)
        row["offset"], row["size"] = append_sample(file, kept)
    return rows


def hash_evaluation(job: Job, part: tuple[int, int, int, int]) -> int:
    """Write PDQ hashes of evaluation images, part = (evaluation, chunk, start, stop); return their number."""
    evaluation, chunk, start, stop = part
    rows = []
    for index in range(start, stop):
        sample, cause, _ = _read(job.evaluations[evaluation], index, needs_caption=False)
        row = {"key": sample.key, "content_hash": bytes.fromhex(content_hash(sample.image)), "pdq": b""}
        row["pdq_quality"] = -1
        rows.append(row)
        if cause is not None:
            continue
        # Variants, so that mirrored and lightly cropped copies match too.
        with contextlib.suppress(BadImage):
            bits, quality = pdq_variants(decode_reduced(sample.image, DECODE_SIDE, job.settings.read))
            row |= {"pdq": bits.tobytes(), "pdq_quality": quality}
    with atomic_write(job.hashed(evaluation, chunk)) as partial:
        pq.write_table(pa.Table.from_pylist(rows, HASHED_SCHEMA), partial)
    return stop - start


def shard_key(source_key: str) -> str:
    """Return a plain key unchanged, and any other as the UUID derived from it."""
    return source_key if _SAFE_KEY(source_key) else str(uuid.uuid5(uuid.NAMESPACE_URL, source_key))


def _read(source: Source, index: int, needs_caption: bool = True) -> tuple[Sample, str | None, str]:
    """Read a sample; returns it with the cause and message if it cannot be used, else None and ""."""
    try:
        sample = source[index]
    except (OSError, ValueError) as error:
        return Sample(f"unreadable/{index}", b"", {}), "unreadable", str(error)
    if sample.metadata:
        sample = replace(
            sample,
            metadata={_clean_text(name): _clean_value(value) for name, value in sample.metadata.items()},
        )
    if not sample.image:
        return sample, "no_image", ""
    if needs_caption:
        try:
            complete_captions(sample.captions or captions_from_taxon(sample.taxon or Taxon()))
        except MissingCaption as error:
            return sample, "no_caption", str(error)
    return sample, None, ""


def _clean_value(value: str | float) -> str | float:
    """Make a metadata value encodable by msgpack: no lone surrogates, no integers over 64 bits."""
    if isinstance(value, str):
        return _clean_text(value)
    return str(value) if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64 else value


def _clean_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _labels(sample: Sample, provider: str, settings: BuildSettings) -> dict[str, Any]:
    taxon = sample.taxon or Taxon()
    key = shard_key(sample.key)
    width, height = image_size(sample.image)
    source = str(sample.metadata.get("source") or provider)
    observation = sample.metadata.get(settings.observation_column) if settings.observation_column else None
    return {
        "key": key,
        "source_key": sample.key,
        "source": source,
        **taxon_row(taxon),
        "width": width,
        "height": height,
        "bytes": len(sample.image),
        "content_hash": bytes.fromhex(content_hash(sample.image)),
        "pdq": None,
        "pdq_quality": None,
        "decision": "",
        "detail": "",
        "key_hash": _digest(key, _HASH_BYTES),
        # Providers number their observations independently.
        "observation": None if observation in (None, "") else _hash_int(f"{source}\n{observation}"),
        "offset": -1,
        "size": 0,
    }


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


def _hash_int(text: str) -> int:
    return int.from_bytes(_digest(text, 8), "little", signed=True)


def _apply_detectors(
    candidates: list[tuple[dict[str, Any], np.ndarray]], detectors: Sequence[Detector]
) -> None:
    """Mark the rows of removed images with the first detector that removes them."""
    for detector in detectors:
        remaining = [(row, pixels) for row, pixels in candidates if not row["decision"]]
        if not remaining:
            return
        scores = detector.scores([pixels for _, pixels in remaining])
        for (row, _), score, removed in zip(remaining, scores.tolist(), detector.removes(scores).tolist()):
            if removed:
                row |= {"decision": detector.cause, "detail": f"score {score:.4f}"}
