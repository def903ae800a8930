"""Fuzzy matching: names of the backbone within two edits of a misspelled name.

Edits are insertions, deletions, substitutions and swaps of adjacent letters (optimal string alignment
distance). Names are compared within blocks only: a species with those of its genus, of its epithet, and of
genera one edit away; a single word with those of the same beginning or end. Time grows with the number of
misspelled names.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from rapidfuzz.distance import OSA
from rapidfuzz.process import cdist

from .backbone import Backbone
from .match import contradicts, with_accepted

_EDITS = 2
# Cells of a distance matrix, one byte each.
_CELLS = 1 << 24
# Matrix size from which multithreading pays.
_LARGE = 1 << 18
_SHORT = 8
# Latin endings that follow the genus's gender, and commonly confused spellings.
_ENDINGS = (
    ("(?:us|a|um|is|e|er|ra|rum|os|on)$", ""),
    ("ii$", "i"),
    ("y", "i"),
    ("ph", "f"),
    ("th", "t"),
    ("ae", "e"),
)


def near_misses(queries: pl.DataFrame, backbone: Backbone) -> pl.DataFrame:
    """Find the nearest name for each query: q, row, accepted, near (the name), distance, score, others.

    queries: q, key, word, epithet, hint and the given ranks, as match.Candidates.best takes them; a name
    whose lineage contradicts any rank is excluded. score: 1 - distance / length of the name. others: number
    of other taxa at the same distance. Queries without a near-miss are omitted.
    """
    species = queries.filter(pl.col("epithet") != "")
    single = queries.filter(pl.col("epithet") == "")
    pairs = [_near_species(species, backbone), _near_words(single, backbone)]
    pairs = pl.concat(pairs).group_by("q", "row").agg(pl.col("distance").min())
    pairs = pairs.filter(pl.col("distance") <= _EDITS)
    rows = backbone.names.join(pairs.lazy().select("row").unique(), on="row", how="semi")
    names = with_accepted(backbone, rows.collect(engine="streaming")).rename({"key": "near"})
    ranks = queries.drop("epithet", "word")
    pairs = pairs.join(ranks, on="q").join(names, on="row", how="inner").filter(~contradicts())
    # Only names of the given rank.
    same_rank = (
        (pl.col("hint") == "") | (pl.col("hint") == "species") | (pl.col("hint") == pl.col("rank_known"))
    )
    pairs = pairs.filter(same_rank)
    pairs = pairs.filter(pl.col("distance") == pl.col("distance").min().over("q")).sort(
        "q", "standing", "near", "row"
    )
    best = pairs.group_by("q", maintain_order=True).agg(
        pl.first("row", "accepted", "near", "distance", "key"),
        (pl.struct("accepted_key", "lineage").n_unique() - 1).alias("others"),
    )
    score = 1 - pl.col("distance") / pl.col("key").str.len_chars()
    return best.with_columns(score.round(3).alias("score")).drop("key")


def _near_species(queries: pl.DataFrame, backbone: Backbone) -> pl.DataFrame:
    names = backbone.names.filter(pl.col("epithet") != "").select("row", "key", "genus", "epithet")
    # Binomials only: a subspecies is matched through its species.
    names = names.filter(pl.col("key").str.count_matches(" ", literal=True) == 1).drop("key")
    misspelled = queries.select("q", pl.col("word").alias("genus"), "epithet")
    in_genus = _matching(names, misspelled, "genus")
    matches = [
        _blocks(_block(misspelled, "genus", "epithet"), _block(in_genus, "genus", "epithet")),
        _same_stem(misspelled, in_genus),
        _blocks(
            _block(misspelled, "epithet", "genus"),
            _block(_matching(names, misspelled, "epithet"), "epithet", "genus"),
        ),
    ]
    done = pl.concat(matches)
    rest = misspelled.join(done, on="q", how="anti")
    genera = names.select("genus").unique().collect(engine="streaming").with_row_index("row")
    misspelled_genera = rest.select("genus").unique().with_row_index("q")
    near = _similar(misspelled_genera, genera).filter(pl.col("distance") == 1)
    near = (
        near.join(misspelled_genera, on="q")
        .select("genus", "row")
        .join(genera.rename({"genus": "near"}), on="row")
    )
    rest = rest.join(near.select("genus", "near"), on="genus").drop("genus").rename({"near": "genus"})
    twice = _blocks(
        _block(rest, "genus", "epithet"), _block(_matching(names, rest, "genus"), "genus", "epithet")
    )
    return pl.concat([done, twice.with_columns(pl.col("distance") + 1)])


def _near_words(queries: pl.DataFrame, backbone: Backbone) -> pl.DataFrame:
    names = backbone.names.filter(pl.col("epithet") == "").select("row", "genus").collect(engine="streaming")
    return _similar(queries.select("q", pl.col("word").alias("genus")), names)


def _similar(misspelled: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Pairs of similar words that share the first three or last five letters: q, row, distance.

    Short words are also paired if they are equal after deleting at most one letter of each. misspelled: q,
    genus; names: row, genus.
    """
    word = pl.col("word")
    # Lower case, because an extra or missing first letter moves the capital.
    both = [
        table.rename({"genus": "word"}).with_columns(word.str.to_lowercase()) for table in (misspelled, names)
    ]
    matches = []
    for block in (word.str.slice(0, 3), word.str.slice(-5)):
        matches.append(_blocks(*(table.with_columns(block.alias("block")) for table in both)))
    less = pl.concat_list(word, *(word.str.slice(0, i) + word.str.slice(i + 1) for i in range(_SHORT)))
    short = (table.filter(word.str.len_chars() <= _SHORT).with_columns(less.alias("block")) for table in both)
    matches.append(_blocks(*(table.explode("block").unique() for table in short)))
    return pl.concat(matches).unique()


