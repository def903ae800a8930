"""What mistakes among classes look like: how far from the truth, with whom confused, and class by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from bioclip_jax.text import RANKS

from .accuracy import Judged
from .class_names import Candidate
from .intervals import share_interval

# Pairs that are listed.
_MOST_CONFUSIONS = 1000


@dataclass(frozen=True)
class _Answers:
    """The images whose class is a candidate: rows of the true class and of the answer, and which are mistakes."""

    true: Int[np.ndarray, " known"]
    answer: Int[np.ndarray, " known"]
    wrong: Bool[np.ndarray, " known"]

    @classmethod
    def of(cls, judged: Judged, labels: Int[np.ndarray, " n"]) -> _Answers:
        known = labels >= 0
        return cls(labels[known], judged.answer[known], judged.place[known] != 0)


def mistakes(
    judged: Judged, labels: Int[np.ndarray, " n"], candidates: Sequence[Candidate]
) -> dict[str, Any]:
    """How far mistakes are from the truth, over the images whose class is a candidate. Every candidate has a taxon.

    Returns:
      "hierarchical_distance": height of the lowest common ancestor of answer and truth, in ranks (0: the
        class itself or another name of its species, 1: another of its genus, ... 7: another kingdom),
        Bertinetto et al. 2020 (https://arxiv.org/abs/1912.09393): "mean" over images, "mean_of_errors", and
        "counts", images by distance.
      "sister_confusion": for "genus" and "family", which includes the genus, {"share": of the mistakes that
        name another class in it, "chance": what naming one of the wrong classes blindly would give}.
      Means and shares over nothing are None.
    """
    found, height = _Answers.of(judged, labels), _heights(candidates)
    distance = height.between(found.true, found.answer)
    counts = np.bincount(distance, minlength=len(RANKS) + 1)
    sisters = {}
    for rank in ("genus", "family"):
        group = height.groups(rank)
        same = (group[found.answer] == group[found.true]) & (group[found.true] >= 0)
        size = np.bincount(group[group >= 0], minlength=len(candidates))
        alike = np.where(group >= 0, size[group] - 1, 0) / max(len(candidates) - 1, 1)
        sisters[rank] = {"share": _mean(same[found.wrong]), "chance": _mean(alike[found.true[found.wrong]])}
    return {
        "hierarchical_distance": {
            "mean": _mean(distance),
            "mean_of_errors": _mean(distance[found.wrong]),
            "counts": {str(ranks): int(n) for ranks, n in enumerate(counts)},
        },
        "sister_confusion": sisters,
    }


def tables(
    judged: Judged, labels: Int[np.ndarray, " n"], candidates: Sequence[Candidate]
) -> Mapping[str, list[dict[str, Any]]]:
    """Two tables over the images whose class is a candidate; classes have their short names.

    "taxa": a row a class that has images: "name", its ranks, "n", "right", "accuracy", its interval "low" and
      "high", "most_often_taken_for" and how often ("taken_for_n"), and "mean_rank_distance" as in `mistakes`.
    "confusions": a row a pair of classes, the commonest first, 1000 at most: "truth", "answer", "count",
      "share" of the truth's images, "shared_rank", the lowest that both have in common.
    Ranks and what follows from them are left out where a candidate has no taxon.
    """
    found = _Answers.of(judged, labels)
    names = [candidate.short_name or candidate.name for candidate in candidates]
    taxa = all(candidate.taxon is not None for candidate in candidates)
    height = _heights(candidates) if taxa else None
    n = np.bincount(found.true, minlength=len(candidates))
    right = np.bincount(found.true[~found.wrong], minlength=len(candidates))
    pairs = Counter(zip(found.true[found.wrong].tolist(), found.answer[found.wrong].tolist()))
    # Among pairs that are equally common those of the first classes come first.
    common = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    taken_for: dict[int, tuple[int, int]] = {}
    for (true, answer), count in common:
        taken_for.setdefault(true, (answer, count))
    if taxa:
        distance = np.bincount(
            found.true, height.between(found.true, found.answer), len(candidates)
        ) / np.maximum(n, 1)

    rows = []
    for number in np.flatnonzero(n).tolist():
        candidate = candidates[number]
        hits, images = int(right[number]), int(n[number])
        low, high = share_interval(hits, images)
        other, count = taken_for.get(number, (None, 0))
        row = {"name": names[number]}
        row |= {rank: candidate.taxon.rank(rank) for rank in RANKS} if taxa else {}
        row |= {"n": images, "right": hits, "accuracy": hits / images, "low": low, "high": high}
        row |= {"most_often_taken_for": "" if other is None else names[other], "taken_for_n": count}
        row |= {"mean_rank_distance": float(distance[number])} if taxa else {}
        rows.append(row)
    confusions = []
    for (true, answer), count in common[:_MOST_CONFUSIONS]:
        row = {"truth": names[true], "answer": names[answer]}
        row |= {"count": count, "share": count / int(n[true])}
        row |= {"shared_rank": _shared_rank(candidates[true], candidates[answer])} if taxa else {}
        confusions.append(row)
    return {"taxa": rows, "confusions": confusions}


@dataclass(frozen=True)
class _Heights:
    """lineage: for each class and rank the number of its lineage down to there. named: whether it has that rank."""

    lineage: Int[np.ndarray, "classes ranks"]
    named: Bool[np.ndarray, "classes ranks"]

    def between(self, one: Int[np.ndarray, " n"], other: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        # Lineages that are the same at a rank are so at all ranks above.
        return len(RANKS) - (self.lineage[one] == self.lineage[other]).sum(axis=1)

    def groups(self, rank: str) -> Int[np.ndarray, " classes"]:
        """Of each class the number of its lineage down to `rank`, -1 where it has no name there."""
        column = RANKS.index(rank)
        return np.where(self.named[:, column], self.lineage[:, column], -1)


def _heights(candidates: Sequence[Candidate]) -> _Heights:
    lineage = np.empty((len(candidates), len(RANKS)), np.int64)
    for column, rank in enumerate(RANKS):
        number: dict[tuple[str, ...], int] = {}
        for row, candidate in enumerate(candidates):
            lineage[row, column] = number.setdefault(candidate.taxon.lineage(rank), len(number))
    named = np.array([[bool(name) for name in candidate.taxon.lineage()] for candidate in candidates])
    return _Heights(lineage, named.reshape(lineage.shape))


def _shared_rank(one: Candidate, other: Candidate) -> str:
    """The lowest rank to which both lineages are the same and known; "" where not even the kingdom is."""
    shared = ""
    for rank, here, there in zip(RANKS, one.taxon.lineage(), other.taxon.lineage()):
        if here != there:
            break
        shared = rank if here else shared
    return shared


def _mean(values: Float[np.ndarray, " n"]) -> float | None:
    return float(np.mean(values)) if len(values) else None
