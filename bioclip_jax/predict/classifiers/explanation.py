"""How an answer about one image hangs together from kingdom to species."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int

from bioclip_jax.predict.rank import Rank
from bioclip_jax.predict.taxa.names import TaxaNames

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

    species: the best species, rows as the classifier's predict gives them. ranks: the best taxon of each rank, from
    kingdom to species. tree: the probable taxa below a root without a name, children best first.
    """

    file_name: str
    species: list[dict[str, Any]]
    ranks: list[RankAnswer]
    tree: Node

    def answer(self, floor: float) -> RankAnswer | None:
        """The best taxon of the narrowest rank whose score reaches `floor`; None where no rank's does."""
        return backed_off(self.ranks, floor)


def backed_off(ranks: Sequence[RankAnswer], floor: float) -> RankAnswer | None:
    """The answer of the narrowest rank whose score reaches `floor`; None where no rank's does.

    `ranks`: from the widest to the narrowest. A rank where the best taxon has no name is no answer.
    """
    return next((answer for answer in reversed(ranks) if answer.score >= floor and answer.name), None)


def build_tree(
    names: TaxaNames,
    sums: Mapping[Rank, Float32[np.ndarray, " groups"]],
    species_rows: Int[np.ndarray, " k"],
    species_scores: Float32[np.ndarray, " k"],
    share: float,
) -> Node:
    """The taxa of at least `share`, and the best of every rank, each below its parent.

    `sums`: one image's probabilities of all taxa of each rank above species, in the order of names.starts.
    """
    # Every rank's best, with all that is above it.
    needed = {int(names.starts(rank)[sums[rank].argmax()]) for rank in sums} | {int(species_rows[0])}
    root: Node = {"name": "", "rank": "", "score": 1.0, "children": []}
    parents: dict[int, Node] = {0: root}
    parent_starts = np.zeros(1, np.int64)
    for rank in Rank:
        if rank is Rank.SPECIES:
            found = [(int(row), float(score)) for row, score in zip(species_rows, species_scores)]
        else:
            starts = names.starts(rank)
            above = np.searchsorted(starts, sorted(needed), side="right") - 1
            groups = np.union1d(np.flatnonzero(sums[rank] >= share), above)
            found = [(int(starts[group]), float(sums[rank][group])) for group in groups]
        nodes: dict[int, Node] = {}
        for row, score in sorted(found, key=lambda item: -item[1]):
            parent = parents.get(int(parent_starts[np.searchsorted(parent_starts, row, side="right") - 1]))
            if parent is None or (rank is Rank.SPECIES and score < share and row not in needed):
                continue
            values = names.row(row, rank)
            node: Node = {"name": values[rank.get_label()], "rank": rank.get_label(), "score": score, "children": []}
            if values.get("common_name"):
                node["common_name"] = values["common_name"]
            parent["children"].append(node)
            nodes[row] = node
        parents = nodes
        if rank is not Rank.SPECIES:
            parent_starts = names.starts(rank)
    return root
