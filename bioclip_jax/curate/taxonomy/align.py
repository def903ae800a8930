"""Names aligned with a backbone: what each is now called, its lineage, and what is only proposed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from bioclip_jax.text import RANKS, Taxon

from .backbone import Backbone
from .fuzzy import near_misses
from .match import DECIDING, Candidates, comparable_ranks
from .notes import with_notes
from .queries import HIGHER, class_column, distinct_queries, given_taxa

STATUSES = ("exact", "synonym", "fuzzy", "ambiguous", "unresolved")


class AlignedTaxon(NamedTuple):
    """A taxon as the backbone has it, one of STATUSES, what was changed, and the name that is proposed."""

    taxon: Taxon
    status: str
    note: str
    proposal: str


def align_names(
    taxa: pl.DataFrame | Sequence[Taxon], backbone: Backbone, *, apply_fuzzy: bool = False
) -> pl.DataFrame:
    """Each taxon as the backbone has it: a row for each input row, in order.

    `taxa`: a table with any of the columns kingdom, phylum, class (or cls), order, family, genus, species,
    common_name, scientific_name and authorship, or Taxon objects. The result has the table's columns (those
    that collide as given_NAME) and status, matched_id and matched_name (of the accepted taxon; "" without
    one), the seven ranks and common_name as aligned, proposal, proposal_score (null without one) and note.

    status: "exact"; "synonym", whose ranks are those of the accepted name; "fuzzy", a near-miss or common
    name, which is proposed and only with `apply_fuzzy` applied (common names never); "ambiguous", homonyms
    that the ranks and authors given do not tell apart; "unresolved". The last three keep the names given, but
    have the ranks above a genus or family that the backbone has.
    """
    given = given_taxa(taxa)
    queries, rows = distinct_queries(given)
    aligned = align_queries(queries, backbone, apply_fuzzy=apply_fuzzy).select(pl.all().gather(rows))
    if not isinstance(taxa, pl.DataFrame):
        return pl.concat(
            [given.select(pl.col(given.columns[:8]).name.prefix("given_")), aligned], how="horizontal"
        )
    # Where `class` is an annotation's label, `cls` is the rank.
    aligned = aligned.rename({"class": class_column(taxa.columns)})
    taken = {name: f"given_{name}" for name in taxa.columns if name in aligned.columns}
    # Of a table that was aligned before, what was given in the first place is kept.
    again = [name for name, given_name in taken.items() if given_name in taxa.columns]
    taxa = taxa.drop(again).rename({name: new for name, new in taken.items() if name not in again})
    return pl.concat([taxa, aligned], how="horizontal")


def align_taxa(taxa: Sequence[Taxon], backbone: Backbone, *, apply_fuzzy: bool = False) -> list[AlignedTaxon]:
    """The same for Taxon objects, in order; those of equal content are looked up once."""
    result = align_names(taxa, backbone, apply_fuzzy=apply_fuzzy)
    columns = (*RANKS, "common_name", "status", "note", "proposal")
    return [AlignedTaxon(Taxon(*row[:8]), *row[8:]) for row in result.select(columns).iter_rows()]


def align_queries(queries: pl.DataFrame, backbone: Backbone, *, apply_fuzzy: bool) -> pl.DataFrame:
    """The columns that alignment gives, a row for each of queries.distinct_queries."""
    ranks = comparable_ranks(queries, backbone)
    asked = queries.drop(DECIDING).join(ranks, on="q", how="left", maintain_order="left")
    # At the rank of the name itself and below there is nothing to compare.
    above = {
        rank: [lower for lower in HIGHER if HIGHER.index(lower) > HIGHER.index(rank)] for rank in DECIDING
    }
    compared = {rank: pl.col("hint").is_in(["", "species", *lower]) for rank, lower in above.items()}
    asked = asked.with_columns(
        pl.when(c).then(rank).otherwise(pl.lit("")).alias(rank) for rank, c in compared.items()
    )
    binomial = pl.col("word") + " " + pl.col("epithet")
    keys = [
        asked["key"],
        asked.select(binomial).to_series(),
        asked["word"],
        *(queries[rank] for rank in HIGHER),
    ]
    candidates = Candidates(backbone, pl.concat([series.rename("key") for series in keys]))
    asked = _with_genus_authors(asked, candidates, backbone)

    best = candidates.best(asked.filter(pl.col("key") != ""))
    rest = asked.join(best, on="q", how="anti").filter(pl.col("infraspecific") != "")
    species = candidates.best(rest.with_columns(binomial.alias("key"), pl.lit("").alias("author")))
    best = pl.concat(
        [best.with_columns(pl.lit(False).alias("of_species")), species.with_columns(of_species=True)]
    )

    resolved = queries.join(best, on="q", how="left", maintain_order="left")
    lost = resolved.filter(pl.col("outcome").is_null() & (pl.col("word") != "") & ~pl.col("formula")).select(
        "q"
    )
    near = near_misses(asked.join(lost, on="q", how="semi"), backbone)
    near = near.rename({"row": "near_row", "accepted": "near_accepted", "others": "ties"})
    resolved = resolved.join(near, on="q", how="left", maintain_order="left")
    resolved = _with_common_names_looked_up(resolved, backbone)
    resolved = _with_status(resolved, apply_fuzzy)
    higher = _higher(asked, resolved, queries, candidates)
    resolved = resolved.join(higher, on="q", how="left", maintain_order="left")
    return with_notes(_with_lineage(resolved, backbone))


def _with_genus_authors(asked: pl.DataFrame, candidates: Candidates, backbone: Backbone) -> pl.DataFrame:
    """The ranks that a genus's author decides, for species whose genus is given with one: "Oenanthe L."."""
    genera = asked.filter(
        (pl.col("genus_author") != "") & (pl.col("genus") != "") & (pl.col("hint") == "species")
    )
    if not genera.height:
        return asked
    genera = genera.with_columns(key="genus", author="genus_author", hint=pl.lit("genus"))
    decided = _lineage_of(candidates.best(genera).filter(pl.col("outcome") == "found"), "accepted", backbone)
    decided = decided.select("q", *(f"{rank}_new" for rank in DECIDING))
    asked = asked.join(decided, on="q", how="left", maintain_order="left")
    filled = [
        pl.when(pl.col(r) == "").then(pl.col(f"{r}_new").fill_null("")).otherwise(r).alias(r)
        for r in DECIDING
    ]
    return asked.with_columns(filled).drop(f"{rank}_new" for rank in DECIDING)


