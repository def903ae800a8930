"""Delimited text to Arrow columns, with encoding, compression, separator and quoting detected."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from bioclip_jax.errors import UserError

from .encoding import possible_encodings, uncompressed

if TYPE_CHECKING:
    import pyarrow as pa

# From the header's cells to the columns' names, None for a column to skip.
ChooseColumns = Callable[[list[str]], list[str | None]]

_SEPARATORS = {"\t": "tab", ";": "semicolon", ",": "comma"}
# Separator of one-column tables: a control character that does not occur in text.
_NONE = "\x1f"
# Small enough for the processor's cache.
_BLOCK_ROWS = 4096
_SAMPLE_CHARACTERS = 1 << 18
_SAMPLE_ROWS = 100
# DNA barcodes and long remarks exceed the csv module's limit of 131,072 characters.
_LONGEST_FIELD = min(sys.maxsize, 2**31 - 1)
# Excel's separator hint, as in "sep=;".
_HINT = re.compile(r'\ufeff?"?sep=([\t;,])"?[\r\n]*')


@dataclass(frozen=True)
class _Quoting:
    """A quoting convention; `options` are csv.reader's."""

    options: dict[str, Any]
    literal: bool = False


_STANDARD = _Quoting({"strict": True})
# Allows a blank before the quotation mark, as in `a, "b, c"`.
_SPACED = _Quoting({"strict": True, "skipinitialspace": True})
# Every line is a row. A fully quoted cell is unquoted; any other quotation mark is text, as in GBIF's files.
_LITERAL = _Quoting({"quoting": csv.QUOTE_NONE}, literal=True)


@dataclass
class _Reading:
    """The result of reading with one quoting convention.

    short, long: line numbers (and widths) of rows with fewer and more cells than the header. trimmed: a row
    had extra empty cells at its end. broken: line number and error of a row that cannot be parsed.
    """

    names: list[str] = field(default_factory=list)
    blocks: list[pa.Table] = field(default_factory=list)
    short: list[int] = field(default_factory=list)
    long: list[tuple[int, int]] = field(default_factory=list)
    trimmed: bool = False
    broken: tuple[int, str] | None = None
    has_quotes: bool = False

    @property
    def is_usable(self) -> bool:
        return not self.long and self.broken is None

    @property
    def is_clean(self) -> bool:
        return self.is_usable and not self.short and not self.trimmed


def read_delimited(
    open_content: Callable[[], BinaryIO],
    name: str,
    choose_columns: ChooseColumns,
    known: Iterable[str],
    has_header: bool = True,
    quiet: bool = False,
) -> pa.Table:
    """Read a table of strings, with "" for empty cells and without blank lines.

    open_content: opens the bytes from the start, maybe several times. choose_columns: maps the header's cells
    to column names, None for a column to skip. known: folded names that identify a header. has_header: if
    False, the first line is a row too. quiet: print no notes.

    Rows with fewer cells than the header are filled and counted on stderr. Raises UserError for a file that
    is not text, and for a row with more cells than the header.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    source = uncompressed(open_content, name)
    encodings = possible_encodings(source, name)
    for encoding in encodings:
        try:
            table = _read_as(source, name, encoding, choose_columns, frozenset(known), has_header, quiet)
        except UnicodeError:
            continue
        if encoding != encodings[0] and not quiet:
            print(f"note: {name} is not UTF-8; read as Windows-1252 (Western European)", file=sys.stderr)
        return table
    raise UserError(
        f"{name} is not a readable CSV (its text is neither UTF-8 nor UTF-16); save it as UTF-8 text"
    )


def _read_as(
    source: Callable[[], BinaryIO],
    name: str,
    encoding: str,
    choose_columns: ChooseColumns,
    known: frozenset[str],
    has_header: bool,
    quiet: bool,
) -> pa.Table:
    def text() -> io.TextIOWrapper:
        return io.TextIOWrapper(source(), encoding, newline="")

    with text() as file:
        sample = file.read(_SAMPLE_CHARACTERS)
    separator = _separator(sample, known)
    conventions = [_LITERAL, _STANDARD] if separator == "\t" else [_STANDARD, _SPACED, _LITERAL]
    readings: list[_Reading] = []
    for quoting in conventions:
        with text() as file:
            readings.append(_read(file, separator, quoting, choose_columns, has_header))
        # Without a quotation mark all conventions read the same.
        if readings[-1].is_clean or not readings[-1].has_quotes:
            break
    reading = next((r for r in readings if r.is_clean), None) or next(
        (r for r in readings if r.is_usable), readings[0]
    )
    if not reading.is_usable:
        raise UserError(_malformed(name, separator, reading))
    if reading.short and not quiet:
        rows = "1 row has" if len(reading.short) == 1 else f"{len(reading.short):,} rows have"
        print(
            f"note: {name}: {rows} fewer cells than the header (first in line {reading.short[0]}); "
            "read as empty at the end",
            file=sys.stderr,
        )
    return _concatenated(reading)


def _read(
    file: Iterable[str],
    separator: str,
    quoting: _Quoting,
    choose_columns: ChooseColumns,
    has_header: bool,
) -> _Reading:
    """Read the rows with one quoting convention, up to the first block that it cannot read."""
    reading = _Reading()
    reader = csv.reader(_record_quotes(file, reading), delimiter=separator, **quoting.options)
    rows: list[list[str]] = []
    start = 1
    try:
        header = next((row for row in reader if any(cell.strip() for cell in row)), [])
        if quoting.literal:
            header = [_unquoted(cell) for cell in header]
        header = [cell.strip("\ufeff").strip() for cell in header]
        reading.names = choose_columns(header)
        if header and not has_header:
            _add_block(reading, [header], header, start, False)
        while True:
            rows, start = [], reader.line_num + 1
            # Extending keeps the rows before an error, for its line number.
            rows.extend(islice(reader, _BLOCK_ROWS))
            if not rows or reading.long:
                break
            _add_block(reading, rows, header, start, quoting.literal and reading.has_quotes)
    except csv.Error as error:
        reading.broken = (start + _count_lines(rows), str(error))
    return reading


def _record_quotes(file: Iterable[str], reading: _Reading) -> Iterator[str]:
    """Yield a file's lines, recording if one has a quotation mark, and blank Excel's separator hint."""
    for number, line in enumerate(file):
        if '"' in line:
            reading.has_quotes = True
        yield "\n" if number == 0 and _HINT.fullmatch(line) else line


def _add_block(
    reading: _Reading, rows: list[list[str]], header: list[str], start: int, unquote: bool
) -> None:
    import pyarrow as pa

    if set(map(len, rows)) != {len(header)}:
        rows = _fitted(reading, rows, header, start)
    columns = zip(*rows) if rows else [()] * len(header)
    if unquote:
        columns = ([_unquoted(cell) for cell in cells] for cells in columns)
    chosen = {name: _text_array(cells) for name, cells in zip(reading.names, columns) if name is not None}
    reading.blocks.append(pa.table(chosen))


def _text_array(cells: Sequence[str]) -> pa.Array:
    """Convert strings to Arrow's large_string, many times faster than pa.array."""
    import pyarrow as pa

    text = "".join(cells)
    lengths = map(len, cells) if text.isascii() else (len(cell.encode()) for cell in cells)
    offsets = np.zeros(len(cells) + 1, np.int64)
    np.cumsum(np.fromiter(lengths, np.int64, len(cells)), out=offsets[1:])
    return pa.LargeStringArray.from_buffers(len(cells), pa.py_buffer(offsets), pa.py_buffer(text.encode()))


