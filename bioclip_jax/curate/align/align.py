"""Align names with a backbone: status, accepted name and lineage of each, and proposals for near-misses."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from bioclip_jax.text import Taxon

from .backbone import Backbone
from .explanations import with_explanations
from .fuzzy import near_misses
from .match import DECIDING, Candidates, comparable_ranks
from .queries import HIGHER, class_column, distinct_queries, given_taxa

STATUSES = ("exact", "synonym", "fuzzy", "ambiguous", "unresolved")


def align_names(
    taxa: pl.DataFrame | Sequence[Taxon], backbone: Backbone, *, apply_fuzzy: bool = False
) -> pl.DataFrame:
    """Align taxa with a backbone; returns a row for each input row, in order.

    taxa: Taxon objects, or a table with any of the columns kingdom, phylum, class (or cls), order, family,
    genus, species, common_name, scientific_name and authorship. The result has the table's columns, colliding
    ones as given_NAME, and status, matched_id and matched_name (of the accepted taxon, "" without one), the
    seven ranks and common_name as aligned, proposal, proposal_score (null without one) and note.

    status: "exact"; "synonym", with the ranks of the accepted name; "fuzzy", a near-miss or common name,
    which is proposed, and applied only with `apply_fuzzy` (common names never); "ambiguous", homonyms that
    the given ranks and authors do not distinguish; "unresolved". The last three keep the given names,
    completed by the lineage of a genus or family that the backbone has.
    """
    given = given_taxa(taxa)
    queries, rows = distinct_queries(given)
    aligned = _align_queries(queries, backbone, apply_fuzzy=apply_fuzzy).select(pl.all().gather(rows))
    if not isinstance(taxa, pl.DataFrame):
        return pl.concat(
            [given.select(pl.col(given.columns[:8]).name.prefix("given_")), aligned], how="horizontal"
        )
    # In annotation tables `class` is a label and `cls` the rank.
    aligned = aligned.rename({"class": class_column(taxa.columns)})
    given_names = {name: f"given_{name}" for name in taxa.columns if name in aligned.columns}
    # A table that was aligned before keeps its original given_ columns.
    stale = [name for name, given_name in given_names.items() if given_name in taxa.columns]
    taxa = taxa.drop(stale).rename({name: new for name, new in given_names.items() if name not in stale})
    return pl.concat([taxa, aligned], how="horizontal")


def _align_queries(queries: pl.DataFrame, backbone: Backbone, *, apply_fuzzy: bool) -> pl.DataFrame:
    """Return the alignment's columns, a row for each of queries.distinct_queries."""
    ranks = comparable_ranks(queries, backbone)
    lookups = queries.drop(DECIDING).join(ranks, on="q", how="left", maintain_order="left")
    # Only ranks above the name's own can be compared.
    above = {
        rank: [lower for lower in HIGHER if HIGHER.index(lower) > HIGHER.index(rank)] for rank in DECIDING
    }
    compared = {rank: pl.col("hint").is_in(["", "species", *lower]) for rank, lower in above.items()}
    lookups = lookups.with_columns(
        pl.when(c).then(rank).otherwise(pl.lit("")).alias(rank) for rank, c in compared.items()
    )
    binomial = pl.col("word") + " " + pl.col("epithet")
    keys = [
        lookups["key"],
        lookups.select(binomial).to_series(),
        lookups["word"],
        *(queries[rank] for rank in HIGHER),
    ]
    candidates = Candidates(backbone, pl.concat([series.rename("key") for series in keys]))
    lookups = _with_genus_authors(lookups, candidates, backbone)

    best = candidates.best(lookups.filter(pl.col("key") != ""))
    rest = lookups.join(best, on="q", how="anti").filter(pl.col("infraspecific") != "")
    species = candidates.best(rest.with_columns(binomial.alias("key"), pl.lit("").alias("author")))
    best = pl.concat(
        [best.with_columns(pl.lit(False).alias("of_species")), species.with_columns(of_species=True)]
    )

    resolved = queries.join(best, on="q", how="left", maintain_order="left")
    missing = resolved.filter(
        pl.col("outcome").is_null() & (pl.col("word") != "") & ~pl.col("formula")
    ).select("q")
    near = near_misses(lookups.join(missing, on="q", how="semi"), backbone)
    near = near.rename({"row": "near_row", "accepted": "near_accepted", "others": "ties"})
    resolved = resolved.join(near, on="q", how="left", maintain_order="left")
    resolved = _with_common_name_matches(resolved, backbone)
    resolved = _with_status(resolved, apply_fuzzy)
    higher = _higher(lookups, resolved, queries, candidates)
    resolved = resolved.join(higher, on="q", how="left", maintain_order="left")
    return with_explanations(_with_lineage(resolved, backbone))


