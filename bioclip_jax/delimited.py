"""Delimited text (CSV, TSV, semicolons) to Arrow columns; encoding, compression, separator and quoting are detected."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from bioclip_jax.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zip")
# Errors of a compressed file that is cut off, damaged or encrypted.
DAMAGED = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)
SEPARATORS = {"\t": "tab", ";": "semicolon", ",": "comma"}
# Between cells of a table of one column: a control character that no text holds.
_NONE = "\x1f"
# Few enough to stay in the processor's cache.
_BLOCK_ROWS = 4096
_SAMPLE_CHARACTERS = 1 << 18
_SAMPLE_ROWS = 100
# Fields of any length: DNA barcodes and pages of remarks are longer than the csv module's 131,072 characters.
_LONGEST_FIELD = min(sys.maxsize, 2**31 - 1)
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# Excel's hint to itself, as in "sep=;".
_HINT = re.compile(r'\ufeff?"?sep=([\t;,])"?[\r\n]*')


@dataclass(frozen=True)
class _Quoting:
    """One reading of quotation marks; `options` go to csv.reader."""

    options: dict[str, Any]
    literal: bool = False


_STANDARD = _Quoting({"strict": True})
# A blank before the quotation mark, as in `a, "b, c"`.
_SPACED = _Quoting({"strict": True, "skipinitialspace": True})
# Every line is a row. A cell between two marks loses them; any other mark is part of the text, as in GBIF's
# files.
_LITERAL = _Quoting({"quoting": csv.QUOTE_NONE}, literal=True)


@dataclass
class _Reading:
    """The result of one way of reading.

    short, long: rows with fewer and more cells than the header, by line number. trimmed: a row ended in empty
    cells that the header does not have.
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
    opened: Callable[[], BinaryIO],
    name: str,
    wanted: Callable[[list[str]], list[str | None]],
    known: Iterable[str],
    has_header: bool = True,
    quiet: bool = False,
) -> pa.Table:
    """A table of texts, "" where a cell is empty; blank lines are no rows.

    opened: opens the bytes anew, because a file may have to be read again in another way. wanted: from the
    header's cells to the columns' names, None for one to leave out. known: folded names by which a header is
    recognized.
    has_header: if not, the first line is a row too. quiet: print no notes.
    A row with fewer cells than the header is filled up, and counted on standard error. Errors: UserError for
    a file that is not text, and for a row with more cells than the header, which nobody can tell the columns
    of.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    source = _uncompressed(opened, name)
    encodings = _encodings(source, name)
    for encoding in encodings:
        try:
            table = _read_as(source, name, encoding, wanted, frozenset(known), has_header, quiet)
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
    wanted: Callable[[list[str]], list[str | None]],
    known: frozenset[str],
    has_header: bool,
    quiet: bool,
) -> pa.Table:
    def text() -> io.TextIOWrapper:
        return io.TextIOWrapper(source(), encoding, newline="")

    with text() as file:
        sample = file.read(_SAMPLE_CHARACTERS)
    separator = _separator(sample, known)
    ways = [_LITERAL, _STANDARD] if separator == "\t" else [_STANDARD, _SPACED, _LITERAL]
    readings: list[_Reading] = []
    for way in ways:
        with text() as file:
            readings.append(_read(file, separator, way, wanted, has_header))
        # Without a quotation mark every way reads the same.
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
    return _joined(reading)


def _read(
    file: Iterable[str],
    separator: str,
    way: _Quoting,
    wanted: Callable[[list[str]], list[str | None]],
    has_header: bool,
) -> _Reading:
    """The rows in one way, up to the first block that this way cannot read."""
    reading = _Reading()
    reader = csv.reader(_noting_quotes(file, reading), delimiter=separator, **way.options)
    rows: list[list[str]] = []
    start = 1
    try:
        header = next((row for row in reader if any(cell.strip() for cell in row)), [])
        if way.literal:
            header = [_unquoted(cell) for cell in header]
        header = [cell.strip("\ufeff").strip() for cell in header]
        reading.names = wanted(header)
        if header and not has_header:
            _add_block(reading, [header], header, start, False)
        while True:
            rows, start = [], reader.line_num + 1
            # Rows before an error stay in the list.
            rows.extend(islice(reader, _BLOCK_ROWS))
            if not rows or reading.long:
                break
            _add_block(reading, rows, header, start, way.literal and reading.has_quotes)
    except csv.Error as error:
        reading.broken = (start + _count_lines(rows), str(error))
    return reading


def _noting_quotes(file: Iterable[str], reading: _Reading) -> Iterator[str]:
    """The lines of a file; notes if any has a quotation mark, and blanks Excel's hint at the separator."""
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
    """Texts as Arrow's large_string, many times as fast as pa.array."""
    import pyarrow as pa

    text = "".join(cells)
    lengths = map(len, cells) if text.isascii() else (len(cell.encode()) for cell in cells)
    offsets = np.zeros(len(cells) + 1, np.int64)
    np.cumsum(np.fromiter(lengths, np.int64, len(cells)), out=offsets[1:])
    return pa.LargeStringArray.from_buffers(len(cells), pa.py_buffer(offsets), pa.py_buffer(text.encode()))


