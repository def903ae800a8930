"""Write result rows as CSV, a table, JSON or Parquet."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import IMAGE_SUFFIXES
from bioclip_jax.files import atomic_write, is_stream, json_text

if TYPE_CHECKING:
    import pyarrow as pa

    from .inputs import ImageFile

Row = Mapping[str, Any]
# An image and its rows, best first.
Prediction = tuple["ImageFile", Sequence[Row]]

FORMATS = ("csv", "table", "json", "parquet")
_SUFFIXES = {".json": "json", ".parquet": "parquet", ".pq": "parquet"}
# pybioclip writes CSV under any name; a program for one of these formats would call such a file damaged.
_OTHER_FORMATS = frozenset(
    (
        ".xlsx .xls .xlsm .ods .numbers .feather .arrow .orc .avro .html .htm .xml .pdf .npy .npz .db "
        ".sqlite .rds .rdata .dta .sav .jsonl .yaml .yml .safetensors .zip .bz2 .xz .zst .7z"
    ).split()
) | frozenset(IMAGE_SUFFIXES)
_WRITTEN = ".csv, .tsv, .json (each also with .gz) or .parquet"
# Columns of numbers that may be empty in all of the first rows.
NUMBERS = frozenset(
    (
        "score familiarity latitude longitude altitude detection_confidence box_x box_y box_width box_height"
    ).split()
)
# Rows of a table on a terminal; a file holds all.
MOST_TABLE_ROWS = 1_000
# Rows of a Parquet row group, which waits in memory.
_GROUP_ROWS = 65_536


def check_format(format: str | None, output: Path | None) -> str:
    """Return the format to write: the given one, else JSON or Parquet by the output's suffix, else CSV.

    Raises UserError for an unknown format, an output named as another format, and Parquet without a file.
    """
    plain = output.with_suffix("") if output is not None and output.suffix.lower() == ".gz" else output
    if plain is not None and plain.suffix.lower() in _OTHER_FORMATS and not is_stream(output):
        raise UserError(
            f"the output {output} is named as a format that cannot be written; end it in {_WRITTEN}"
        )
    if format is None:
        format = _SUFFIXES.get(plain.suffix.lower(), "csv") if plain is not None else "csv"
    if format not in FORMATS:
        raise UserError(f"the format {format!r} does not exist; choose from {', '.join(FORMATS)}")
    if format == "parquet" and output is None:
        raise UserError("Parquet is not text for the terminal; name a file to write with --output")
    if format == "parquet" and plain != output:
        raise UserError(f"Parquet is compressed already; leave .gz out of the output {output}")
    return format


def with_index(
    predictions: Iterable[Prediction], images: Sequence[ImageFile]
) -> Iterator[tuple[int, Prediction]]:
    """Yield each prediction with the index of its photograph; predictions are in the order of `images`."""
    index = 0
    for image, rows in predictions:
        # A crop has the very name object of its photograph, also where a photograph is listed twice.
        while images[index].name is not image.name:
            index += 1
        yield index, (image, rows)


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file to write, compressed if its name ends in .gz; equal content gives equal bytes."""
    # Linux allows file names that are not valid UTF-8; they are written as their bytes.
    encoding = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
    if path.suffix.lower() != ".gz":
        with open(path, "w", **encoding) as file:
            yield file
        return
    with open(path, "wb") as whole, gzip.GzipFile("", "wb", 6, whole, mtime=0) as packed:
        with io.TextIOWrapper(packed, **encoding) as file:
            yield file


def write_rows(rows: Iterable[Row], format: str, output: Path | None = None) -> int:
    """Write rows of the same columns to `output`, or to standard output; return their number.

    CSV, JSON (a list of objects) and Parquet are streamed in constant memory. A table is collected first,
    since its columns are as wide as their widest cells; a terminal shows the first MOST_TABLE_ROWS and the
    number of others. Nothing is written without a row.
    """
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return 0
    rows = itertools.chain([first], rows)
    if output is None:
        return _write_text(rows, list(first), format, sys.stdout)
    with atomic_write(output) as path:
        if format == "parquet":
            return _write_parquet(rows, path)
        with open_text(path) as file:
            return _write_text(rows, list(first), format, file, separator(output))


def write_empty(columns: Sequence[str], format: str, output: Path, types: Mapping[str, str]) -> None:
    """Write a table of these columns without rows. types: of the columns of numbers, by pyarrow's names."""
    with atomic_write(output) as path:
        if format == "parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            fields = [(name, pa.type_for_alias(types.get(name, "string"))) for name in columns]
            pq.write_table(pa.schema(fields).empty_table(), path)
        else:
            text = {"json": "[]", "csv": separator(output).join(columns)}.get(format, "  ".join(columns))
            with open_text(path) as file:
                file.write(f"{text}\n")


