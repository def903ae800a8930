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


class RankPrediction(NamedTuple):
    """The best taxon of a rank: its name, and the row of one of its species in the classifier's names."""

    rank: Rank
    row: int
    score: float
    name: str


class Explanation(NamedTuple):
    """The prediction of one image at all ranks.

    species: the best species, as rows of the classifier's predict. ranks: the best taxon of each rank, from
    kingdom to species; they need not contain each other. lineages: for the best taxon of each rank, one taxon
    of every rank: those above it, itself, and below it the best within the one above. tree: the taxa of at
    least the requested share below a nameless root, children best first.
    """

    file_name: str
    species: list[dict[str, Any]]
    ranks: list[RankPrediction]
    lineages: dict[Rank, list[RankPrediction]]
    tree: Node

    def prediction(self, threshold: float) -> RankPrediction | None:
        """Return the best taxon of the lowest rank whose score reaches `threshold`, or None."""
        return lowest_reaching(self.ranks, threshold)

    def lineage(self, threshold: float) -> list[RankPrediction]:
        """Return the lineage of `prediction`; without one, that of the best kingdom."""
        prediction = self.prediction(threshold)
        return self.lineages[Rank.KINGDOM if prediction is None else prediction.rank]


def lowest_reaching(ranks: Sequence[RankPrediction], threshold: float) -> RankPrediction | None:
    """Return the named prediction of the lowest rank whose score reaches `threshold`, or None.

    ranks: from kingdom down.
    """
    return next((best for best in reversed(ranks) if best.score >= threshold and best.name), None)


def lineage_through(
    names: TaxaNames,
    sums: Mapping[Rank, Float32[np.ndarray, " groups"]],
    prediction: RankPrediction,
    species_scores: Callable[[Int[np.ndarray, " rows"]], Float32[np.ndarray, " rows"]],
) -> list[RankPrediction]:
    """Return a taxon of each rank, each within the last: those above `prediction`, itself, the best below it.

    sums: as build_tree. species_scores: the image's probabilities of some rows of `names`.
    """
    lineage: list[RankPrediction] = []
    for rank in Rank:
        if rank.value < prediction.rank.value:
            group = int(names.groups(rank, np.array([prediction.row]))[0])
            row, score = prediction.row, float(sums[rank][group])
        elif rank is prediction.rank:
            lineage.append(prediction)
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
        lineage.append(RankPrediction(rank, row, score, names.row(row, rank)[rank.get_label()]))
    return lineage


def _rows_of(names: TaxaNames, taxon: RankPrediction) -> tuple[int, int]:
    """Return the first row of a taxon above species, and the row after its last."""
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
    """Build the tree of taxa with a probability of at least `share`.

    sums: one image's probabilities of all taxa of each rank above species, in the order of names.starts.
    species_rows, species_scores: its most probable species, including all of at least `share`.
    """
    scores = {int(row): float(score) for row, score in zip(species_rows, species_scores) if score >= share}
    levels = {Rank.SPECIES: scores}
    rows = np.array(sorted(scores), np.int64)
    for rank in reversed(list(Rank)[: Rank.SPECIES.value]):
        # Rounding may leave a parent's sum just below `share` although its child reaches it.
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