def _matching(names: pl.LazyFrame, misspelled: pl.DataFrame, column: str) -> pl.DataFrame:
    return names.join(misspelled.lazy().select(column).unique(), on=column, how="semi").collect(
        engine="streaming"
    )


def _block(table: pl.DataFrame, block: str, word: str) -> pl.DataFrame:
    return table.select(
        table.columns[0], pl.col(block).alias("block"), pl.col(word).str.to_lowercase().alias("word")
    )


def _same_stem(misspelled: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Pairs of epithets that differ only in gender or common spellings, which count as one edit."""
    stem = pl.col("epithet")
    for pattern, replacement in _ENDINGS:
        stem = stem.str.replace_all(pattern, replacement)
    stem = stem.alias("stem")
    pairs = misspelled.with_columns(stem).join(names.with_columns(stem), on=["genus", "stem"], how="inner")
    pairs = pairs.filter(pl.col("stem").str.len_chars() > 2)
    return pairs.select("q", "row", pl.lit(1, pl.UInt8).alias("distance"))


def _allowed(length: int) -> int:
    """Maximum number of edits for a word's length: short words differ by single letters."""
    return 0 if length < 4 else 1 if length < 6 else _EDITS


def _blocks(misspelled: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Pairs of similar words within each block: q, row, distance."""
    misspelled = misspelled.join(names.select("block").unique(), on="block", how="semi")
    names = names.join(misspelled.select("block").unique(), on="block", how="semi")
    grouped = names.group_by("block").agg(pl.col("row"), pl.col("word").alias("names"))
    grouped = misspelled.group_by("block").agg("q", "word").join(grouped, on="block")
    matches = [_similar_pairs(*row) for row in grouped.select("q", "word", "row", "names").iter_rows()]
    columns = [np.concatenate(parts) for parts in zip(*matches)] if matches else [np.zeros(0, np.int64)] * 3
    types = {"q": pl.UInt32, "row": pl.UInt32, "distance": pl.UInt8}
    return pl.DataFrame(
        [pl.Series(name, values, dtype=kind) for (name, kind), values in zip(types.items(), columns)]
    )


def _similar_pairs(
    q: list[int], words: list[str], rows: list[int], names: list[str]
) -> tuple[np.ndarray, ...]:
    allowed = np.array([_allowed(len(word)) for word in words], np.uint8)
    step = max(1, _CELLS // len(names))
    matches = []
    for start in range(0, len(words), step):
        chunk = words[start : start + step]
        workers = -1 if len(chunk) * len(names) > _LARGE else 1
        distances = cdist(
            chunk, names, scorer=OSA.distance, score_cutoff=_EDITS, dtype=np.uint8, workers=workers
        )
        near = distances <= allowed[start : start + step, None]
        # Distance 0 counts: the names then differ in the word that made the block.
        i, j = near.nonzero()
        matches.append((np.array(q[start : start + step])[i], np.array(rows)[j], distances[i, j]))
    return tuple(np.concatenate(parts) for parts in zip(*matches))
