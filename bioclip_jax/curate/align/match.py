"""Match names with a backbone, distinguishing homonyms by given ranks, authors and acceptance."""

from __future__ import annotations

import re

import polars as pl

from bioclip_jax.text import RANKS, YEAR, fold

from .backbone import Backbone

# Ranks that distinguish homonyms, strongest first.
DECIDING = RANKS[:5]
# Firm ranks seldom change in a revision: names that differ there are different organisms.
_FIRM, _LOOSE = DECIDING[:3], DECIDING[3:]
# Kingdoms' names in other systems.
_KINGDOMS = {
    "Metazoa": "Animalia",
    "Viridiplantae": "Plantae",
    "Eubacteria": "Bacteria",
    "Monera": "Bacteria",
}

_WORDS = re.compile(r"[^\W\d_]+")
_LINKS = frozenset("ex in et al and de la le du da van von der den di fil f nom auct non sensu emend".split())
# Standard abbreviations that are not a prefix of the surname.
_STANDARD = {"l": "linnaeus", "linne": "linnaeus", "dc": "candolle", "hbk": "kunth", "m": "miller"}


class Candidates:
    """The backbone's names with the given keys, joined with accepted names and lineages, in memory."""

    def __init__(self, backbone: Backbone, keys: pl.Series):
        wanted = keys.unique().to_frame("key").lazy()
        names = backbone.names.join(wanted, on="key", how="semi").collect(engine="streaming")
        self._names = with_accepted(backbone, names)

    def best(self, queries: pl.DataFrame) -> pl.DataFrame:
        """Return the best candidate of each query: q, row, accepted, standing, outcome, others.

        queries: q, key, hint, author and the given ranks of DECIDING, "" if unknown to the user or the
        backbone. Queries without a candidate are omitted. outcome: "found"; "ambiguous", with the candidates
        in others; "unlike" if the given ranks contradict. row: the first candidate's.
        """
        pairs = queries.join(self._names, on="key", how="inner")
        for rank in DECIDING:
            pairs = pairs.with_columns(_agreement(rank).alias(f"agrees_{rank}"))
        score = pl.sum_horizontal(
            pl.col(f"agrees_{rank}").cast(pl.Int32) * 3 ** (4 - index) for index, rank in enumerate(DECIDING)
        )
        hinted = pl.when(pl.col("hint") == "species").then(pl.col("second") != "").otherwise(_same_rank())
        pairs = pairs.with_columns(hinted.fill_null(False).alias("hinted"), score.alias("score"))
        pairs = _with_authors(pairs)
        like = (
            pl.col("hinted").cast(pl.Int32) * 2000
            + pl.col("score") * 4
            + pl.col("author_agrees").cast(pl.Int32)
        )
        pairs = pairs.with_columns(like.alias("like")).filter(
            pl.col("like") == pl.col("like").max().over("q")
        )
        # Accepted names precede synonyms, unless they belong to different kingdoms.
        firm = pl.col("standing").is_in([0, 2])
        known = pl.when((pl.col("kingdom_known") != "") & firm).then("kingdom_known")
        apart = (known.drop_nulls().n_unique().over("q") > 1) & firm
        pairs = pairs.filter(apart | (pl.col("standing") == pl.col("standing").min().over("q")))
        pairs = pairs.sort("q", "standing", "row")
        best = pairs.group_by("q", maintain_order=True).agg(
            pl.first("row", "accepted", "standing"),
            pl.struct("accepted_key", "lineage").n_unique().alias("taxa"),
            _unlike().first().alias("unlike"),
        )
        outcome = (
            pl.when("unlike")
            .then(pl.lit("unlike"))
            .when(pl.col("taxa") > 1)
            .then(pl.lit("ambiguous"))
            .otherwise(pl.lit("found"))
        )
        undecided = (
            best.with_columns(outcome.alias("outcome")).filter(pl.col("outcome") != "found").select("q")
        )
        shown = pl.concat_str("accepted_key", pl.lit(" ("), _shown_lineage(), pl.lit(")")).alias("others")
        undecided = pairs.join(undecided, on="q", how="semi").select("q", shown).unique(maintain_order=True)
        undecided = undecided.group_by("q", maintain_order=True).agg(
            pl.col("others").head(4).str.join(" or ")
        )
        best = best.with_columns(outcome.alias("outcome")).drop("taxa", "unlike")
        return best.join(undecided, on="q", how="left", maintain_order="left")


