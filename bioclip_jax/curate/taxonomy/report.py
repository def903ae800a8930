"""What became of the names: counts by status and the names themselves, for people (Markdown) and for tables (CSV)."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from bioclip_jax.files import atomic_write, write_text
from bioclip_jax.text import RANKS

from .align import STATUSES

_LISTED = 200
_MEANING = {
    "exact": "accepted under this name",
    "synonym": "now accepted under another name, which was taken",
    "fuzzy": "a near-miss or a common name; the proposal is for you to judge",
    "ambiguous": "homonyms that the ranks and authors given do not tell apart; give a kingdom or family",
    "unresolved": "not in the backbone",
}


def alignment_report(result: pl.DataFrame, count_column: str | None = None) -> tuple[str, pl.DataFrame]:
    """The report as Markdown, and as a table: a row for each distinct name and what became of it, by status and name.

    `result`: as align gives it. `count_column`: the images each row stands for; without it, a row is one
    image.
    """
    table = _distinct(result, count_column)
    return _markdown(table), table


def status_counts(table: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Names and images of each status, from the report's table."""
    counted = {
        row[0]: row[1:] for row in table.group_by("status").agg(pl.len(), pl.col("images").sum()).iter_rows()
    }
    return {status: dict(zip(("names", "images"), counted.get(status, (0, 0)))) for status in STATUSES}


def write_report(result: pl.DataFrame, markdown: Path, csv: Path, count_column: str | None = None) -> dict:
    """Write both files; the counts by status."""
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
    """The column of an aligned rank: the class stands where the table had it."""
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
    # What wants a person's eye comes first.
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
            lines += ["", f"and {rows.height - _LISTED:,} more, all of them in the CSV beside this file."]
    return "\n".join(lines) + "\n"