def _fitted(reading: _Reading, rows: list[list[str]], header: list[str], start: int) -> list[list[str]]:
    """Pad or cut rows to the header's width, drop blank lines, and record rows of another width."""
    fitted = []
    width, line = len(header), start
    # A header may end with a separator that the rows lack.
    needed = max((count for count, name in enumerate(header, 1) if name), default=width)
    for row in rows:
        cells = row[:width] + [""] * (width - len(row))
        # A line of blanks is not a row.
        if row and (len(row) > 1 or width == 1 or row[0].strip()):
            fitted.append(cells)
            if len(row) < needed:
                reading.short.append(line)
            elif any(cell.strip() for cell in row[width:]):
                reading.long.append((line, len(row)))
            elif len(row) > width:
                reading.trimmed = True
        line += _count_lines([row])
    return fitted


def _count_lines(rows: Iterable[Sequence[str]]) -> int:
    return sum(1 + sum(cell.count("\n") for cell in row) for row in rows)


def _unquoted(cell: str) -> str:
    """Unquote a cell between two quotation marks and its doubled ones inside; return any other cell as is."""
    if len(cell) < 2 or cell[0] != '"' or cell[-1] != '"':
        return cell
    inner = cell[1:-1]
    return cell if '"' in inner.replace('""', "") else inner.replace('""', '"')


def _concatenated(reading: _Reading) -> pa.Table:
    """Concatenate the blocks column by column, so that only one column is in memory twice."""
    import pyarrow as pa

    columns: dict[str, pa.Array] = {}
    names = [name for name in reading.names if name is not None]
    blocks = [block.columns for block in reading.blocks]
    reading.blocks.clear()
    for index, name in enumerate(names):
        chunks = [chunk for block in blocks for chunk in block[index].chunks]
        columns[name] = pa.concat_arrays(chunks) if chunks else pa.array([], pa.large_string())
        for block in blocks:
            block[index] = None
    return pa.table(columns)


def _separator(sample: str, known: frozenset[str]) -> str:
    """Choose the separator by known names in the header, then by equally wide rows, then by columns."""
    complete = len(sample) < _SAMPLE_CHARACTERS
    if hint := _HINT.match(sample):
        return hint[1]

    def fitness(separator: str) -> tuple[int, float, int]:
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=separator)
        rows = [row for row in islice(reader, _SAMPLE_ROWS) if row]
        if not complete and reader.line_num >= sample.count("\n"):
            rows = rows[:-1] or rows
        header = rows[0] if rows else []
        equal_width = sum(len(row) == len(header) for row in rows) / max(len(rows), 1)
        return sum(fold_name(cell) in known for cell in header), equal_width, len(header)

    # A separator must occur in the header.
    candidates = [separator for separator in _SEPARATORS if fitness(separator)[2] > 1]
    return max(candidates, key=fitness, default=_NONE)


def fold_name(name: str) -> str:
    """Normalize a column name for comparison: case-folded, stripped, _ for inner blanks and hyphens."""
    return re.sub(r"[\s-]+", "_", name.strip("\ufeff").strip().casefold())


def _malformed(name: str, separator: str, reading: _Reading) -> str:
    mark = _SEPARATORS.get(separator, "separator")
    if reading.broken is not None:
        line, problem = reading.broken
        return (
            f"{name} is not a readable CSV (a quotation mark in the row of line {line:,}: {problem}); "
            f'close it, or write "" for a quotation mark inside quotes'
        )
    line, cells = reading.long[0]
    return (
        f"{name}, line {line:,}: {cells} cells under a header of {len(reading.names)}; "
        f"put a cell that holds a {mark} between quotation marks"
    )
