"""Human labels of photographs and events."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bioclip_jax.errors import UserError
from bioclip_jax.tables import read_table
from bioclip_jax.text import name_key

from .camtrap_dp import FIELDS, HUMAN_NAME, MISSING
from .matching import PATH_NAMES, match_paths

if TYPE_CHECKING:
    import polars as pl

_OPTIONAL = ("scientificName", "count", "lifeStage", "sex", "classifiedBy")
_ANIMAL, _BLANK, _HUMAN, _VEHICLE, _UNKNOWN = "animal", "blank", "human", "vehicle", "unknown"
# Names that mean no species, and the observationType that they have, in any case.
_KINDS = {
    "": _BLANK,
    "blank": _BLANK,
    "empty": _BLANK,
    "nothing": _BLANK,
    "homo sapiens": _HUMAN,
    "human": _HUMAN,
    "person": _HUMAN,
    "people": _HUMAN,
    "vehicle": _VEHICLE,
    "unknown": _UNKNOWN,
}


@dataclass(frozen=True)
class Labels:
    """Labels of a person.

    frame: "row" of a photograph or "eventID", "kind" (an observationType), "name" ("" unless an animal or
    human), "count" (null if not given), "lifeStage", "sex", "classifiedBy".
    unmatched: rows whose path matches no photograph.
    """

    frame: pl.DataFrame
    unmatched: int


def kind_of(name: pl.Expr) -> pl.Expr:
    """The observationType of a label: blank, human, vehicle, unknown, or animal for all others."""
    import polars as pl

    return name.str.strip_chars().str.to_lowercase().replace_strict(_KINDS, default=pl.lit(_ANIMAL))


def read_labels(path: str | os.PathLike[str], photos: pl.DataFrame) -> Labels:
    """Read labels: filepath or eventID, scientificName, and maybe count, lifeStage, sex and classifiedBy.

    scientificName is empty or "blank" where there is nothing. Several rows of a photograph are several
    individuals or species. photos: as match_paths.
    Raises UserError for a missing column, a value that a package cannot hold, and if no path matches.
    """
    import polars as pl

    named = (*PATH_NAMES, "eventID")
    table = pl.from_arrow(read_table(path, named, known=_OPTIONAL, only=(*named, *_OPTIONAL)))
    table = table.with_columns(
        pl.all().cast(pl.String).fill_null("").str.strip_chars().replace(list(MISSING), "")
    )
    if "scientificName" not in table.columns:
        raise UserError(
            f"{path} has no column scientificName; add it: the species, or blank where there is none"
        )
    empty = [pl.lit("").alias(name) for name in ("eventID", *_OPTIONAL) if name not in table.columns]
    table = table.with_columns(empty)
    # People write that they saw 0 animals; the standard leaves the count empty.
    nothing = (pl.col("count") == "0") & (kind_of(pl.col("scientificName")) == _BLANK)
    table = table.with_columns(count=pl.when(nothing).then(pl.lit("")).otherwise("count"))
    file = next((name for name in PATH_NAMES if name in table.columns), None)
    rows = match_paths(table[file], photos) if file else pl.Series([None] * table.height, dtype=pl.UInt32)
    # An event is named where there is no path.
    event = (
        table["eventID"]
        if file is None
        else table.select(pl.when(pl.col(file) == "").then("eventID").otherwise(pl.lit(""))).to_series()
    )
    _check(table, str(path))
    name = pl.col("scientificName")
    kind = kind_of(name)
    frame = table.select(
        row=rows,
        eventID=event,
        kind=kind,
        name=pl.when(kind == _ANIMAL)
        .then(name)
        .when(kind == _HUMAN)
        .then(pl.lit(HUMAN_NAME))
        .otherwise(pl.lit("")),
        count=pl.col("count").cast(pl.Int64, strict=False),
        lifeStage="lifeStage",
        sex="sex",
        classifiedBy="classifiedBy",
    )
    matched = frame.filter(pl.col("row").is_not_null() | (pl.col("eventID") != ""))
    if not matched.height:
        raise UserError(
            f"no row of {path} is about a photograph of the survey; its paths must end in the same folders "
            f"and names as theirs, such as {photos['path'][0]}"
        )
    return Labels(matched, frame.height - matched.height)


def one_spelling(names: pl.Series, preferred: pl.Series | None = None) -> dict[str, str]:
    """Map the names that are spelled in several ways, as name_key tells, to one of their spellings.

    That is the most frequent of `preferred`, if the name is among them, else of `names`.
    """
    import polars as pl

    pieces = [names.to_frame("name").with_columns(rank=pl.lit(1))]
    if preferred is not None:
        pieces.append(preferred.to_frame("name").with_columns(rank=pl.lit(0)))
    counts = pl.concat(pieces).group_by("name", "rank").agg(n=pl.len().cast(pl.Int64))
    keys = {name: name_key(name) for name in counts["name"].unique().to_list()}
    ranked = counts.with_columns(key=pl.col("name").replace_strict(keys, return_dtype=pl.String))
    best = ranked.sort("rank", -pl.col("n"), "name").unique("key", keep="first")
    spelling = dict(best.select("key", "name").iter_rows())
    return {name: spelling[key] for name, key in keys.items() if spelling[key] != name}


def spell_as_machine(labels: Labels, names: pl.Series) -> Labels:
    """Spell the labels' names as the machine does: people write authors and small letters, it does not."""
    import polars as pl

    spelling = one_spelling(labels.frame["name"], names)
    return replace(labels, frame=labels.frame.with_columns(pl.col("name").replace(spelling)))


def _check(table: pl.DataFrame, path: str) -> None:
    """Raise UserError for a count, lifeStage or sex that the standard does not allow."""
    import polars as pl

    number = table["count"].cast(pl.Int64, strict=False)
    bad = (table["count"] != "") & ~(number >= 1).fill_null(False)
    if bad.any():
        row = bad.arg_true()[0]
        raise UserError(
            f"{path}, row {row + 2:,}: count is {table['count'][row]!r}; write a whole number from 1"
        )
    for field in FIELDS["observations"]:
        if field.name in ("lifeStage", "sex"):
            bad = ~table[field.name].is_in(["", *field.enum])
            if bad.any():
                row = bad.arg_true()[0]
                raise UserError(
                    f"{path}, row {row + 2:,}: {field.name} is {table[field.name][row]!r}; write "
                    f"{' or '.join(field.enum)}, or nothing"
                )
