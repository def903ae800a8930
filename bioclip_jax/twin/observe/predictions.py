"""Species probabilities of photographs, from the tables that `predict` writes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_jax.errors import UserError, first_line
from bioclip_jax.file_kinds import PARQUET_SUFFIXES
from bioclip_jax.tables import PATH_COLUMNS, read_table
from bioclip_jax.text import RANKS

from .matching import match_paths

if TYPE_CHECKING:
    import polars as pl

# Columns of names, the most specific first; "classification" is that of a user's own labels.
_NAMES = ("species", *reversed(RANKS[:-1]), "classification")
# Less is no evidence of a species.
LEAST_PROBABILITY = 1e-4


@dataclass(frozen=True)
class Predictions:
    """Probabilities of photographs.

    frame: "row" of a photograph, "name", "probability"; a species once per photograph, in any order.
    taxa: higher ranks of each name, for the descriptor. unmatched: rows that match no photograph.
    """

    frame: pl.DataFrame
    taxa: dict[str, dict[str, str]]
    unmatched: int


def read_predictions(path: str | os.PathLike[str], photos: pl.DataFrame) -> Predictions:
    """Read a table of `predict`, of one or more rows per photograph, and match it with photographs.

    photos: as match_paths. Its columns are file_name (or filepath), score, and species or higher ranks (the
    lowest that is given counts), or classification. Several rows of one species add up.
    Raises UserError for a table without these, a score that is no probability, and if no path matches.
    """
    import polars as pl

    frame, taxa = _read(path)
    if not frame.height:
        raise UserError(f"{path} has no score of at least {LEAST_PROBABILITY:g}; give other predictions")
    names = [name for name in _NAMES if name in frame.columns]
    file = next(name for name in PATH_COLUMNS if name in frame.columns)
    frame = frame.select(
        row=match_paths(frame[file].fill_null(""), photos),
        name=_name(names),
        probability="score",
    )
    unmatched = int(frame["row"].null_count())
    frame = frame.drop_nulls("row")
    if not frame.height:
        raise UserError(
            f"no row of {path} is about a photograph of the survey; its paths must end in the same folders "
            f"and names as theirs, such as {photos['path'][0]}"
        )
    if frame.select("row", "name").is_duplicated().any():
        frame = frame.group_by("row", "name").agg(pl.col("probability").sum())
    return Predictions(frame.with_columns(pl.col("probability").clip(0, 1)), taxa, unmatched)


def _name(columns: Sequence[str]) -> pl.Expr:
    """The most specific name of a row, "" without one."""
    import polars as pl

    return pl.coalesce(pl.col(name).str.strip_chars().replace("", None) for name in columns).fill_null("")


def _read(path: str | os.PathLike[str]) -> tuple[pl.DataFrame, dict[str, dict[str, str]]]:
    """Read the columns of paths, names and score, without rows of negligible probability, and the taxa."""
    import polars as pl

    known = (*PATH_COLUMNS, "score", *_NAMES)
    if str(path).lower().endswith(PARQUET_SUFFIXES) and Path(path).is_file():
        # Tables of many species per photograph are larger than memory before they are filtered.
        try:
            rows = pl.scan_parquet(path)
            rows = rows.select(name for name in rows.collect_schema().names() if name in known)
            columns = rows.collect_schema().names()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UserError(
                f"{path} is not a readable Parquet file ({first_line(error)}); write it again"
            ) from None
    elif str(path).lower().endswith(".json") and Path(path).is_file():
        rows, columns = _read_json(path, known)
    else:
        table = read_table(path, PATH_COLUMNS, known=known, only=known)
        rows, columns = pl.from_arrow(table).lazy(), table.column_names
    if "score" not in columns or not set(columns) & set(_NAMES) or not set(columns) & set(PATH_COLUMNS):
        raise UserError(
            f"{path} lacks the columns file_name, score and species (or classification); give a table that "
            "`bioclip-jax predict` wrote"
        )
    rows = rows.with_columns(
        pl.col([name for name in columns if name != "score"]).cast(pl.String),
        pl.col("score").cast(pl.Float64, strict=False),
    )
    bad = ~pl.col("score").is_between(0, 1 + 1e-6).fill_null(False)
    wrong = rows.with_row_index("number").filter(bad).select("number").head(1).collect()
    if wrong.height:
        raise UserError(
            f"{path}, row {wrong.item() + 2:,}: the score is not a probability between 0 and 1; correct it"
        )
    rows = rows.filter(pl.col("score") >= LEAST_PROBABILITY)
    names = [name for name in _NAMES if name in columns]
    ranks = [name for name in RANKS[:-1] if name in columns]
    taxa = rows.select(_name(names).alias("name"), *ranks).unique("name").collect() if ranks else None
    return rows.collect(), _taxa(taxa)


def _read_json(path: str | os.PathLike[str], known: Sequence[str]) -> tuple[pl.LazyFrame, list[str]]:
    """Read the list of rows that `predict --output x.json` writes."""
    import polars as pl

    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
        columns = [name for name in known if any(name in row for row in rows)]
        frame = pl.DataFrame({name: [row.get(name) for row in rows] for name in columns}, strict=False)
    except (ValueError, RecursionError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not a list of predictions in JSON ({first_line(error)}); give a table that "
            "`bioclip-jax predict` wrote"
        ) from None
    return frame.lazy(), columns


def _taxa(rows: pl.DataFrame | None) -> dict[str, dict[str, str]]:
    """Higher ranks by name."""
    taxa = {}
    for row in rows.iter_rows(named=True) if rows is not None else ():
        name = row.pop("name")
        taxa[name] = {rank: text for rank, text in row.items() if text and text != name}
    return taxa