def _with_common_names_looked_up(resolved: pl.DataFrame, backbone: Backbone) -> pl.DataFrame:
    """`common_accepted` and `common_others`, for rows that give nothing but a common name."""
    folded = pl.col("common_name").str.to_lowercase().alias("folded")
    only = resolved.filter((pl.col("text") == "") & (pl.col("common_name") != "")).select("q", folded)
    pairs = only.join(backbone.common_names.select(pl.col("row"), folded), on="folded").sort("q", "row")
    found = pairs.group_by("q").agg(
        pl.first("row").alias("common_accepted"), (pl.col("row").n_unique() - 1).alias("common_others")
    )
    return resolved.join(found, on="q", how="left", maintain_order="left")


def _with_status(resolved: pl.DataFrame, apply_fuzzy: bool) -> pl.DataFrame:
    """status; matched: row of the taxon to take the names from; proposed: row of the one that is only proposed."""
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
    asked: pl.DataFrame, resolved: pl.DataFrame, queries: pl.DataFrame, candidates: Candidates
) -> pl.DataFrame:
    """q, higher, higher_rank: the lowest taxon above an unresolved name that the backbone has."""
    rest = asked.join(resolved.filter(pl.col("matched").is_null()).select("q"), on="q", how="semi")
    rest = rest.with_columns(pl.lit("").alias("author"))
    found = []
    for place in range(len(HIGHER) - 1, -1, -1):
        rank = HIGHER[place]
        names = rest.join(queries.select("q", pl.col(rank).alias("higher_key")), on="q")
        # A name is its own genus's witness, unless it is itself what was not found.
        key = pl.when(pl.col("higher_key") != "").then("higher_key")
        if rank == "genus":
            key = pl.when(pl.col("epithet") != "").then("word").otherwise(key)
        names = names.with_columns(key.alias("key"), hint=pl.lit(rank)).filter(pl.col("key").is_not_null())
        names = names.with_columns(pl.lit("").alias(lower) for lower in HIGHER[place:] if lower in DECIDING)
        best = candidates.best(names).filter((pl.col("outcome") == "found") & (pl.col("standing") < 2))
        best = best.select("q", pl.col("accepted").alias("higher"), pl.lit(rank).alias("higher_rank"))
        found.append(best)
        rest = rest.join(best, on="q", how="anti")
    return pl.concat(found)


def _lineage_of(table: pl.DataFrame, row: str, backbone: Backbone) -> pl.DataFrame:
    """The table with the taxon in column `row`: id_new, key_new, rank_new, hybrid_new and its ranks as *_new."""
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
    """The ranks as aligned beside those given, the matched and the proposed name, the common name."""
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
