"""A table of names in, a table of aligned names out: what the verb `shards align` does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from bioclip_jax.errors import UserError
from bioclip_jax.files import atomic_write, check_outputs, files_below
from bioclip_jax.tables import TAXON_COLUMNS, read_table
from bioclip_jax.text import NAME_COLUMNS, RANKS

from .align import align_names
from .backbone import Backbone
from .queries import AUTHORSHIP_COLUMNS, GIVEN
from .report import write_report

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}


def align_table(
    table: str | Path,
    output: str | Path,
    *,
    backbone: str | Path,
    vernacular: str | Path | None = None,
    language: str = "en",
    apply_fuzzy: bool = False,
    count_column: str | None = None,
) -> dict:
    """Align the names of a table, as read_table; write the table, and beside it OUTPUT.report.md and .report.csv.

    Arguments are those of Backbone, align and alignment_report. Returns {"names", "images": counts by status,
    "rows", "output", "report", "names_report", "seconds"}. UserError for a table without names, and for an
    output of another format.
    """
    start, source, output = time.monotonic(), Path(table), Path(output)
    if output.suffix.lower() not in (*_SEPARATORS, ".parquet"):
        raise UserError(f"{output} does not say its format; name a .csv, .tsv or .parquet file")
    report, listing = (output.with_name(f"{output.stem}.report{suffix}") for suffix in (".md", ".csv"))
    read = {"the table": source, "the --backbone": _files_of(backbone), "the --vernacular": vernacular}
    check_outputs({"the output": output, "the report": report, "the list of names": listing}, read)
    with _telling() as tell:
        names = _read(source)
        _check_columns(names, source, count_column)
        tell("reading the backbone (the first time takes longest)")
        taxonomy = Backbone(backbone, vernacular, language)
        tell(f"aligning {names.height:,} rows")
        result = align_names(names, taxonomy, apply_fuzzy=apply_fuzzy)
        tell("writing")
        _write(result, output)
        counts = write_report(result, report, listing, count_column)
    return {
        "rows": result.height,
        **{kind: {status: count[kind] for status, count in counts.items()} for kind in ("names", "images")},
        "output": str(output),
        "report": str(report),
        "names_report": str(listing),
        "seconds": round(time.monotonic() - start, 3),
    }


def _read(path: Path) -> pl.DataFrame:
    # Of a text every column stays text, so that what is not ours comes out as it went in.
    return pl.from_arrow(read_table(path, known=(*GIVEN, *AUTHORSHIP_COLUMNS), keep_unnamed=True))


def _check_columns(names: pl.DataFrame, source: Path, count_column: str | None) -> None:
    if not {*TAXON_COLUMNS, *NAME_COLUMNS} & set(names.columns):
        columns = ", ".join((*RANKS, "common_name", "scientific_name"))
        raise UserError(f"{source} has no column with names; name at least one of {columns}")
    if count_column is not None:
        counts = names[count_column].cast(pl.Int64, strict=False) if count_column in names.columns else None
        if counts is None or counts.null_count():
            raise UserError(
                f"{source} has no column {count_column!r} of whole numbers; name one that counts images"
            )


def _write(result: pl.DataFrame, output: Path) -> None:
    try:
        with atomic_write(output) as partial:
            if output.suffix.lower() == ".parquet":
                result.write_parquet(partial)
            else:
                result.write_csv(partial, separator=_SEPARATORS[output.suffix.lower()])
    except (pl.exceptions.ComputeError, OSError) as error:
        raise UserError(f"{output} cannot be written: {' '.join(str(error).split())[:200]}") from error


def _files_of(path: str | Path) -> Iterable[Path]:
    """The file, or those of the folder."""
    return files_below(path) if Path(path).is_dir() else [Path(path)]


@contextlib.contextmanager
def _telling() -> Iterator:
    """A function that shows what is going on, on standard error where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("reading the table", total=None)
        yield lambda description: progress.update(task, description=description)