def _with_genus_authors(lookups: pl.DataFrame, candidates: Candidates, backbone: Backbone) -> pl.DataFrame:
    """Fill ranks that a genus's author decides, for species whose genus is given with one: "Oenanthe L."."""
    genera = lookups.filter(
        (pl.col("genus_author") != "") & (pl.col("genus") != "") & (pl.col("hint") == "species")
    )
    if not genera.height:
        return lookups
    genera = genera.with_columns(key="genus", author="genus_author", hint=pl.lit("genus"))
    decided = _lineage_of(candidates.best(genera).filter(pl.col("outcome") == "found"), "accepted", backbone)
    decided = decided.select("q", *(f"{rank}_new" for rank in DECIDING))
    lookups = lookups.join(decided, on="q", how="left", maintain_order="left")
    filled = [
        pl.when(pl.col(r) == "").then(pl.col(f"{r}_new").fill_null("")).otherwise(r).alias(r)
        for r in DECIDING
    ]
    return lookups.with_columns(filled).drop(f"{rank}_new" for rank in DECIDING)


def _with_common_name_matches(resolved: pl.DataFrame, backbone: Backbone) -> pl.DataFrame:
    """Add common_accepted and common_others, for rows with only a common name."""
    folded = pl.col("common_name").str.to_lowercase().alias("folded")
    only = resolved.filter((pl.col("text") == "") & (pl.col("common_name") != "")).select("q", folded)
    pairs = only.join(backbone.common_names.select(pl.col("row"), folded), on="folded").sort("q", "row")
    matches = pairs.group_by("q").agg(
        pl.first("row").alias("common_accepted"), (pl.col("row").n_unique() - 1).alias("common_others")
    )
    return resolved.join(matches, on="q", how="left", maintain_order="left")


def _with_status(resolved: pl.DataFrame, apply_fuzzy: bool) -> pl.DataFrame:
    """Add status, and rows of taxa: matched, whose names are applied, and proposed."""
    outcome = pl.col("outcome")
    applied = pl.col("near_row").is_not_null() & (pl.col("ties") == 0) & apply_fuzzy
    status = (
        pl.when((outcome == "found") & (pl.col("standing") < 2))
        .then(pl.lit("exact"))
        .when(outcome == "found")
        .then(pl.lit("synonym"))
        .when((outcome == "ambiguous") | (pl.col("common_others") > 0))
        .then(pl.lit("ambiguous"))
        .when(pl.col("near_row").is_not_null() | pl.col("common_accepted").is_not_null())
        .then(pl.lit("fuzzy"))
        .otherwise(pl.lit("unresolved"))
    )
    matched = pl.when(outcome == "found").then("accepted").when(applied).then("near_accepted")
    as_written = outcome.is_in(["ambiguous", "unlike"])
    proposed = pl.when(as_written).then("accepted").otherwise(pl.coalesce("near_accepted", "common_accepted"))
    score = pl.when(as_written | pl.col("common_accepted").is_not_null()).then(1.0)
    return resolved.with_columns(
        status.alias("status"),
        matched.alias("matched"),
        applied.fill_null(False).alias("applied"),
        proposed.alias("proposed"),
        pl.coalesce(score, "score").alias("proposal_score"),
    )


