"""Statistics of shards: counts by rank and source, the long tail, image sizes, caption coverage."""

import os
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from bioclip_jax.curate.executors import open_executor, progress_bar
from bioclip_jax.errors import UserError, first_line
from bioclip_jax.file_kinds import CATALOG_FILE, PARQUET_SUFFIXES, RECORD_SUFFIXES, TAR_SUFFIX, suffix_of
from bioclip_jax.files import check_not_read, check_output
from bioclip_jax.pipeline.sources import (
    RecordSource,
    Source,
    TarSource,
    data_files,
    find_metadata,
    open_source,
)
from bioclip_jax.text import DRAWN_TYPES, RANKS

from .abundance import counts_at, long_tail, most_and_rarest, quantiles, species_abundance
from .counts import SampleCounts, count_range

CONTEXT_LENGTH = 77
REPORT_SUFFIXES = (".html", ".htm")
_TOP = 20
# Maximum number of samples per task, and number up to which one process is faster.
_MAX_RANGE = 20_000
_FEW_SAMPLES = 4_000


def shard_stats(
    location: str | Path,
    *,
    report: Path | None = None,
    processes: int | None = None,
    seed: int = 0,
    tfds_dir: str | Path | None = None,
) -> dict[str, Any]:
    """Count samples of tars, ArrayRecord files or anything else that open_source reads, and write a report.

    Only headers of images are read; unreadable shards are skipped and listed. report: HTML file to write.
    processes: None for one per core, 0 to work in the calling process. seed: of the images that the report
    shows. tfds_dir: TFDS's data directory.

    Returns a dictionary, in which counts by name are in descending order:

        location, samples; report: path or None
        shards: {count, bytes (None unless they are local files), skipped: [names]}
        images: {readable, unreadable: {cause: n}, bytes, formats: {name: n}, width, height, encoded_bytes},
            the last three as {min, p5, p25, median, p75, p95, max, mean}, encoded bytes to 0.2 %
        taxa: {samples: with a taxon, distinct: {rank: n}, known: {rank: samples}, gaps: {rank: samples that
            lack it but have a lower one}, samples_with_gaps, top: {rank: [{name, lineage, images,
            common_name}]}, rarest: the same for species}
        long_tail: as abundance.long_tail
        captions: {stored: False if built from labels, complete: True if every sample has all drawn types,
            with_common_name, samples: {type: n}, tokens: {type: as width, and cut: number over 77 tokens}}
        sources: {name: {samples, removed}}; decisions, alignment: {name: n} from a build's catalog, else {}

    Raises UserError if there is nothing to read, the report cannot be written or the catalog is invalid.
    """
    if report is not None:
        report = Path(report)
        check_report(report)
        check_not_read({"--report": report}, {"an input": data_files(location)})
    source = open_source(location, bad_shards="skip", tfds_dir=tfds_dir)
    catalog = _read_catalog(location)
    counts = _count(source, processes, seed)
    result = _summary(str(location), source, counts, catalog) | {"report": None}
    if report is not None:
        from .report import write_report

        write_report(report, result, counts, source)
        result["report"] = str(report)
    return result


def check_report(report: Path) -> None:
    """Raise UserError if the report cannot be written."""
    if report.suffix.lower() not in REPORT_SUFFIXES:
        raise UserError(f"the report {report} is not named like a web page; end its name in .html")
    check_output(report, "the report")


