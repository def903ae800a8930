"""A Camtrap DP in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .fields import MISSING

if TYPE_CHECKING:
    import polars as pl

# Names in a package of `twin observe`, beside the standard's: the folder through which photographs are
# reached, the probabilities of their species, and a copy of the file of `taxa calibrate`.
MEDIA_FOLDER = "media"
PROBABILITIES_FILE = "probabilities.parquet"
RELIABILITY_FILE = "reliability.json"


@dataclass(frozen=True)
class Package:
    """A Camtrap DP: its descriptor (datapackage.json) and its three tables.

    All columns of the tables are strings, as in the files, "" for an empty cell, so that a package is written
    as it was read. folder: where its other resources and relative media paths are (a folder, or the package's
    zip archive), None for a new package without any.
    """

    descriptor: dict[str, Any]
    deployments: pl.DataFrame
    media: pl.DataFrame
    observations: pl.DataFrame
    folder: Path | None = None

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables by name."""
        return {"deployments": self.deployments, "media": self.media, "observations": self.observations}

    def without_missing(self) -> Package:
        """Return the package with empty cells for the standard's words for a missing value, such as NA."""
        import polars as pl

        empty = pl.all().replace(list(MISSING), "")
        return replace(self, **{name: table.with_columns(empty) for name, table in self.tables.items()})
