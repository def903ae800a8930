"""Prepare a backbone: turn a Darwin Core Taxon table into Parquet files of names and lineages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int8, Int32

from bioclip_jax.errors import UserError
from bioclip_jax.text import MISSING_PATTERN, RANKS, fold, parse_name

_HIGHER = RANKS[:-1]
_NEEDED = ("taxonID", "scientificName", "taxonRank")
# Ranks between genus and species are excluded: "Rosa subgen. Rosa" is not the genus "Rosa".
_INFRAGENERIC = (
    "subgenus infrageneric infrageneric_name section subsection series subseries supersection "
    "supraspecific_name species_aggregate aggregate"
).split()
_PLAIN = r"^[A-Z][a-z]+( [a-z]{4,}){0,2}$"
_CHUNK = 200_000
# A backbone's tree has some 30 levels; more are a cycle.
_LEVELS = 64


def prepare_names(table: pl.LazyFrame, folder: Path, where: str) -> None:
    """Write names.parquet and lineages.parquet. Raises UserError without a column or any accepted name."""
    columns = table.collect_schema().names()
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise UserError(f"{where} has no column {', '.join(missing)}; give a Darwin Core Taxon table")
    names = table.select(_selected(columns)).collect(engine="streaming").with_row_index("row")
    if not names.height:
        raise UserError(f"{where} has no rows; give a Darwin Core Taxon table")
    names = names.with_columns(canonical_keys(names["canonical"]).alias("key")).drop("canonical")
    names = _with_accepted(names)
    if (
        set(_HIGHER[:5]) & set(columns)
        and names.select(pl.any_horizontal(pl.col(_HIGHER) != "").any()).item()
    ):
        names, lineages = _lineages_from_columns(names)
    else:
        names, lineages = _lineages_from_parents(names)
    lineages.write_parquet(folder / "lineages.parquet")
    # A synonym has the lineage of its accepted name.
    names = names.with_columns(names["lineage"].gather(names["accepted"]).alias("lineage"))
    names = names.filter(pl.col("accepted").is_not_null() & ~pl.col("rank").is_in(_INFRAGENERIC))
    if not names.height:
        raise UserError(
            f"{where} has no accepted name; give a Darwin Core Taxon table with its taxonomicStatus"
        )
    words = pl.col("key").str.splitn(" ", 3).struct
    names = names.select(
        *("row", "taxon_id", "key", words.field("field_0").alias("genus")),
        words.field("field_1").fill_null("").alias("epithet"),
        *("rank", "standing", "accepted", "authorship", "hybrid", "lineage"),
    )
    names.write_parquet(folder / "names.parquet", row_group_size=_CHUNK)


def canonical_keys(names: pl.Series) -> pl.Series:
    """Return names in canonical form; unparsable ones, such as OTU numbers, as folded text."""
    frame = pl.DataFrame({"name": names}).with_columns(
        pl.when(pl.col("name").str.contains(_PLAIN)).then("name").alias("key")
    )
    rest = frame.filter(pl.col("key").is_null())["name"].unique()
    # In chunks, because Python strings take three times the memory.
    keys = [
        pl.Series([name_key(name) for name in piece.to_list()], dtype=pl.String) for piece in _pieces(rest)
    ]
    parsed = pl.DataFrame(
        {"name": rest, "parsed": pl.concat(keys) if keys else pl.Series([], dtype=pl.String)}
    )
    frame = frame.join(parsed, on="name", how="left", maintain_order="left")
    return frame.select(pl.coalesce("key", "parsed")).to_series().alias("key")


def name_key(name: str) -> str:
    """Return the canonical form of a name, or its folded text if it cannot be parsed."""
    return parse_name(name).canonical or " ".join(fold(name).split())


def _pieces(series: pl.Series) -> Iterator[pl.Series]:
    return (series.slice(start, _CHUNK) for start in range(0, len(series), _CHUNK))


def _selected(columns: list[str]) -> list[pl.Expr]:
    """Select and rename the columns used, "" for missing ones."""
    empty = pl.lit("")

    def column(name: str) -> pl.Expr:
        return pl.col(name).str.strip_chars() if name in columns else empty

    scientific = column("scientificName")
    epithets = column("specificEpithet")
    generic = column("genericName") if "genericName" in columns else column("genus")
    built = pl.concat_str(
        generic, pl.lit(" "), epithets, pl.lit(" "), column("infraspecificEpithet")
    ).str.strip_chars()
    canonical = pl.when((generic != "") & (epithets != "")).then(built).otherwise(scientific)
    if "canonicalName" in columns:
        canonical = pl.when(column("canonicalName") != "").then(column("canonicalName")).otherwise(canonical)
    hybrid = scientific.str.contains(r"[×✕]|(^|\s)x\s") | (column("notho") != "")
    return [
        column("taxonID").alias("taxon_id"),
        column("acceptedNameUsageID").alias("accepted_id"),
        column("parentNameUsageID").alias("parent_id"),
        canonical.alias("canonical"),
        column("scientificNameAuthorship").alias("authorship"),
        column("taxonRank").str.to_lowercase().str.replace_all(" ", "_").cast(pl.Categorical).alias("rank"),
        column("taxonomicStatus")
        .str.to_lowercase()
        .str.replace_all("_", " ")
        .cast(pl.Categorical)
        .alias("status"),
        hybrid.alias("hybrid"),
        *(_value(column(rank)).cast(pl.Categorical).alias(rank) for rank in _HIGHER),
    ]


def _value(rank: pl.Expr) -> pl.Expr:
    return pl.when(~rank.str.contains(MISSING_PATTERN)).then(rank).otherwise(pl.lit(""))


def _with_accepted(names: pl.DataFrame) -> pl.DataFrame:
    """Add standing, and accepted: the row of the accepted name, null for a synonym without one."""
    rows = names.select("taxon_id", pl.col("row").alias("accepted")).unique("taxon_id", keep="first")
    status = pl.col("status").cast(pl.String)
    other = (pl.col("accepted_id") != "") & (pl.col("accepted_id") != pl.col("taxon_id"))
    standing = (
        pl.when(status.str.contains("misapplied"))
        .then(4)
        .when(status.str.contains("ambiguous|pro ?parte"))
        .then(3)
        .when(other | status.str.contains("synonym"))
        .then(2)
        .when(status.str.contains("doubtful|provisional|uncertain|unassessed"))
        .then(1)
        .otherwise(0)
    )
    names = names.with_columns(standing.cast(pl.UInt8).alias("standing"))
    names = names.join(rows, left_on="accepted_id", right_on="taxon_id", how="left", maintain_order="left")
    names = names.with_columns(
        pl.when(pl.col("standing") < 2).then("row").otherwise("accepted").alias("accepted")
    )
    # Follow synonyms of synonyms to the accepted name; a cycle has none.
    accepted = names["accepted"].fill_null(names.height).to_numpy()
    step = np.append(accepted, names.height)
    for _ in range(5):
        step = step[step]
    step = step[:-1]
    sound = (step < names.height) & (np.append(names["standing"].to_numpy(), 9)[step] < 2)
    accepted = pl.Series("accepted", step, dtype=pl.UInt32).set(pl.Series(~sound), None)
    return names.with_columns(accepted).drop("accepted_id", "status")


def _lineages_from_columns(names: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    lineages = names.select(_HIGHER).unique(maintain_order=True).with_row_index("lineage")
    names = names.join(lineages, on=list(_HIGHER), how="left", maintain_order="left").drop(
        "parent_id", *_HIGHER
    )
    return names, lineages.with_columns(pl.col(_HIGHER).cast(pl.String))


def _lineages_from_parents(names: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = names.select("taxon_id", pl.col("row").alias("parent")).unique("taxon_id", keep="first")
    names = names.join(rows, left_on="parent_id", right_on="taxon_id", how="left", maintain_order="left")
    names = names.drop("parent_id", *_HIGHER)
    parents = names["parent"].cast(pl.Int32).fill_null(-1).to_numpy()
    rank = (
        names["rank"]
        .cast(pl.String)
        .replace_strict(list(_HIGHER), range(6), default=-1, return_dtype=pl.Int8)
    )
    ranks = np.where(names["standing"].to_numpy() < 2, rank.to_numpy(), -1).astype(np.int8)
    # Species share their parent's lineage, so only few nodes need their ancestors.
    own = (ranks >= 0) | (parents < 0)
    nodes, lineage = np.unique(
        np.where(own, np.arange(len(own)), parents).astype(np.int32), return_inverse=True
    )
    rows = ancestors(parents, ranks, nodes)
    keys = pl.concat([names["key"], pl.Series([""])])
    rows = np.where(rows < 0, len(own), rows)
    lineages = pl.DataFrame({name: keys.gather(rows[:, i]) for i, name in enumerate(_HIGHER)})
    lineages = lineages.select(_value(pl.col(_HIGHER))).with_row_index("lineage")
    return names.drop("parent").with_columns(pl.Series("lineage", lineage, dtype=pl.UInt32)), lineages


def ancestors(
    parents: Int32[np.ndarray, " taxa"], ranks: Int8[np.ndarray, " taxa"], nodes: Int32[np.ndarray, " nodes"]
) -> Int32[np.ndarray, "nodes 6"]:
    """Find the row of each node's nearest ancestor-or-self at each rank, -1 if it has none.

    parents: row of each taxon's parent, -1 at the root. ranks: 0 (kingdom) to 5 (genus), -1 for others.
    """
    rows = np.full((len(nodes), 6), -1, np.int32)
    active = np.arange(len(nodes))
    current = nodes.copy()
    for _ in range(_LEVELS):
        if not len(active):
            break
        rank = ranks[current]
        new = rank >= 0
        new[new] = rows[active[new], rank[new]] < 0
        rows[active[new], rank[new]] = current[new]
        current = parents[current]
        alive = current >= 0
        active, current = active[alive], current[alive]
    return rows