def _count(source: Source, processes: int | None, seed: int) -> SampleCounts:
    total = len(source)
    if processes is None:
        processes = len(os.sched_getaffinity(0)) if total > _FEW_SAMPLES else 0
    length = max(1, min(_MAX_RANGE, total // (4 * max(1, processes))))
    ranges = [(seed, first, min(first + length, total)) for first in range(0, total, length)]
    counts = SampleCounts()
    with (
        closing(open_executor("local", source, processes)) as workers,
        progress_bar("counting samples", total) as advance,
    ):
        for part in workers.map(count_range, ranges):
            counts.add(part)
            advance(part.samples)
    return counts


def _summary(
    location: str, source: Source, counts: SampleCounts, catalog: dict[str, Counter] | None
) -> dict[str, Any]:
    files = _shard_files(location)
    return {
        "location": location,
        "samples": counts.samples,
        "shards": {
            "count": len(files) - len(source.skipped_shards) if files else None,
            "bytes": sum(file.stat().st_size for file in files) if files else None,
            "skipped": list(source.skipped_shards),
        },
        "images": {
            "readable": counts.formats.total(),
            "unreadable": _most_first(counts.unreadable),
            "bytes": counts.image_bytes,
            "formats": _most_first(counts.formats),
            "width": quantiles(counts.widths),
            "height": quantiles(counts.heights),
            "encoded_bytes": quantiles(counts.sizes),
        },
        "taxa": _taxa(counts),
        "long_tail": long_tail(species_abundance(counts.taxa)),
        "captions": _captions(counts, isinstance(source, (TarSource, RecordSource))),
    } | _origins(Path(location).name or location, counts, catalog)


def _taxa(counts: SampleCounts) -> dict[str, Any]:
    known, gaps, with_gaps = dict.fromkeys(RANKS, 0), dict.fromkeys(RANKS, 0), 0
    for lineage, taxon in counts.taxa.items():
        lowest = max(depth for depth, value in enumerate(lineage) if value)
        with_gaps += taxon.images * (not all(lineage[:lowest]))
        for depth, (rank, value) in enumerate(zip(RANKS, lineage)):
            if value:
                known[rank] += taxon.images
            elif depth < lowest:
                gaps[rank] += taxon.images
    distinct, top, rarest = {}, {}, []
    for rank in RANKS:
        by_taxon = counts_at(counts.taxa, rank)
        distinct[rank] = len(by_taxon)
        top[rank], rarest = most_and_rarest(by_taxon, counts.taxa, _TOP)
    return {
        "samples": sum(taxon.images for taxon in counts.taxa.values()),
        "distinct": distinct,
        "known": known,
        "gaps": gaps,
        "samples_with_gaps": with_gaps,
        "top": top,
        "rarest": rarest,
    }


def _captions(counts: SampleCounts, stored: bool) -> dict[str, Any]:
    samples, tokens = {}, {}
    for name, lengths in counts.tokens.items():
        samples[name] = lengths.total()
        if lengths:
            cut = sum(count for length, count in lengths.items() if length > CONTEXT_LENGTH)
            tokens[name] = quantiles(lengths) | {"cut": cut}
    return {
        "stored": stored,
        "complete": all(samples[name] == counts.samples for name in DRAWN_TYPES),
        "with_common_name": counts.with_common_name,
        "samples": samples,
        "tokens": tokens,
    }


def _origins(name: str, counts: SampleCounts, catalog: dict[str, Counter] | None) -> dict[str, Any]:
    if catalog is not None:
        kept, removed = catalog["kept"], catalog["removed"]
        names = sorted(kept | removed, key=lambda source: (-kept[source], source))
        sources = {source: {"samples": kept[source], "removed": removed[source]} for source in names}
        decisions = _most_first(catalog["decision"])
        return {"sources": sources, "decisions": decisions, "alignment": _most_first(catalog["alignment"])}
    named = Counter(counts.sources)
    if unnamed := counts.samples - named.total():
        named[name if not named else "(not named)"] += unnamed
    sources = {source: {"samples": count, "removed": 0} for source, count in _most_first(named).items()}
    return {"sources": sources, "decisions": {}, "alignment": {}}


def _most_first(counts: Counter[str]) -> dict[str, int]:
    # Ties by name: the result must not depend on the order in which ranges finish.
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _shard_files(location: str) -> list[Path]:
    """List the local shard files that open_source reads."""
    path = Path(location).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir() or find_metadata(path):
        return []
    files = list(data_files(path))
    kinds = (RECORD_SUFFIXES, (TAR_SUFFIX,), PARQUET_SUFFIXES)
    return next(
        (shards for kind in kinds if (shards := [file for file in files if suffix_of(file) in kind])), []
    )


def _read_catalog(location: str | Path) -> dict[str, Counter] | None:
    """Count a build catalog's rows by decision and alignment, and kept and removed ones by source."""
    import pyarrow
    import pyarrow.parquet

    path = Path(location).expanduser() / CATALOG_FILE
    if not path.is_file():
        return None
    columns = ["source", "decision", "alignment"]
    counts = {name: Counter() for name in ("kept", "removed", "decision", "alignment")}
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if missing := [name for name in columns if name not in file.schema_arrow.names]:
                raise UserError(
                    f"{path} is not a build's catalog, it has no column {missing[0]}; move it elsewhere"
                )
            for batch in file.iter_batches(columns=columns):
                groups = pyarrow.Table.from_batches([batch]).group_by(columns).aggregate([([], "count_all")])
                for row in groups.to_pylist():
                    count, decision = row["count_all"], row["decision"]
                    counts["kept" if decision == "kept" else "removed"][row["source"] or "(not named)"] += (
                        count
                    )
                    counts["decision"][decision] += count
                    if row["alignment"]:
                        counts["alignment"][row["alignment"]] += count
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(
            f"{path} cannot be read ({first_line(error)}); build the shards again, or move it elsewhere"
        ) from None
    return counts
