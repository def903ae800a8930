"""Tables of a Darwin Core Archive, as GBIF, the Catalogue of Life and World Flora Online publish them.

An archive is a file, a folder or a zip. Where it has a meta.xml, that says which file is which table and how
it is written; without one, files are known by their names or else by their columns. The terms are those of
https://dwc.tdwg.org/terms/. Publishers write them with a prefix ("dwc:taxonID") or without.
"""

from __future__ import annotations

import codecs
import contextlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import polars as pl

from bioclip_jax.errors import UserError

from .archive_descriptor import (
    MAX_BYTES,
    NAME,
    TableLayout,
    read_descriptor,
    short_term,
)

TAXON = ("taxon", "taxa")
VERNACULAR = ("vernacularname", "vernacularnames", "vernacular")
_SUFFIXES = (".tsv", ".txt", ".tab", ".csv", ".parquet")
# By which a table is known whatever its file is called.
_COLUMNS = {TAXON: {"taxonID", "scientificName", "taxonRank"}, VERNACULAR: {"taxonID", "vernacularName"}}
_SEPARATORS = "\t;|,"
_HEADER_BYTES = 1 << 16

Member = Path | PurePosixPath


@contextlib.contextmanager
def opened(location: Path, stems: tuple[str, ...]) -> Iterator[pl.LazyFrame]:
    """The table at `location`, or that of an archive: TAXON or VERNACULAR.

    Every column is text, "" where there is nothing, and is named by its term without a prefix. UserError if
    there is no such table or it cannot be read. A table in a zip is unpacked to a temporary folder meanwhile.
    """
    try:
        member = find(location, stems)
        if member is None:
            raise _no_table(location, stems)
        layout = _described(location, stems)
        with tempfile.TemporaryDirectory(prefix="bioclip_jax-") as folder:
            # A member's name is not made a path, only its suffix.
            unpacked = Path(folder) / f"table{member.suffix.lower()}"
            if zipfile.is_zipfile(location):
                with zipfile.ZipFile(location) as archive, archive.open(str(member)) as packed:
                    _copy(packed, unpacked, layout)
            elif layout and not _is_utf8(layout.encoding):
                with member.open("rb") as packed:
                    _copy(packed, unpacked, layout)
            else:
                unpacked = member
            yield _scan_described(unpacked, layout) if layout else scan(unpacked)
    except FileNotFoundError as error:
        raise UserError(
            f"there is no {location}; give the backbone's Taxon.tsv, its folder or its zip"
        ) from error
    except (pl.exceptions.PolarsError, zipfile.BadZipFile, OSError, LookupError, UnicodeError) as error:
        raise UserError(
            f"{location} cannot be read as a table: {' '.join(str(error).split())[:200]}"
        ) from error


def find(location: Path, stems: tuple[str, ...]) -> Member | None:
    """The file of the table: `location` itself if it is a file, else what its folder or zip holds; None if nothing."""
    if not location.is_dir() and not zipfile.is_zipfile(location):
        return location
    files = [path for path in _files(location) if path.suffix.lower() in _SUFFIXES]
    if layout := _described(location, stems):
        return next(path for path in _files(location) if path.name == layout.location)
    for path in files:
        if path.stem.lower() in stems:
            return path
    return next((path for path in files if _COLUMNS[stems] <= _header(location, path)), None)


def scan(path: Path) -> pl.LazyFrame:
    """A table of text from TSV, CSV or Parquet, read when it is collected."""
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
        # Some files are written otherwise than their meta.xml says; then the header tells.
        return scan(path)
    frame = _scan_text(path, layout.separator, layout.quote, header=False, skip_rows=layout.header_lines)
    columns = frame.collect_schema().names()
    terms = {term: columns[place] for term, place in layout.terms.items() if place < len(columns)}
    constants = (pl.lit(value).alias(term) for term, value in layout.constants.items() if term not in terms)
    return frame.select(*(pl.col(column).alias(term) for term, column in terms.items()), *constants)


def _scan_text(
    path: Path, separator: str, quote: str, header: bool = True, skip_rows: int = 0
) -> pl.LazyFrame:
    return pl.scan_csv(
        path,
        separator=separator,
        # Values between tabs hold quotes as they are; nobody doubled them.
        quote_char=quote or None,
        has_header=header,
        skip_rows=skip_rows,
        infer_schema=False,
        encoding="utf8-lossy",
        truncate_ragged_lines=True,
    ).fill_null("")


def _described(location: Path, stems: tuple[str, ...]) -> TableLayout | None:
    """The table's layout by the archive's meta.xml; None without one, or if it names no file that is there."""
    if not location.is_dir() and not zipfile.is_zipfile(location):
        return None
    files = _files(location)
    descriptor = next((path for path in files if path.name == NAME), None)
    if descriptor is None:
        return None
    try:
        tables = read_descriptor(_beginning(location, descriptor, MAX_BYTES + 1))
    except ValueError:
        return None
    layout = next((tables[stem] for stem in stems if stem in tables), None)
    return layout if layout and any(path.name == layout.location for path in files) else None


def _files(location: Path) -> list[Member]:
    if location.is_dir():
        return sorted(path for path in location.iterdir() if path.is_file())
    with zipfile.ZipFile(location) as archive:
        return [PurePosixPath(name) for name in archive.namelist() if not name.endswith("/")]


def _beginning(location: Path, member: Member, size: int) -> bytes:
    if location.is_dir():
        with Path(member).open("rb") as file:
            return file.read(size)
    with zipfile.ZipFile(location) as archive, archive.open(str(member)) as file:
        return file.read(size)


def _header(location: Path, member: Member) -> set[str]:
    """The terms in the first line of a text table."""
    line = _beginning(location, member, _HEADER_BYTES).partition(b"\n")[0]
    return set(map(short_term, line.decode("utf-8", "replace").split(_separator(line))))


def _separator(line: bytes) -> str:
    return max(_SEPARATORS, key=lambda separator: line.count(separator.encode()))


def _copy(packed, path: Path, layout: TableLayout | None) -> None:
    """Write a table as UTF-8."""
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