def with_accepted(backbone: Backbone, names: pl.DataFrame) -> pl.DataFrame:
    """Join names with the key and lineage (kingdom_known to family_known) of their accepted names."""
    names = names.rename(
        {"genus": "first", "epithet": "second", "authorship": "author_known", "rank": "rank_known"}
    )
    wanted = names.select(pl.col("accepted").unique().alias("row")).lazy()
    accepted = backbone.names.join(wanted, on="row", how="semi").select(
        pl.col("row").alias("accepted"), pl.col("key").alias("accepted_key")
    )
    names = names.join(accepted.collect(engine="streaming"), on="accepted", how="inner")
    lineages = backbone.lineages.select("lineage", pl.col(DECIDING).name.suffix("_known"))
    return names.with_columns(pl.col("rank_known").cast(pl.String)).join(lineages, on="lineage", how="left")


def comparable_ranks(queries: pl.DataFrame, backbone: Backbone) -> pl.DataFrame:
    """Return q and the given ranks of DECIDING, with "" for values unknown to the backbone."""
    columns = []
    for rank in DECIDING:
        value, known = pl.col(rank), backbone.values(rank)
        if rank == "kingdom":
            same = {other: name for other, name in _KINGDOMS.items() if other not in set(known)}
            value = value.replace(same)
        columns.append(pl.when(value.is_in(known.implode())).then(value).otherwise(pl.lit("")).alias(rank))
    return queries.select("q", *columns)


def contradicts() -> pl.Expr:
    """True if any given rank differs from the candidate's."""
    return pl.any_horizontal(_agreement(rank) == 0 for rank in DECIDING)


def _agreement(rank: str) -> pl.Expr:
    """2 if the given rank equals the candidate's, 1 if either is unknown, 0 if they differ."""
    given, known = pl.col(rank), pl.col(f"{rank}_known")
    return pl.when((given == "") | (known == "")).then(1).when(given == known).then(2).otherwise(0)


def _unlike() -> pl.Expr:
    firm = pl.any_horizontal(pl.col(f"agrees_{rank}") == 0 for rank in _FIRM)
    loose = pl.any_horizontal(pl.col(f"agrees_{rank}") == 2 for rank in _LOOSE)
    return firm & ~loose


def _same_rank() -> pl.Expr:
    return (pl.col("hint") == "") | (pl.col("rank_known") == pl.col("hint"))


def _shown_lineage() -> pl.Expr:
    parts = [pl.when(pl.col(f"{rank}_known") != "").then(f"{rank}_known") for rank in ("kingdom", "family")]
    return pl.concat_str(parts, separator=", ", ignore_nulls=True)


def _with_authors(pairs: pl.DataFrame) -> pl.DataFrame:
    """Add author_agrees, compared only if there are several candidates and both sides name an author."""
    choice = (pl.len().over("q") > 1) & (pl.col("author") != "") & (pl.col("author_known") != "")
    compared = pairs.filter(choice).select("author", "author_known").unique()
    agrees = [same_author(*row) for row in compared.iter_rows()]
    compared = compared.with_columns(pl.Series("agrees", agrees, dtype=pl.Boolean))
    pairs = pairs.join(compared, on=["author", "author_known"], how="left")
    return pairs.with_columns((choice & pl.col("agrees").fill_null(False)).alias("author_agrees"))


def same_author(left: str, right: str) -> bool:
    """True if two authorships agree: a surname of one is a prefix of one of the other, and the years match.

    Authors of the combination count; those in parentheses only if there are no others. False if either side
    names nobody. Years may differ by one, as dates on title pages do.
    """
    years = [YEAR.findall(text)[-1:] for text in (left, right)]
    if all(years) and abs(int(years[0][0]) - int(years[1][0])) > 1:
        return False
    mine, theirs = _surnames(left), _surnames(right)
    return any(a.startswith(b) or b.startswith(a) for a in mine for b in theirs)


def _surnames(authorship: str) -> list[str]:
    outside = re.sub(r"\([^)]*\)", " ", authorship)
    if not _WORDS.search(outside):
        outside = authorship
    words = [fold(word) for word in _WORDS.findall(outside)]
    words = [_STANDARD.get(word, word) for word in words if word not in _LINKS]
    # Initials are not surnames, unless a single letter is all there is.
    return [word for word in words if len(word) > 1] or words
