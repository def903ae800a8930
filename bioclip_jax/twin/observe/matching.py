"""Photographs by their paths, however these are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioclip_jax import path_matching

if TYPE_CHECKING:
    import polars as pl

# Names of the column of paths in tables of photographs and labels.
PATH_NAMES = ("filepath", "filePath", "file_name")


def match_paths(paths: pl.Series, photos: pl.DataFrame) -> pl.Series:
    """Return the row of the photograph that each path means, null for none or several.

    photos: with "path" (absolute, or a URL) and "filePath" (in the package). A path is one of these, or ends
    as one photograph alone, by the rules of path_matching.
    """
    import polars as pl

    files = (photos["path"].to_list(), photos["filePath"].to_list())
    rows = pl.Series("row", path_matching.match_paths(paths.fill_null("").to_list(), *files))
    return rows.to_frame().select(pl.when(pl.col("row") >= 0).then("row").cast(pl.UInt32))["row"]
