"""Read tables of Darwin Core Archives, as published by GBIF, the Catalogue of Life and World Flora Online.

An archive is a file, a folder or a zip. Its meta.xml (https://dwc.tdwg.org/text/) names the file and format
of each table; without one, tables are recognized by file name or else by their columns. Terms are those of
https://dwc.tdwg.org/terms/, with a prefix ("dwc:taxonID") or without.
"""

from __future__ import annotations

import codecs
import contextlib
import shutil
import tempfile
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import polars as pl

from bioclip_jax.errors import UserError

TAXON = ("taxon", "taxa")
VERNACULAR = ("vernacularname", "vernacularnames", "vernacular")
_SUFFIXES = (".tsv", ".txt", ".tab", ".csv", ".parquet")
# Columns that identify a table of any file name.
_COLUMNS = {TAXON: {"taxonID", "scientificName", "taxonRank"}, VERNACULAR: {"taxonID", "vernacularName"}}
_SEPARATORS = "\t;|,"
_HEADER_BYTES = 1 << 16
_DESCRIPTOR = "meta.xml"
# Larger than any real descriptor.
_MAX_DESCRIPTOR_BYTES = 1 << 20
_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\\\": "\\"}

Member = Path | PurePosixPath


@contextlib.contextmanager
def open_table(location: Path, stems: tuple[str, ...]) -> Iterator[pl.LazyFrame]:
    """Open the table at `location`, or the archive's table of these file stems: TAXON or VERNACULAR.

    All columns are text, "" if missing, named by their terms without prefix. A zipped table is unpacked to a
    temporary folder while the context is open. Raises UserError if there is no such table or it is
    unreadable.
    """
    try:
        member = find_table(location, stems)
        if member is None:
            raise _no_table(location, stems)
        layout = _described(location, stems)
        with tempfile.TemporaryDirectory(prefix="bioclip_jax-") as folder:
            # Only the suffix of a member's name becomes part of a path.
            unpacked = Path(folder) / f"table{member.suffix.lower()}"
            if zipfile.is_zipfile(location):
                with zipfile.ZipFile(location) as archive, archive.open(str(member)) as packed:
                    _copy(packed, unpacked, layout)
            elif layout and not _is_utf8(layout.encoding):
                with member.open("rb") as packed:
                    _copy(packed, unpacked, layout)
            else:
                unpacked = member
            yield _scan_described(unpacked, layout) if layout else _scan(unpacked)
    except FileNotFoundError as error:
        raise UserError(
            f"{location} does not exist; give the backbone's Taxon.tsv, its folder or its zip"
        ) from error
    except (pl.exceptions.PolarsError, zipfile.BadZipFile, OSError, LookupError, UnicodeError) as error:
        raise UserError(
            f"{location} cannot be read as a table: {' '.join(str(error).split())[:200]}"
        ) from error


def find_table(location: Path, stems: tuple[str, ...]) -> Member | None:
    """Find a table's file: `location` itself, or a member of its folder or zip; None if there is none."""
    if not location.is_dir() and not zipfile.is_zipfile(location):
        return location
    files = [path for path in _files(location) if path.suffix.lower() in _SUFFIXES]
    if layout := _described(location, stems):
        return next(path for path in _files(location) if path.name == layout.location)
    for path in files:
        if path.stem.lower() in stems:
            return path
    return next((path for path in files if _COLUMNS[stems] <= _header(location, path)), None)


def _scan(path: Path) -> pl.LazyFrame:
    """Scan TSV, CSV or Parquet lazily as a table of text."""
    if path.suffix.lower() == ".parquet":
        frame = pl.scan_parquet(path)
        frame = frame.select(pl.all().cast(pl.String).fill_null(""))
    else:
        with path.open("rb") as file:
            separator = _separator(file.readline(_HEADER_BYTES))
        frame = _scan_text(path, separator, "" if separator == "\t" else '"')
    terms: dict[str, str] = {}
    for column in frame.collect_schema().names():
        terms.setdefault(short_term(column), column)
    return frame.select(pl.col(column).alias(term) for term, column in terms.items())


def _scan_described(path: Path, layout: TableLayout) -> pl.LazyFrame:
    with path.open("rb") as file:
        first = file.readline(_HEADER_BYTES).decode("utf-8", "replace")
    if layout.header_lines and max(layout.terms.values()) >= len(first.split(layout.separator)):
        # Some files differ from their meta.xml; their header is then authoritative.
        return _scan(path)
    frame = _scan_text(path, layout.separator, layout.quote, header=False, skip_rows=layout.header_lines)
    columns = frame.collect_schema().names()
    terms = {term: columns[index] for term, index in layout.terms.items() if index < len(columns)}
    constants = (pl.lit(value).alias(term) for term, value in layout.constants.items() if term not in terms)
    return frame.select(*(pl.col(column).alias(term) for term, column in terms.items()), *constants)


