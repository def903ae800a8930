"""Tables of a Darwin Core Archive, as GBIF and the Catalogue of Life publish them: a file, a folder or a zip.

The terms are those of https://dwc.tdwg.org/terms/. Publishers write them with a prefix ("dwc:taxonID") or without.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import polars as pl

from bioclip_jax.errors import UserError

TAXON = ("taxon", "taxa")
VERNACULAR = ("vernacularname", "vernacularnames", "vernacular")
_SUFFIXES = (".tsv", ".txt", ".tab", ".csv", ".parquet")


@contextlib.contextmanager
def opened(location: Path, stems: tuple[str, ...]) -> Iterator[pl.LazyFrame]:
    """The table at `location`, or the one that is named as one of `stems` in the folder or zip there.

    Every column is text, "" where there is nothing, and is named by its term without a prefix. UserError if there is
    no such table or it cannot be read. A table in a zip is unpacked to a temporary folder meanwhile.
    """
    try:
        if not zipfile.is_zipfile(location):
            path = find(location, stems)
            if path is None:
                raise _no_table(location, stems)
            yield scan(path)
            return
        member = find(location, stems)
        if member is None:
            raise _no_table(location, stems)
        with tempfile.TemporaryDirectory(prefix="bioclip_jax-") as folder:
            # The member's name is not made a path, only its suffix.
            unpacked = Path(folder) / f"table{member.suffix.lower()}"
            with zipfile.ZipFile(location) as archive, unpacked.open("wb") as file:
                with archive.open(str(member)) as packed:
                    shutil.copyfileobj(packed, file, 1 << 20)
            yield scan(unpacked)
    except FileNotFoundError as error:
        raise UserError(f"there is no {location}; give the backbone's Taxon.tsv, its folder or its zip") from error
    except (pl.exceptions.ComputeError, pl.exceptions.NoDataError, zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{location} cannot be read as a table: {' '.join(str(error).split())[:200]}") from error


def find(location: Path, stems: tuple[str, ...]) -> Path | PurePosixPath | None:
    """The file of the table: `location` itself if it is a file, else what its folder or zip holds; None if nothing."""
    if zipfile.is_zipfile(location):
        with zipfile.ZipFile(location) as archive:
            files = [PurePosixPath(name) for name in archive.namelist()]
    elif location.is_dir():
        files = sorted(location.iterdir())
    else:
        return location
    for path in files:
        if path.suffix.lower() in _SUFFIXES and path.stem.lower() in stems:
            return path
    return None


def scan(path: Path) -> pl.LazyFrame:
    """A table of text from TSV, CSV or Parquet, read when it is collected."""
    if path.suffix.lower() == ".parquet":
        frame = pl.scan_parquet(path)
        frame = frame.select(pl.all().cast(pl.String).fill_null(""))
    else:
        with path.open("rb") as file:
            tabs = b"\t" in file.readline()
        frame = pl.scan_csv(
            path,
            separator="\t" if tabs else ",",
            # Values between tabs hold quotes as they are; nobody doubled them.
            quote_char=None if tabs else '"',
            infer_schema=False,
            encoding="utf8-lossy",
            truncate_ragged_lines=True,
        ).fill_null("")
    terms: dict[str, str] = {}
    for column in frame.collect_schema().names():
        terms.setdefault(_term(column), column)
    return frame.select(pl.col(column).alias(term) for term, column in terms.items())


def _term(column: str) -> str:
    """ "dwc:taxonID" or "http://rs.tdwg.org/dwc/terms/taxonID" as taxonID."""
    return column.strip("\ufeff \t\r\"").replace("/", ":").replace("#", ":").rsplit(":", 1)[-1]


def _no_table(location: Path, stems: tuple[str, ...]) -> UserError:
    return UserError(f"{location} holds no {stems[0].capitalize()}.tsv; give a Darwin Core Archive or the table itself")
