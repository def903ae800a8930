"""One image's prediction from kingdom to species: the best taxon of each rank, lineages, and the tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int

from bioclip_jax.predict.rank import Rank
from bioclip_jax.predict.taxa import TaxaNames

# {"name", "rank", "score", "children"}, and "common_name" for a species that has one.
Node = dict[str, Any]


class RankAnswer(NamedTuple):
    """The best taxon of a rank: `row` is one of its species among the classifier's names, `name` the taxon's own."""

    rank: Rank
    row: int
    score: float
    name: str


class Explained(NamedTuple):
    """All about one image.

    species: the best species, rows as the classifier's predict gives them. ranks: the best taxon of each
    rank, from kingdom to species; they need not lie in each other. lineages: for the best taxon of each rank,
    one taxon of every
    rank: those above it, itself, and below it the best within the one above. tree: the taxa of at least the
    share that was asked for, below a root without a name, children best first.
    """

    file_name: str
    species: list[dict[str, Any]]
    ranks: list[RankAnswer]
    lineages: dict[Rank, list[RankAnswer]]
    tree: Node

    def answer(self, floor: float) -> RankAnswer | None:
        """The best taxon of the narrowest rank whose score reaches `floor`; None where no rank's does."""
        return backed_off(self.ranks, floor)

    def lineage(self, floor: float) -> list[RankAnswer]:
        """The lineage of `answer`; without an answer, that of the best kingdom."""
        answer = self.answer(floor)
        return self.lineages[Rank.KINGDOM if answer is None else answer.rank]


def backed_off(ranks: Sequence[RankAnswer], floor: float) -> RankAnswer | None:
    """The answer of the narrowest rank whose score reaches `floor`; None where no rank's does.

    `ranks`: from the widest to the narrowest. A rank where the best taxon has no name is no answer.
    """
    return next((answer for answer in reversed(ranks) if answer.score >= floor and answer.name), None)


def lineage_through(
    names: TaxaNames,
    sums: Mapping[Rank, Float32[np.ndarray, " groups"]],
    answer: RankAnswer,
    species_scores: Callable[[Int[np.ndarray, " rows"]], Float32[np.ndarray, " rows"]],
) -> list[RankAnswer]:
    """A taxon of each rank, each within the one before: those above `answer`, itself, then the best below it.

    `sums`: as build_tree's. `species_scores`: the image's probabilities of some rows of `names`.
    """
    lineage: list[RankAnswer] = []
    for rank in Rank:
        if rank.value < answer.rank.value:
            group = int(names.groups(rank, np.array([answer.row]))[0])
            row, score = answer.row, float(sums[rank][group])
        elif rank is answer.rank:
            lineage.append(answer)
            continue
        else:
            start, stop = _rows_of(names, lineage[-1])
            if rank is Rank.SPECIES:
                scores = species_scores(np.arange(start, stop))
                row, score = start + int(scores.argmax()), float(scores.max())
            else:
                first, last = names.groups(rank, np.array([start, stop - 1])).tolist()
                group = first + int(sums[rank][first : last + 1].argmax())
                row, score = int(names.starts(rank)[group]), float(sums[rank][group])
        lineage.append(RankAnswer(rank, row, score, names.row(row, rank)[rank.get_label()]))
    return lineage


def _rows_of(names: TaxaNames, taxon: RankAnswer) -> tuple[int, int]:
    """The first row of a taxon above species, and the row behind its last."""
    starts = np.append(names.starts(taxon.rank), len(names))
    group = int(names.groups(taxon.rank, np.array([taxon.row]))[0])
    return int(starts[group]), int(starts[group + 1])


def build_tree(
    names: TaxaNames,
    sums: Mapping[Rank, Float32[np.ndarray, " groups"]],
    species_rows: Int[np.ndarray, " k"],
    species_scores: Float32[np.ndarray, " k"],
    share: float,
) -> Node:
    """The taxa of at least `share`, each below its parent.

    `sums`: one image's probabilities of all taxa of each rank above species, in the order of names.starts.
    `species_rows`, `species_scores`: its most probable species, all of at least `share` among them.
    """
    scores = {int(row): float(score) for row, score in zip(species_rows, species_scores) if score >= share}
    levels = {Rank.SPECIES: scores}
    rows = np.array(sorted(scores), np.int64)
    for rank in reversed(list(Rank)[: Rank.SPECIES.value]):
        # A parent's sum is rounded otherwise than its child's, so its own comparison with `share` may fail.
        groups = np.union1d(np.flatnonzero(sums[rank] >= share), names.groups(rank, rows)).astype(np.int64)
        rows = names.starts(rank)[groups]
        levels[rank] = dict(zip(rows.tolist(), sums[rank][groups].tolist()))
    root: Node = {"name": "", "rank": "", "score": 1.0, "children": []}
    parents = {0: root}
    parent_starts = np.zeros(1, np.int64)
    for rank in Rank:
        nodes: dict[int, Node] = {}
        for row, score in sorted(levels[rank].items(), key=lambda item: -item[1]):
            values = names.row(row, rank)
            node: Node = {
                "name": values[rank.get_label()],
                "rank": rank.get_label(),
                "score": score,
                "children": [],
            }
            if values.get("common_name"):
                node["common_name"] = values["common_name"]
            parents[int(parent_starts[np.searchsorted(parent_starts, row, side="right") - 1])][
                "children"
            ].append(node)
            nodes[row] = node
        parents = nodes
        if rank is not Rank.SPECIES:
            parent_starts = names.starts(rank)
    return root
