"""Backbone taxonomy: all names with their accepted names and lineages, prepared once and cached.

A Darwin Core Taxon table becomes two Parquet files in the user's cache. names.parquet has a row per name:
row, taxon_id, key (canonical name), genus and epithet (its first two words), rank, standing (0 accepted, 1
doubtful, 2 synonym, 3 ambiguous synonym, 4 misapplied), accepted (row of the accepted name), authorship,
hybrid and lineage (of the accepted name). lineages.parquet has the ranks from kingdom to genus of each
lineage.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl

from bioclip_jax.errors import UserError
from bioclip_jax.files import cache_directory

from .darwin_core import TAXON, VERNACULAR, find_table, open_table
from .prepare import prepare_names
from .vernacular import language_codes, read_common_names

# Version of the prepared tables; a new number rebuilds them.
_VERSION = 2


class Backbone:
    """A taxonomy on disk: names and lineages as described above, and common_names (row, common_name, best).

    location: a Taxon table, or the folder or zip of a Darwin Core Archive. vernacular: a VernacularName
    table, by default the archive's. language: of the common names, as ISO 639 ("en" or "eng"). Raises
    UserError if a table is missing, unreadable or lacks a column.
    """

    def __init__(self, location: str | Path, vernacular: str | Path | None = None, language: str = "en"):
        self.location = Path(location)
        self.language = language
        if not self.location.exists():
            raise UserError(
                f"{location} does not exist; give the backbone's Taxon.tsv, its folder or its zip"
            )
        if vernacular is not None and not Path(vernacular).exists():
            raise UserError(f"{vernacular} does not exist; give a VernacularName.tsv")
        self._vernacular = None if vernacular is None else Path(vernacular)
        if vernacular is None and (self.location.is_dir() or self.location.suffix.lower() == ".zip"):
            self._vernacular = self.location if find_table(self.location, VERNACULAR) is not None else None
        # Fallback without a writable cache, kept while the backbone is in use.
        self._temporary: tempfile.TemporaryDirectory | None = None
        self._folder = self._prepared(f"{_VERSION} {_identity(self.location, TAXON)}", self._prepare_names)

    @property
    def names(self) -> pl.LazyFrame:
        """All names, lazily, so that filters keep memory small."""
        return pl.scan_parquet(self._folder / "names.parquet")

    @functools.cached_property
    def lineages(self) -> pl.DataFrame:
        """Columns lineage and the ranks from kingdom to genus, "" if unknown."""
        return pl.read_parquet(self._folder / "lineages.parquet")

    @functools.cached_property
    def common_names(self) -> pl.DataFrame:
        """Columns row (of an accepted name), common_name, best (the one to use); empty without a table."""
        if self._vernacular is None:
            return pl.DataFrame(schema={"row": pl.UInt32, "common_name": pl.String, "best": pl.Boolean})
        sources = f"{_identity(self.location, TAXON)} {_identity(self._vernacular, VERNACULAR)}"
        identity = f"{_VERSION} {sources} {language_codes(self.language)}"
        return pl.read_parquet(self._prepared(identity, self._prepare_common_names) / "common_names.parquet")

    def values(self, rank: str) -> pl.Series:
        """Return the distinct values at a rank from kingdom to genus, without ""."""
        values = self.lineages[rank].unique()
        return values.filter(values != "")

    def _prepare_names(self, folder: Path) -> None:
        with open_table(self.location, TAXON) as table:
            prepare_names(table, folder, str(self.location))

    def _prepare_common_names(self, folder: Path) -> None:
        with open_table(self._vernacular, VERNACULAR) as table:
            names = read_common_names(table, self.names, self.language, str(self._vernacular))
            names.write_parquet(folder / "common_names.parquet")

    def _prepared(self, identity: str, make: Callable[[Path], None]) -> Path:
        """Return the cached folder for these sources, written by `make` if missing."""
        cache = cache_directory() / "backbone"
        folder = cache / hashlib.sha256(identity.encode()).hexdigest()[:32]
        if folder.is_dir():
            return folder
        try:
            cache.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=cache))
        except OSError:
            self._temporary = self._temporary or tempfile.TemporaryDirectory(prefix="bioclip_jax-")
            folder = Path(tempfile.mkdtemp(dir=self._temporary.name))
            make(folder)
            return folder
        try:
            make(partial)
            os.chmod(partial, 0o755)
            os.rename(partial, folder)
        except OSError as error:
            # Another process may have prepared the same tables meanwhile.
            if not folder.is_dir():
                raise UserError(
                    f"cannot cache the backbone in {cache}: {error.strerror}; free some space there"
                ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return folder


def _identity(location: Path, stems: tuple[str, ...]) -> str:
    """Identify a table's version: path, size and time of its file, or of its zip."""
    path = find_table(location, stems)
    if not isinstance(path, Path) or not path.is_file():
        path = location
    status = path.stat()
    return f"{path.absolute()} {status.st_size} {status.st_mtime_ns}"