def _scan_text(
    path: Path, separator: str, quote: str, header: bool = True, skip_rows: int = 0
) -> pl.LazyFrame:
    return pl.scan_csv(
        path,
        separator=separator,
        # Tab-separated values contain unescaped quotes.
        quote_char=quote or None,
        has_header=header,
        skip_rows=skip_rows,
        infer_schema=False,
        encoding="utf8-lossy",
        truncate_ragged_lines=True,
    ).fill_null("")


def _described(location: Path, stems: tuple[str, ...]) -> TableLayout | None:
    """Return the table's layout from meta.xml; None without one, or if its file is missing."""
    if not location.is_dir() and not zipfile.is_zipfile(location):
        return None
    files = _files(location)
    descriptor = next((path for path in files if path.name == _DESCRIPTOR), None)
    if descriptor is None:
        return None
    try:
        tables = read_descriptor(_read_start(location, descriptor, _MAX_DESCRIPTOR_BYTES + 1))
    except ValueError:
        return None
    layout = next((tables[stem] for stem in stems if stem in tables), None)
    return layout if layout and any(path.name == layout.location for path in files) else None


def _files(location: Path) -> list[Member]:
    if location.is_dir():
        return sorted(path for path in location.iterdir() if path.is_file())
    with zipfile.ZipFile(location) as archive:
        return [PurePosixPath(name) for name in archive.namelist() if not name.endswith("/")]


def _read_start(location: Path, member: Member, size: int) -> bytes:
    if location.is_dir():
        with Path(member).open("rb") as file:
            return file.read(size)
    with zipfile.ZipFile(location) as archive, archive.open(str(member)) as file:
        return file.read(size)


def _header(location: Path, member: Member) -> set[str]:
    """Return the terms in the first line of a text table."""
    line = _read_start(location, member, _HEADER_BYTES).partition(b"\n")[0]
    return set(map(short_term, line.decode("utf-8", "replace").split(_separator(line))))


def _separator(line: bytes) -> str:
    return max(_SEPARATORS, key=lambda separator: line.count(separator.encode()))


def _copy(packed, path: Path, layout: TableLayout | None) -> None:
    """Copy a table, re-encoded as UTF-8."""
    with path.open("wb") as file:
        if layout is None or _is_utf8(layout.encoding):
            shutil.copyfileobj(packed, file, 1 << 20)
            return
        decoder = codecs.getincrementaldecoder(layout.encoding)("replace")
        while chunk := packed.read(1 << 20):
            file.write(decoder.decode(chunk).encode())
        file.write(decoder.decode(b"", final=True).encode())


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def _no_table(location: Path, stems: tuple[str, ...]) -> UserError:
    columns = ", ".join(sorted(_COLUMNS[stems]))
    file = {TAXON: "Taxon.tsv", VERNACULAR: "VernacularName.tsv"}[stems]
    return UserError(
        f"{location} holds no {file}, nor a table with the columns {columns}; "
        "give a Darwin Core Archive or the table itself"
    )


@dataclass(frozen=True)
class TableLayout:
    """File format of one table of an archive.

    terms: column index by term, with the row's id as taxonID. constants: terms with one value in all rows.
    """

    location: str
    separator: str
    quote: str
    header_lines: int
    encoding: str
    terms: dict[str, int]
    constants: dict[str, str]


def read_descriptor(content: bytes) -> dict[str, TableLayout]:
    """Parse meta.xml into tables by lower-case row type ("taxon", "vernacularname"). Raises ValueError."""
    if len(content) > _MAX_DESCRIPTOR_BYTES or b"<!ENTITY" in content:
        raise ValueError("meta.xml does not describe an archive")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ValueError(f"meta.xml: {error}") from None
    tables = {}
    for element in root:
        if _local(element.tag) in ("core", "extension") and (layout := _table_layout(element)):
            tables.setdefault(short_term(element.get("rowType", "")).lower(), layout)
    return tables


def short_term(term: str) -> str:
    """Strip a term's prefix: "dwc:taxonID" and "http://rs.tdwg.org/dwc/terms/taxonID" become taxonID."""
    return term.strip('\ufeff \t\r"').replace("/", ":").replace("#", ":").rsplit(":", 1)[-1]


def _table_layout(element: ElementTree.Element) -> TableLayout | None:
    location = next(
        (part.text for part in element.iter() if _local(part.tag) == "location" and part.text), ""
    ).strip()
    terms, constants = {}, {}
    for field in element:
        kind, index = _local(field.tag), field.get("index", "")
        if kind in ("id", "coreid") and index.isdigit():
            terms.setdefault("taxonID", int(index))
        elif kind == "field":
            term = short_term(field.get("term", ""))
            if index.isdigit():
                terms[term] = int(index)
            elif field.get("default"):
                constants[term] = field.get("default")
    header = element.get("ignoreHeaderLines", "0")
    if not location or not terms:
        return None
    return TableLayout(
        location,
        _character(element.get("fieldsTerminatedBy", ",")) or ",",
        _character(element.get("fieldsEnclosedBy", '"')),
        int(header) if header.isdigit() else 0,
        element.get("encoding", "utf-8"),
        terms,
        constants,
    )


def _character(text: str) -> str:
    return _ESCAPES.get(text, text)[:1]


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]
