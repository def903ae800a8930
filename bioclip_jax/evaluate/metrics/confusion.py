"""Error analysis: hierarchical distance, confusion with relatives, and accuracy by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from bioclip_jax.evaluate.class_names import Candidate
from bioclip_jax.intervals import wilson_interval
from bioclip_jax.text import RANKS

from .accuracy import RankedPredictions

_MAX_CONFUSIONS = 1000


@dataclass(frozen=True)
class _Predictions:
    """True and predicted class, and error mask, of the images whose class is a candidate."""

    true: Int[np.ndarray, " known"]
    predicted: Int[np.ndarray, " known"]
    wrong: Bool[np.ndarray, " known"]

    @classmethod
    def select(cls, ranked: RankedPredictions, labels: Int[np.ndarray, " n"]) -> _Predictions:
        known = labels >= 0
        return cls(labels[known], ranked.predicted[known], ranked.position[known] != 0)


def error_distances(
    ranked: RankedPredictions, labels: Int[np.ndarray, " n"], candidates: Sequence[Candidate]
) -> dict[str, Any]:
    """Taxonomic distance of predictions from the truth. Every candidate has a taxon.

    Only images whose class is a candidate count. Returns:
      "hierarchical_distance": height of the lowest common ancestor of prediction and truth, in ranks (0: the
        class itself or another name of its species, 1: another of its genus, ... 7: another kingdom),
        Bertinetto et al. 2020 (https://arxiv.org/abs/1912.09393): "mean" over images, "mean_of_errors", and
        "counts", images by distance.
      "sister_confusion": for "genus" and "family" (genus included), {"share": of the errors that predict
        another class in it, "chance": the same for a random wrong class}.
      Means and shares of nothing are None.
    """
    predictions, lineages = _Predictions.select(ranked, labels), _Lineages.number(candidates)
    distance = lineages.distance(predictions.true, predictions.predicted)
    counts = np.bincount(distance, minlength=len(RANKS) + 1)
    true, predicted = predictions.true, predictions.predicted
    sisters = {}
    for rank in ("genus", "family"):
        group = lineages.groups(rank)
        same = (group[predicted] == group[true]) & (group[true] >= 0)
        size = np.bincount(group[group >= 0], minlength=len(candidates))
        chance = np.where(group >= 0, size[group] - 1, 0) / max(len(candidates) - 1, 1)
        wrong = predictions.wrong
        sisters[rank] = {"share": _mean(same[wrong]), "chance": _mean(chance[true[wrong]])}
    return {
        "hierarchical_distance": {
            "mean": _mean(distance),
            "mean_of_errors": _mean(distance[predictions.wrong]),
            "counts": {str(ranks): int(n) for ranks, n in enumerate(counts)},
        },
        "sister_confusion": sisters,
    }


def confusion_tables(
    ranked: RankedPredictions, labels: Int[np.ndarray, " n"], candidates: Sequence[Candidate]
) -> Mapping[str, list[dict[str, Any]]]:
    """Tables by class and by confused pair, over the images whose class is a candidate.

    "taxa", one row per class with images: "name", its ranks, "n", "right", "accuracy" with its interval "low"
      and "high", "most_often_taken_for" and the number of such errors "taken_for_n", and
      "mean_rank_distance" as in `error_distances`.
    "confusions", one row per pair of classes, most common first, 1000 at most: "truth", "answer", "count",
      "share" of the truth's images, and "shared_rank", the lowest that both have in common.
    Classes go by their short names. Ranks, and columns derived from them, need a taxon for every candidate.
    """
    predictions = _Predictions.select(ranked, labels)
    true, predicted = predictions.true, predictions.predicted
    names = [candidate.short_name or candidate.name for candidate in candidates]
    have_taxa = all(candidate.taxon is not None for candidate in candidates)
    n = np.bincount(true, minlength=len(candidates))
    right = np.bincount(true[~predictions.wrong], minlength=len(candidates))
    pairs = Counter(zip(true[predictions.wrong].tolist(), predicted[predictions.wrong].tolist()))
    # Equally common pairs are ordered by class.
    common = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    taken_for: dict[int, tuple[int, int]] = {}
    for (truth, prediction), count in common:
        taken_for.setdefault(truth, (prediction, count))
    if have_taxa:
        each = _Lineages.number(candidates).distance(true, predicted)
        distance = np.bincount(true, each, len(candidates)) / np.maximum(n, 1)

    rows = []
    for number in np.flatnonzero(n).tolist():
        candidate = candidates[number]
        hits, images = int(right[number]), int(n[number])
        low, high = wilson_interval(hits, images)
        other, count = taken_for.get(number, (None, 0))
        row = {"name": names[number]}
        row |= {rank: candidate.taxon.rank(rank) for rank in RANKS} if have_taxa else {}
        row |= {"n": images, "right": hits, "accuracy": hits / images, "low": low, "high": high}
        row |= {"most_often_taken_for": "" if other is None else names[other], "taken_for_n": count}
        row |= {"mean_rank_distance": float(distance[number])} if have_taxa else {}
        rows.append(row)
    confusions = []
    for (truth, prediction), count in common[:_MAX_CONFUSIONS]:
        row = {"truth": names[truth], "answer": names[prediction]}
        row |= {"count": count, "share": count / int(n[truth])}
        row |= {"shared_rank": _shared_rank(candidates[truth], candidates[prediction])} if have_taxa else {}
        confusions.append(row)
    return {"taxa": rows, "confusions": confusions}


@dataclass(frozen=True)
class _Lineages:
    """Number of each class's lineage down to each rank, and the mask of ranks at which it has a name."""

    lineage: Int[np.ndarray, "classes ranks"]
    named: Bool[np.ndarray, "classes ranks"]

    @classmethod
    def number(cls, candidates: Sequence[Candidate]) -> _Lineages:
        lineage = np.empty((len(candidates), len(RANKS)), np.int64)
        for column, rank in enumerate(RANKS):
            number: dict[tuple[str, ...], int] = {}
            for row, candidate in enumerate(candidates):
                lineage[row, column] = number.setdefault(candidate.taxon.lineage(rank), len(number))
        named = np.array([[bool(name) for name in candidate.taxon.lineage()] for candidate in candidates])
        return cls(lineage, named.reshape(lineage.shape))

    def distance(self, one: Int[np.ndarray, " n"], other: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        # Lineages that agree at a rank agree at all ranks above.
        return len(RANKS) - (self.lineage[one] == self.lineage[other]).sum(axis=1)

    def groups(self, rank: str) -> Int[np.ndarray, " classes"]:
        """Number of each class's lineage down to `rank`, -1 for a class without a name there."""
        column = RANKS.index(rank)
        return np.where(self.named[:, column], self.lineage[:, column], -1)


def _shared_rank(one: Candidate, other: Candidate) -> str:
    """Lowest rank to which both lineages are known and equal; "" if even the kingdoms differ."""
    shared = ""
    for rank, name, other_name in zip(RANKS, one.taxon.lineage(), other.taxon.lineage()):
        if name != other_name:
            break
        shared = rank if name else shared
    return shared


def _mean(values: Float[np.ndarray, " n"]) -> float | None:
    return float(np.mean(values)) if len(values) else None
