"""Alignment report: counts by status and the distinct names, as Markdown and CSV."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from bioclip_jax.files import atomic_write, write_text
from bioclip_jax.text import RANKS

from .align import STATUSES

_LISTED = 200
_MEANING = {
    "exact": "accepted under this name",
    "synonym": "replaced by the accepted name",
    "fuzzy": "a near-miss or a common name; check the proposal",
    "ambiguous": "homonyms that the given ranks and authors do not tell apart; give a kingdom or family",
    "unresolved": "not in the backbone",
}


def alignment_report(result: pl.DataFrame, count_column: str | None = None) -> tuple[str, pl.DataFrame]:
    """Return the report as Markdown and as a table with a row per distinct name, sorted by status and name.

    result: of align_names. count_column: number of images per row; without it, a row is one image.
    """
    table = _distinct(result, count_column)
    return _markdown(table), table


def status_counts(table: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Count names and images of each status in the report's table."""
    counts = {
        row[0]: row[1:] for row in table.group_by("status").agg(pl.len(), pl.col("images").sum()).iter_rows()
    }
    return {status: dict(zip(("names", "images"), counts.get(status, (0, 0)))) for status in STATUSES}


def write_report(result: pl.DataFrame, markdown: Path, csv: Path, count_column: str | None = None) -> dict:
    """Write the report as Markdown and CSV, and return the counts by status."""
    text, table = alignment_report(result, count_column)
    write_text(markdown, text)
    with atomic_write(csv) as partial:
        table.write_csv(partial)
    return status_counts(table)


def _distinct(result: pl.DataFrame, count_column: str | None) -> pl.DataFrame:
    given = [_given(result, rank) for rank in RANKS[:-1]]
    name = pl.concat_str(_given(result, "genus"), _given(result, "species"), separator=" ", ignore_nulls=True)
    lowest = pl.coalesce(*reversed(given[:-1]), _given(result, "common_name")).fill_null("")
    name = pl.when(name != "").then(name).otherwise(lowest)
    whole = next(
        (column for column in ("scientific_name", "scientificName") if column in result.columns), None
    )
    if whole is not None:
        name = pl.coalesce(_blank(pl.col(whole)), name)
    images = pl.lit(1) if count_column is None else pl.col(count_column)
    lineage = pl.concat_str(
        [_blank(pl.col(_aligned(result, r))) for r in RANKS], separator=" ", ignore_nulls=True
    )
    return (
        result.select(
            "status",
            name.str.strip_chars().alias("name"),
            *(rank.fill_null("").alias(f"given_{column}") for rank, column in zip(given, RANKS)),
            *("matched_id", "matched_name"),
            lineage.alias("aligned"),
            *("proposal", "proposal_score", "note"),
            images.cast(pl.Int64).alias("images"),
        )
        .group_by(pl.exclude("images"))
        .agg(pl.col("images").sum())
        .sort(pl.col("status").replace_strict(STATUSES, range(5)), pl.exclude("status"))
    )


def _aligned(result: pl.DataFrame, rank: str) -> str:
    """Return the column of an aligned rank; the class is in the table's own column for it."""
    others = ("cls", "class_") if rank == "class" else ()
    return next((column for column in others if f"given_{column}" in result.columns), rank)


def _given(result: pl.DataFrame, rank: str) -> pl.Expr:
    column = "given_" + _aligned(result, rank)
    return _blank(pl.col(column).cast(pl.String)) if column in result.columns else pl.lit(None, pl.String)


def _blank(column: pl.Expr) -> pl.Expr:
    return pl.when(column != "").then(column)


def _markdown(table: pl.DataFrame) -> str:
    counts = status_counts(table)
    lines = ["# Taxonomic alignment", "", "| status | names | images | meaning |", "|---|---:|---:|---|"]
    for status, count in counts.items():
        lines.append(f"| {status} | {count['names']:,} | {count['images']:,} | {_MEANING[status]} |")
    lines.append(f"| all | {table.height:,} | {table['images'].sum():,} | |")
    # Statuses that need review come first.
    for status in ("fuzzy", "ambiguous", "unresolved", "synonym", "exact"):
        rows = table.filter(pl.col("status") == status)
        rows = rows.sort("images", "name", descending=[True, False], maintain_order=True)
        if not rows.height:
            continue
        lines += ["", f"## {status}", "", "| name | images | aligned | proposal | score | note |"]
        lines.append("|---|---:|---|---|---:|---|")
        for row in rows.head(_LISTED).iter_rows(named=True):
            score = "" if row["proposal_score"] is None else f"{row['proposal_score']:.3f}"
            cells = (row["name"], f"{row['images']:,}", row["aligned"], row["proposal"], score, row["note"])
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        if rows.height > _LISTED:
            lines += ["", f"and {rows.height - _LISTED:,} more; the CSV beside this file lists all."]
    return "\n".join(lines) + "\n"
