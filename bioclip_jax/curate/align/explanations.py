"""Notes that explain the alignment of each name: what was matched, filled, changed or removed."""

from __future__ import annotations

import polars as pl

from bioclip_jax.text import RANKS

_COLUMNS = (
    "status",
    "matched_id",
    "matched_name",
    *RANKS,
    "common_name",
    "proposal",
    "proposal_score",
    "note",
)


def with_explanations(resolved: pl.DataFrame) -> pl.DataFrame:
    """Add notes and select the result's columns; aligned ranks lose the prefix aligned_."""
    resolved = resolved.with_columns(_note().alias("note"))
    aligned = [pl.col(f"aligned_{name}").alias(name) for name in (*RANKS, "common_name")]
    return resolved.select(*_COLUMNS[:3], *aligned, *_COLUMNS[-3:])


def _note() -> pl.Expr:
    """Join the notes that apply with "; "."""
    column = pl.col
    matched, near = column("matched").is_not_null(), column("near_row").is_not_null()
    key, name, rank = column("key"), column("matched_name"), column("rank_new")
    hybrid = ~column("formula") & (column("hybrid") | (matched & column("hybrid_new").fill_null(False)))
    parts = [
        _when(column("text").eq("") & column("common_name").eq(""), "no name given"),
        _when(column("status") == "synonym", "synonym: ", key, " is now ", name),
        _when(column("applied"), "near-miss applied: ", key, " read as ", column("near")),
        _when(near & ~column("applied"), "near-miss not applied: ", key, " may be ", column("near")),
        _when(near & column("ties").gt(0), "other names as near: ", column("ties")),
        _when(column("common_accepted").is_not_null(), "by common name only, not applied"),
        _when(column("common_others") > 0, "other taxa with this common name: ", column("common_others")),
        _when(column("outcome") == "ambiguous", "homonyms: ", column("others")),
        _when(column("outcome") == "unlike", "the backbone has it elsewhere: ", column("others")),
        _when(column("formula"), "hybrid formula"),
        _when(hybrid, "hybrid"),
        _when(column("qualifier") != "", "not determined: ", column("qualifier")),
        _when(column("of_species"), column("infraspecific"), " removed: not in the backbone"),
        _when(matched & (column("species_new") == ""), "at ", rank, " level"),
        _when(matched & column("key_new").str.count_matches(" ").gt(1), "of ", rank, " ", name),
        _when(
            ~matched & column("higher").is_not_null(),
            "lineage of ",
            column("higher_rank"),
            " ",
            column("key_new"),
        ),
        _filled(),
        *(_changed(rank) for rank in RANKS[:-1]),
    ]
    return pl.concat_str(parts, separator="; ", ignore_nulls=True)


def _when(condition: pl.Expr, *words: str | pl.Expr) -> pl.Expr:
    """Return the concatenated words if the condition holds, else null."""
    parts = [pl.lit(word) if isinstance(word, str) else word.cast(pl.String) for word in words]
    return pl.when(condition).then(pl.concat_str(parts))


def _filled() -> pl.Expr:
    """List the filled ranks: "filled: phylum, class"."""
    names = [
        pl.when((pl.col(rank) == "") & (pl.col(f"aligned_{rank}") != "")).then(pl.lit(rank))
        for rank in RANKS[:-1]
    ]
    joined = pl.concat_str(names, separator=", ", ignore_nulls=True)
    return pl.when(joined != "").then(pl.lit("filled: ") + joined)


def _changed(rank: str) -> pl.Expr:
    given, aligned = pl.col(rank), pl.col(f"aligned_{rank}")
    return (
        pl.when((given != "") & (aligned == "") & pl.col("matched").is_not_null())
        .then(pl.concat_str(pl.lit(f"{rank} "), given, pl.lit(" removed: not in the backbone")))
        .when((given != "") & (aligned != given) & (aligned != ""))
        .then(pl.concat_str(pl.lit(f"{rank} "), given, pl.lit(" replaced by "), aligned))
    )
