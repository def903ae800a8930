"""Photographs by their paths, however these are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

# Names of the column of paths in tables of photographs and labels.
PATH_NAMES = ("filepath", "filePath", "file_name")
# Path components that are compared, from the most.
_DEPTHS = (6, 5, 4, 3, 2, 1)


def match_paths(paths: pl.Series, photos: pl.DataFrame) -> pl.Series:
    """Return the row of the photograph that each path means, null for none.

    photos: with "path" (absolute, or a URL) and "filePath" (in the package). A path is one of these, or it
    ends in the same folders and name as one photograph alone: the more components agree, the better, and a
    name alone counts only if it is the only one on both sides.
    """
    import polars as pl

    names = pl.DataFrame({"name": paths.unique()}).with_columns(
        plain=pl.col("name")
        .str.strip_chars()
        .str.replace_all("\\", "/", literal=True)
        .str.replace(r"^(\./)+", "")
    )
    row = pl.int_range(pl.len(), dtype=pl.UInt32).alias("row")
    index = photos.select("path", "filePath", row)
    matched = []
    for column in ("path", "filePath"):
        exact = names.join(index.select("row", plain=column), "plain")
        matched.append(exact.select("name", "row"))
        names = names.join(exact, "name", "anti")
    for depth in _DEPTHS:
        if not names.height:
            break
        tail = rf"((?:[^/]*/){{0,{depth - 1}}}[^/]*)$"
        keys = names.select("name", key=pl.col("plain").str.extract(tail, 1)).filter(
            ~pl.col("key").is_duplicated()
        )
        ours = index.select("row", key=pl.col("path").str.extract(tail, 1)).filter(
            ~pl.col("key").is_duplicated()
        )
        found = keys.join(ours, "key").select("name", "row")
        matched.append(found)
        names = names.join(found, "name", "anti")
    rows = pl.concat(matched)
    return paths.to_frame("name").join(rows, "name", "left", maintain_order="left")["row"]
