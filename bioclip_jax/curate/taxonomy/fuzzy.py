"""Near-misses: names of the backbone within two edits of a name that it does not have.

An edit is a letter put in, left out, changed or swapped with the next (optimal string alignment distance).
Names are
compared in blocks only: a species with those of its genus, with those that share its epithet, and with those
of genera one edit away; a name of one word with those that begin or end alike. So the time grows with the
misspelt names.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from rapidfuzz.distance import OSA
from rapidfuzz.process import cdist

from .backbone import Backbone
from .match import contradicts, with_accepted

_EDITS = 2
# Cells of a distance matrix at a time, a byte each.
_CELLS = 1 << 24
# Blocks from which two threads are faster than one.
_LARGE = 1 << 18
_SHORT = 8
# Latin endings that follow the genus's gender, and spellings that authors mix up.
_ENDINGS = (
    ("(?:us|a|um|is|e|er|ra|rum|os|on)$", ""),
    ("ii$", "i"),
    ("y", "i"),
    ("ph", "f"),
    ("th", "t"),
    ("ae", "e"),
)


def near_misses(queries: pl.DataFrame, backbone: Backbone) -> pl.DataFrame:
    """The nearest name for each query: q, row, accepted, near (the name), distance, score, others.

    `queries`: q, key, word, epithet, hint and the ranks that tell homonyms apart, as match.Candidates.best
    takes them; a name whose lineage contradicts any of them is no near-miss. score: 1 - distance / length of
    the name.
    others: how many other taxa are as near. Queries without a near-miss are left out.
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
    # Of names as near, one of the rank that was said.
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
    # Names of two words: a subspecies is found through its species.
    names = names.filter(pl.col("key").str.count_matches(" ", literal=True) == 1).drop("key")
    asked = queries.select("q", pl.col("word").alias("genus"), "epithet")
    in_genus = _having(names, asked, "genus")
    found = [
        _blocks(_block(asked, "genus", "epithet"), _block(in_genus, "genus", "epithet")),
        _same_stem(asked, in_genus),
        _blocks(
            _block(asked, "epithet", "genus"), _block(_having(names, asked, "epithet"), "epithet", "genus")
        ),
    ]
    done = pl.concat(found)
    rest = asked.join(done, on="q", how="anti")
    genera = names.select("genus").unique().collect(engine="streaming").with_row_index("row")
    misspelt = rest.select("genus").unique().with_row_index("q")
    near = _similar(misspelt, genera).filter(pl.col("distance") == 1)
    near = near.join(misspelt, on="q").select("genus", "row").join(genera.rename({"genus": "near"}), on="row")
    rest = rest.join(near.select("genus", "near"), on="genus").drop("genus").rename({"near": "genus"})
    twice = _blocks(
        _block(rest, "genus", "epithet"), _block(_having(names, rest, "genus"), "genus", "epithet")
    )
    return pl.concat([done, twice.with_columns(pl.col("distance") + 1)])


def _near_words(queries: pl.DataFrame, backbone: Backbone) -> pl.DataFrame:
    names = backbone.names.filter(pl.col("epithet") == "").select("row", "genus").collect(engine="streaming")
    return _similar(queries.select("q", pl.col("word").alias("genus")), names)


def _similar(asked: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """q, row, distance of words that are near and begin with the same three letters or end with the same five.

    Short words have too few letters for that: they are near if both are the same less one letter. `asked`: q,
    genus;
    `names`: row, genus.
    """
    word = pl.col("word")
    # A first letter too many or too few moves the capital.
    both = [table.rename({"genus": "word"}).with_columns(word.str.to_lowercase()) for table in (asked, names)]
    found = []
    for block in (word.str.slice(0, 3), word.str.slice(-5)):
        found.append(_blocks(*(table.with_columns(block.alias("block")) for table in both)))
    less = pl.concat_list(word, *(word.str.slice(0, i) + word.str.slice(i + 1) for i in range(_SHORT)))
    short = (table.filter(word.str.len_chars() <= _SHORT).with_columns(less.alias("block")) for table in both)
    found.append(_blocks(*(table.explode("block").unique() for table in short)))
    return pl.concat(found).unique()


def _having(names: pl.LazyFrame, asked: pl.DataFrame, column: str) -> pl.DataFrame:
    return names.join(asked.lazy().select(column).unique(), on=column, how="semi").collect(engine="streaming")


def _block(table: pl.DataFrame, block: str, word: str) -> pl.DataFrame:
    return table.select(
        table.columns[0], pl.col(block).alias("block"), pl.col(word).str.to_lowercase().alias("word")
    )


def _same_stem(asked: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Epithets that differ in their gender or in common spellings: one edit, whatever the letters."""
    stem = pl.col("epithet")
    for pattern, replacement in _ENDINGS:
        stem = stem.str.replace_all(pattern, replacement)
    stem = stem.alias("stem")
    pairs = asked.with_columns(stem).join(names.with_columns(stem), on=["genus", "stem"], how="inner")
    pairs = pairs.filter(pl.col("stem").str.len_chars() > 2)
    return pairs.select("q", "row", pl.lit(1, pl.UInt8).alias("distance"))


def _allowed(length: int) -> int:
    """How many edits a word of this length may have: short words become others by one letter."""
    return 0 if length < 4 else 1 if length < 6 else _EDITS


def _blocks(asked: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """q, row, distance of the words that are near, of those of the same block."""
    asked = asked.join(names.select("block").unique(), on="block", how="semi")
    names = names.join(asked.select("block").unique(), on="block", how="semi")
    grouped = names.group_by("block").agg(pl.col("row"), pl.col("word").alias("names"))
    grouped = asked.group_by("block").agg("q", "word").join(grouped, on="block")
    found = [_nearest(*row) for row in grouped.select("q", "word", "row", "names").iter_rows()]
    columns = [np.concatenate(parts) for parts in zip(*found)] if found else [np.zeros(0, np.int64)] * 3
    types = {"q": pl.UInt32, "row": pl.UInt32, "distance": pl.UInt8}
    return pl.DataFrame(
        [pl.Series(name, values, dtype=kind) for (name, kind), values in zip(types.items(), columns)]
    )


def _nearest(q: list[int], words: list[str], rows: list[int], names: list[str]) -> tuple[np.ndarray, ...]:
    allowed = np.array([_allowed(len(word)) for word in words], np.uint8)
    step = max(1, _CELLS // len(names))
    found = []
    for start in range(0, len(words), step):
        piece = words[start : start + step]
        workers = -1 if len(piece) * len(names) > _LARGE else 1
        distances = cdist(
            piece, names, scorer=OSA.distance, score_cutoff=_EDITS, dtype=np.uint8, workers=workers
        )
        near = distances <= allowed[start : start + step, None]
        # Equal words are near too, where they come from unequal blocks.
        i, j = near.nonzero()
        found.append((np.array(q[start : start + step])[i], np.array(rows)[j], distances[i, j]))
    return tuple(np.concatenate(parts) for parts in zip(*found))