def is_delimited(output: Path) -> bool:
    """Return True for the name of a file that can be CSV or TSV."""
    plain = output.with_suffix("") if output.suffix.lower() == ".gz" else output
    return is_stream(output) or plain.suffix.lower() not in _OTHER_FORMATS | set(_SUFFIXES)


def separator(output: Path) -> str:
    """Return the column separator of a delimited text file by its name."""
    plain = output.with_suffix("") if output.suffix.lower() == ".gz" else output
    return "\t" if plain.suffix.lower() in (".tsv", ".tab") else ","


def _write_text(
    rows: Iterable[Row], columns: list[str], format: str, file: TextIO, separator: str = ","
) -> int:
    if format == "csv":
        writer = csv.DictWriter(file, columns, lineterminator="\n", delimiter=separator)
        writer.writeheader()
        count = 0
        for row in rows:
            writer.writerow(row)
            count += 1
        return count
    return _write_json(rows, file) if format == "json" else _write_table(rows, columns, file)


def _write_json(rows: Iterable[Row], file: TextIO) -> int:
    """Write json.dump(list(rows), file, indent=2), one row at a time."""
    count = 0
    for count, row in enumerate(rows, 1):
        # With indent=2, json does not use its C encoder and is many times slower; separators break lines too.
        pairs = json_text(row, separators=(",\n    ", ": "))[1:-1]
        file.write(("[\n  " if count == 1 else ",\n  ") + (f"{{\n    {pairs}\n  }}" if row else "{}"))
    file.write("\n]\n")
    return count


def _write_table(rows: Iterable[Row], columns: list[str], file: TextIO) -> int:
    if file.isatty():
        return _show_table(iter(rows), columns, file)
    from rich.cells import cell_len

    first, *rest = rows
    right = [isinstance(first[name], float) for name in columns]
    lines = [columns, *([_cell(row[name]) for name in columns] for row in (first, *rest))]
    widths = [max(map(cell_len, cells)) for cells in zip(*lines)]
    for line in lines:
        blanks = (" " * (width - cell_len(cell)) for cell, width in zip(line, widths))
        cells = (blank + cell if end else cell + blank for cell, blank, end in zip(line, blanks, right))
        file.write(" │ ".join(cells).rstrip() + "\n")
        if line is columns:
            file.write("─┼─".join("─" * width for width in widths) + "\n")
    return len(lines) - 1


def _show_table(rows: Iterator[Row], columns: list[str], file: TextIO) -> int:
    """Print the first rows, folded into the terminal's width."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = list(itertools.islice(rows, MOST_TABLE_ROWS))
    table = Table(show_edge=False)
    for name in columns:
        table.add_column(
            name, justify="right" if isinstance(shown[0][name], float) else "left", overflow="fold"
        )
    for row in shown:
        # Text, because rich would take brackets in a file name for markup.
        table.add_row(*(Text(_cell(row[name])) for name in columns))
    Console(file=file).print(table)
    more = sum(1 for _ in rows)
    if more:
        file.write(f"and {more:,} more rows; give --output to write all of them\n")
    return len(shown) + more


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)


def _write_parquet(rows: Iterator[Row], path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    count, writer = 0, None
    try:
        while group := list(itertools.islice(rows, _GROUP_ROWS)):
            table = pa.Table.from_pylist([_unicode(row) for row in group], schema=writer and writer.schema)
            if writer is None:
                table = table.cast(_without_null_types(table.schema))
                writer = pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
            count += len(group)
    finally:
        if writer is not None:
            writer.close()
    return count


def _without_null_types(schema: pa.Schema) -> pa.Schema:
    """Return the schema with a type for each column that the first rows leave empty."""
    import pyarrow as pa

    kinds = {field.name: pa.float64() if field.name in NUMBERS else pa.string() for field in schema}
    fields = (
        field.with_type(kinds[field.name]) if pa.types.is_null(field.type) else field for field in schema
    )
    return pa.schema(fields)


def _unicode(row: Row) -> Row:
    """Return the row with plain_text values."""
    if all(not isinstance(value, str) or value.isascii() for value in row.values()):
        return row
    return {key: plain_text(value) if isinstance(value, str) else value for key, value in row.items()}


def plain_text(text: str) -> str:
    """Return the text with a question mark for each byte of a file name that is not valid Unicode."""
    return text.encode("utf-8", "replace").decode()
