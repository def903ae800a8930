"""Align a table file: the implementation of `shards align`."""

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
    """Align the names of a table and write the result, with OUTPUT.report.md and OUTPUT.report.csv beside it.

    table: as read_table takes it; other arguments as Backbone, align_names and alignment_report. Returns
    names and images (counts by status), rows, output, report, names_report and seconds. Raises UserError for
    a table without names or an output of unknown format.
    """
    start, source, output = time.monotonic(), Path(table), Path(output)
    if output.suffix.lower() not in (*_SEPARATORS, ".parquet"):
        raise UserError(f"{output} has no known format; name a .csv, .tsv or .parquet file")
    report, listing = (output.with_name(f"{output.stem}.report{suffix}") for suffix in (".md", ".csv"))
    read = {"the table": source, "the --backbone": _table_files(backbone), "the --vernacular": vernacular}
    check_outputs({"the output": output, "the report": report, "the list of names": listing}, read)
    with _status() as show:
        names = _read(source)
        _check_columns(names, source, count_column)
        show("reading the backbone (slower the first time)")
        taxonomy = Backbone(backbone, vernacular, language)
        show(f"aligning {names.height:,} rows")
        result = align_names(names, taxonomy, apply_fuzzy=apply_fuzzy)
        show("writing")
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
    # Columns of a text file stay text, so that foreign columns pass through unchanged.
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


def _table_files(path: str | Path) -> Iterable[Path]:
    return files_below(path) if Path(path).is_dir() else [Path(path)]


@contextlib.contextmanager
def _status() -> Iterator:
    """Show a spinner on standard error if it is a terminal; yields a function that sets its description."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("reading the table", total=None)
        yield lambda description: progress.update(task, description=description)