def _fitted(reading: _Reading, rows: list[list[str]], header: list[str], start: int) -> list[list[str]]:
    """The rows at the header's width, without blank lines; notes the lines of those that had another."""
    fitted = []
    width, line = len(header), start
    # A header may end with a separator that the rows do without.
    needed = max((place for place, name in enumerate(header, 1) if name), default=width)
    for row in rows:
        cells = row[:width] + [""] * (width - len(row))
        # A line of blanks is none of a table.
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
    """The text between two quotation marks, doubled ones inside it once; any other cell as it is."""
    if len(cell) < 2 or cell[0] != '"' or cell[-1] != '"':
        return cell
    inner = cell[1:-1]
    return cell if '"' in inner.replace('""', "") else inner.replace('""', '"')


def _joined(reading: _Reading) -> pa.Table:
    """The blocks as one, column by column, so that no more than a column is in memory twice."""
    import pyarrow as pa

    columns: dict[str, pa.Array] = {}
    names = [name for name in reading.names if name is not None]
    blocks = [block.columns for block in reading.blocks]
    reading.blocks.clear()
    for place, name in enumerate(names):
        chunks = [chunk for block in blocks for chunk in block[place].chunks]
        columns[name] = pa.concat_arrays(chunks) if chunks else pa.array([], pa.large_string())
        for block in blocks:
            block[place] = None
    return pa.table(columns)


def _separator(sample: str, known: frozenset[str]) -> str:
    """The separator with which the header has most known names, then rows like the header, then cells."""
    complete = len(sample) < _SAMPLE_CHARACTERS
    if hint := _HINT.match(sample):
        return hint[1]

    def fitness(separator: str) -> tuple[int, float, int]:
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=separator)
        rows = [row for row in islice(reader, _SAMPLE_ROWS) if row]
        if not complete and reader.line_num >= sample.count("\n"):
            rows = rows[:-1] or rows
        header = rows[0] if rows else []
        alike = sum(len(row) == len(header) for row in rows) / max(len(rows), 1)
        return sum(fold_name(cell) in known for cell in header), alike, len(header)

    # A separator that the header lacks does not part its cells, whatever the rows hold.
    possible = [separator for separator in SEPARATORS if (found := fitness(separator)) and found[2] > 1]
    return max(possible, key=fitness, default=_NONE)


def fold_name(name: str) -> str:
    """A column's name as it is compared: without case, blanks around it, and with _ for blanks and hyphens inside."""
    return re.sub(r"[\s-]+", "_", name.strip("\ufeff").strip().casefold())


def _malformed(name: str, separator: str, reading: _Reading) -> str:
    mark = SEPARATORS.get(separator, "separator")
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


def _uncompressed(opened: Callable[[], BinaryIO], name: str) -> Callable[[], BinaryIO]:
    """Opens what gzip, bzip2, xz or zip hold, by their first bytes, whatever the name."""
    with opened() as file:
        head = file.read(6)
    if head.startswith(b"\x1f\x8b"):
        return lambda: gzip.open(opened())
    if head.startswith(b"BZh"):
        return lambda: bz2.open(opened())
    if head.startswith(b"\xfd7zXZ\x00"):
        return lambda: lzma.open(opened())
    if head.startswith(b"PK\x03\x04"):
        return _zip_member(opened, name)
    return opened


def _zip_member(opened: Callable[[], BinaryIO], name: str) -> Callable[[], BinaryIO]:
    with zipfile.ZipFile(opened()) as archive:
        members = [m for m in archive.namelist() if not m.endswith("/") and not m.startswith("__MACOSX/")]
    if "[Content_Types].xml" in members:
        raise UserError(f"{name} is an Excel workbook; save its sheet as CSV UTF-8")
    if len(members) != 1:
        raise UserError(f"{name} holds {len(members)} files; give one table, or unpack it and name the table")
    return lambda: zipfile.ZipFile(opened()).open(members[0])


def _encodings(source: Callable[[], BinaryIO], name: str) -> list[str]:
    """The encodings to try: by the byte order mark, or UTF-8 and then Windows-1252, which is Excel's."""
    with source() as file:
        head = file.read(4096)
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return [encoding]
    if b"\x00" in head:
        # Latin letters in UTF-16 without a mark: every other byte is zero.
        zeros = [head[place::2].count(0) > len(head) / 4 for place in (0, 1)]
        if zeros != [True, False] and zeros != [False, True]:
            raise UserError(f"{name} is not a readable CSV (it is not text); save it as UTF-8 text")
        return ["utf-16-be" if zeros[0] else "utf-16-le"]
    return ["utf-8", "cp1252"]