def _higher(
    lookups: pl.DataFrame, resolved: pl.DataFrame, queries: pl.DataFrame, candidates: Candidates
) -> pl.DataFrame:
    """Find the lowest taxon above each unresolved name that the backbone has: q, higher, higher_rank."""
    rest = lookups.join(resolved.filter(pl.col("matched").is_null()).select("q"), on="q", how="semi")
    rest = rest.with_columns(pl.lit("").alias("author"))
    matches = []
    for index in range(len(HIGHER) - 1, -1, -1):
        rank = HIGHER[index]
        names = rest.join(queries.select("q", pl.col(rank).alias("higher_key")), on="q")
        # A species' name also gives its genus; a name without epithet is itself unresolved.
        key = pl.when(pl.col("higher_key") != "").then("higher_key")
        if rank == "genus":
            key = pl.when(pl.col("epithet") != "").then("word").otherwise(key)
        names = names.with_columns(key.alias("key"), hint=pl.lit(rank)).filter(pl.col("key").is_not_null())
        names = names.with_columns(pl.lit("").alias(lower) for lower in HIGHER[index:] if lower in DECIDING)
        best = candidates.best(names).filter((pl.col("outcome") == "found") & (pl.col("standing") < 2))
        best = best.select("q", pl.col("accepted").alias("higher"), pl.lit(rank).alias("higher_rank"))
        matches.append(best)
        rest = rest.join(best, on="q", how="anti")
    return pl.concat(matches)


def _lineage_of(table: pl.DataFrame, row: str, backbone: Backbone) -> pl.DataFrame:
    """Join the taxon in column `row`: id_new, key_new, rank_new, hybrid_new and its ranks as *_new."""
    wanted = table.select(pl.col(row).alias("row")).drop_nulls().unique().lazy()
    names = backbone.names.join(wanted, on="row", how="semi").collect(engine="streaming")
    names = names.join(backbone.lineages, on="lineage", how="left", suffix="_of_lineage")
    binomial = pl.col("epithet") != ""
    names = names.select(
        pl.col("row").alias(row),
        pl.col("taxon_id").alias("id_new"),
        pl.col("key").alias("key_new"),
        pl.col("rank").cast(pl.String).alias("rank_new"),
        pl.col("hybrid").alias("hybrid_new"),
        *(pl.col(rank).alias(f"{rank}_new") for rank in DECIDING),
        pl.when(binomial).then("genus").otherwise("genus_of_lineage").alias("genus_new"),
        pl.col("epithet").alias("species_new"),
    )
    return table.join(names, on=row, how="left", maintain_order="left")


def _with_lineage(resolved: pl.DataFrame, backbone: Backbone) -> pl.DataFrame:
    """Add the aligned ranks and common name, and the matched and proposed names."""
    source = pl.coalesce("matched", "higher").alias("source")
    resolved = _lineage_of(resolved.with_columns(source), "source", backbone)
    taken = pl.col("matched").is_not_null()
    epithet = pl.when((pl.col("epithet") != "") | (pl.col("text") == "")).then("epithet").otherwise("species")
    kept = {rank: pl.col(rank) for rank in DECIDING}
    kept["genus"] = (
        pl.when((pl.col("epithet") != "") & (pl.col("word") != "")).then("word").otherwise("genus")
    )
    kept["species"] = epithet
    above = {rank: pl.col("higher_rank").is_in(HIGHER[HIGHER.index(rank) :]) for rank in DECIDING}
    aligned = {}
    for rank, given in kept.items():
        new = pl.col(f"{rank}_new").fill_null("")
        filled = (
            pl.when(above.get(rank, pl.lit(False)).fill_null(False) & (new != "")).then(new).otherwise(given)
        )
        aligned[rank] = pl.when(taken).then(new).otherwise(filled).alias(f"aligned_{rank}")
    names = backbone.names.select(pl.col("row").alias("proposed"), pl.col("key").alias("proposal"))
    proposed = resolved.select("proposed").drop_nulls().unique().lazy()
    names = names.join(proposed, on="proposed", how="semi").collect(engine="streaming")
    common = backbone.common_names.filter("best")
    common = common.select(pl.col("row").alias("source"), pl.col("common_name").alias("known"))
    resolved = resolved.with_columns(*aligned.values()).join(
        names, on="proposed", how="left", maintain_order="left"
    )
    resolved = resolved.join(common, on="source", how="left", maintain_order="left")
    known = pl.when(taken).then("known").fill_null("")
    return resolved.with_columns(
        pl.when(pl.col("common_name") != "")
        .then("common_name")
        .otherwise(known)
        .alias("aligned_common_name"),
        pl.when(taken).then("id_new").fill_null("").alias("matched_id"),
        pl.when(taken).then("key_new").fill_null("").alias("matched_name"),
        pl.col("proposal").fill_null(""),
    )
