"""What is in a set of shards: counts by rank and source, the long tail, image sizes, caption coverage."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from bioclip_jax.curate.engines import open_engine
from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import PARQUET_SUFFIXES, RECORD_SUFFIXES, TAR_SUFFIX, suffix_of
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

from .abundance import (
    counts_at,
    long_tail,
    most_and_rarest,
    quantiles,
    species_abundance,
)
from .tally import Tally, count_range

CATALOGUE = "catalogue.parquet"
CONTEXT_LENGTH = 77
REPORT_SUFFIXES = (".html", ".htm")
_TOP = 20
# Samples that a process counts at a time, and from how many on a second process is worth its start.
_LONGEST_RANGE = 20_000
_FEW_SAMPLES = 4_000


def shard_stats(
    location: str | Path,
    *,
    report: Path | None = None,
    processes: int | None = None,
    seed: int = 0,
    tfds_dir: str | Path | None = None,
) -> dict[str, Any]:
    """Counts what is in tars, ArrayRecord files or whatever else open_source reads, and draws it as a page.

    Of images only the headers are read. A shard that cannot be read is left out and named. report: the HTML
    file to write. processes: None for one a core, 0 for none beside this one. seed: which images the page
    shows. tfds_dir: where TFDS keeps prepared data.

    Returns
    -------
        location, samples; report: the page's path or None. Counts by name come with the largest first.
        shards: {count, bytes (None where they are no local files), skipped: [names]}
        images: {readable, unreadable: {cause: n}, bytes, formats: {name: n}, width, height, encoded_bytes},
            the last three as {min, p5, p25, median, p75, p95, max, mean}, encoded bytes to 0.2 %
        taxa: {samples: those with a taxon, distinct: {rank: n}, known: {rank: samples}, gaps: {rank: samples
            where it is unknown though a lower one is known}, samples_with_gaps, top: {rank: [{name, lineage,
            images, common_name}]}, rarest: the same for species}
        long_tail: as abundance.long_tail
        captions: {stored: False if they are made from the labels, complete: whether every sample has all that
            is drawn from, with_common_name, samples: {type: n}, tokens: {type: as width, and cut: those over
            77 tokens}}
        sources: {name: {samples, removed}}; decisions, alignment: {name: n} from a built folder's catalogue,
        else {}
    Errors: UserError if there is nothing to read, the report's folder is missing or the catalogue is none.
    """
    if report is not None:
        report = Path(report)
        check_report(report)
        check_not_read({"--report": report}, {"an input": data_files(location)})
    source = open_source(location, bad_shards="skip", tfds_dir=tfds_dir)
    catalogue = _read_catalogue(location)
    tally = _count(source, processes, seed)
    result = _summary(str(location), source, tally, catalogue) | {"report": None}
    if report is not None:
        from bioclip_jax.curate.counting.report import write_report

        write_report(report, result, tally, source)
        result["report"] = str(report)
    return result


def check_report(report: Path) -> None:
    """UserError if a page cannot be written there."""
    if report.suffix.lower() not in REPORT_SUFFIXES:
        raise UserError(f"the report {report} is no web page; end its name in .html")
    check_output(report, "the report")


def _count(source: Source, processes: int | None, seed: int) -> Tally:
    """The counts over a whole source."""
    total = len(source)
    if processes is None:
        processes = len(os.sched_getaffinity(0)) if total > _FEW_SAMPLES else 0
    length = max(1, min(_LONGEST_RANGE, total // (4 * max(1, processes))))
    ranges = [(seed, first, min(first + length, total)) for first in range(0, total, length)]
    tally = Tally()
    with closing(open_engine("local", source, processes)) as workers:
        for counts in _with_progress(workers.map(count_range, ranges), total):
            tally.add(counts)
    return tally


def _with_progress(counts: Iterator[Tally], total: int) -> Iterator[Tally]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("counting samples", total=total)
        for tally in counts:
            yield tally
            progress.advance(task, tally.samples)


def _summary(
    location: str, source: Source, tally: Tally, catalogue: dict[str, Counter] | None
) -> dict[str, Any]:
    files = _shard_files(location)
    return {
        "location": location,
        "samples": tally.samples,
        "shards": {
            "count": len(files) - len(source.skipped_shards) if files else None,
            "bytes": sum(file.stat().st_size for file in files) if files else None,
            "skipped": list(source.skipped_shards),
        },
        "images": {
            "readable": tally.formats.total(),
            "unreadable": _most_first(tally.unreadable),
            "bytes": tally.image_bytes,
            "formats": _most_first(tally.formats),
            "width": quantiles(tally.widths),
            "height": quantiles(tally.heights),
            "encoded_bytes": quantiles(tally.sizes),
        },
        "taxa": _taxa(tally),
        "long_tail": long_tail(species_abundance(tally.taxa)),
        "captions": _captions(tally, isinstance(source, (TarSource, RecordSource))),
    } | _origins(Path(location).name or location, tally, catalogue)


def _taxa(tally: Tally) -> dict[str, Any]:
    known, gaps, with_gaps = dict.fromkeys(RANKS, 0), dict.fromkeys(RANKS, 0), 0
    for lineage, taxon in tally.taxa.items():
        lowest = max(place for place, value in enumerate(lineage) if value)
        with_gaps += taxon.images * (not all(lineage[:lowest]))
        for place, (rank, value) in enumerate(zip(RANKS, lineage)):
            if value:
                known[rank] += taxon.images
            elif place < lowest:
                gaps[rank] += taxon.images
    distinct, top, rarest = {}, {}, []
    for rank in RANKS:
        counts = counts_at(tally.taxa, rank)
        distinct[rank] = len(counts)
        top[rank], rarest = most_and_rarest(counts, tally.taxa, _TOP)
    return {
        "samples": sum(taxon.images for taxon in tally.taxa.values()),
        "distinct": distinct,
        "known": known,
        "gaps": gaps,
        "samples_with_gaps": with_gaps,
        "top": top,
        "rarest": rarest,
    }


def _captions(tally: Tally, stored: bool) -> dict[str, Any]:
    samples, tokens = {}, {}
    for name, lengths in tally.tokens.items():
        samples[name] = lengths.total()
        if lengths:
            cut = sum(count for length, count in lengths.items() if length > CONTEXT_LENGTH)
            tokens[name] = quantiles(lengths) | {"cut": cut}
    return {
        "stored": stored,
        "complete": all(samples[name] == tally.samples for name in DRAWN_TYPES),
        "with_common_name": tally.with_common_name,
        "samples": samples,
        "tokens": tokens,
    }


def _origins(name: str, tally: Tally, catalogue: dict[str, Counter] | None) -> dict[str, Any]:
    if catalogue is not None:
        kept, removed = catalogue["kept"], catalogue["removed"]
        names = sorted(kept | removed, key=lambda source: (-kept[source], source))
        sources = {source: {"samples": kept[source], "removed": removed[source]} for source in names}
        decisions = _most_first(catalogue["decision"])
        return {"sources": sources, "decisions": decisions, "alignment": _most_first(catalogue["alignment"])}
    counts = Counter(tally.sources)
    if unnamed := tally.samples - counts.total():
        counts[name if not counts else "(not named)"] += unnamed
    sources = {source: {"samples": count, "removed": 0} for source, count in _most_first(counts).items()}
    return {"sources": sources, "decisions": {}, "alignment": {}}


def _most_first(counts: Counter[str]) -> dict[str, int]:
    # Equals by name: in what order ranges of samples came in must not show.
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _shard_files(location: str) -> list[Path]:
    """The local files that open_source reads samples from, if it reads them from shards."""
    path = Path(location).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir() or find_metadata(path):
        return []
    files = list(data_files(path))
    kinds = (RECORD_SUFFIXES, (TAR_SUFFIX,), PARQUET_SUFFIXES)
    return next(
        (found for kind in kinds if (found := [file for file in files if suffix_of(file) in kind])), []
    )


def _read_catalogue(location: str | Path) -> dict[str, Counter] | None:
    """What a build has decided, of all rows by decision and alignment, of kept and removed ones by source."""
    import pyarrow
    import pyarrow.parquet

    path = Path(location).expanduser() / CATALOGUE
    if not path.is_file():
        return None
    columns = ["source", "decision", "alignment"]
    counts = {name: Counter() for name in ("kept", "removed", "decision", "alignment")}
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if missing := [name for name in columns if name not in file.schema_arrow.names]:
                raise UserError(
                    f"{path} is no catalogue of a build, it has no column {missing[0]}; move it elsewhere"
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
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} cannot be read ({reason}); build the shards again, or move it elsewhere"
        ) from None
    return counts
