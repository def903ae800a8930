"""Top-k accuracy, and accuracy at every taxonomic rank, from image and class embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from bioclip_jax.predict import softmax
from bioclip_jax.text import RANKS, Taxon

# Rows of the images-by-classes matrix held in memory at a time.
_CHUNK = 1024


@dataclass(frozen=True)
class RankScore:
    """Result at one rank.

    accuracy: over the `n` images whose lineage is known to that rank and shared by a candidate (a species
    outside the candidates can still count at its family). chance: 1 / number of taxa at the rank. majority:
    accuracy of always predicting the most common true taxon.
    """

    accuracy: float
    n: int
    chance: float
    majority: float


@dataclass(frozen=True)
class RankedPredictions:
    """Predictions for n images, and their correctness.

    position: number of classes with a higher score than the true one (0: correct), -1 for an image without a
    class. predicted: class with the highest score. confidence: its probability. rank_scores: results by rank.
    rank_correct, rank_confidence: correctness and probability of the predicted taxon, by rank, for the images
    that count at that rank.
    """

    position: Int[np.ndarray, " n"]
    predicted: Int[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]
    rank_scores: Mapping[str, RankScore] = field(default_factory=dict)
    rank_correct: Mapping[str, Bool[np.ndarray, " known"]] = field(default_factory=dict)
    rank_confidence: Mapping[str, Float[np.ndarray, " known"]] = field(default_factory=dict)

    def top_k_accuracy(self, k: int) -> float | None:
        """Share of images whose true class is among the first k; None if no image has a class."""
        known = self.position[self.position >= 0]
        return int((known < k).sum()) / len(known) if len(known) else None


def rank_predictions(
    images: Float[np.ndarray, "n dim"],
    classes: Float[np.ndarray, "classes dim"],
    labels: Int[np.ndarray, " n"],
    scale: float,
    truths: Sequence[Taxon] | None = None,
    candidates: Sequence[Taxon] | None = None,
) -> RankedPredictions:
    """Rank the classes of each image by cosine, and sum their probabilities by rank, in one pass.

    images, classes: unit vectors. labels: row of each image's class, -1 for none. scale: logit scale. Among
    equal cosines the first class wins; NaN ranks last, and a NaN probability counts as 0.

    truths, candidates: taxon of each image and of each class; without them there are no results by rank. As
    in pybioclip, P(taxon | image) is the sum of softmax(scale * cosine) over the candidates that share the
    whole lineage from the kingdom down. Ranks at which no image counts are absent.
    """
    tree = None if candidates is None else _Tree(truths, candidates)
    groups = [] if tree is None else tree.groups
    position, predicted = np.empty(len(images), np.int64), np.empty(len(images), np.int64)
    confidence = np.empty(len(images))
    predicted_group = {group.rank: np.empty(len(images), np.int64) for group in groups}
    group_confidence = {group.rank: np.empty(len(images)) for group in groups}
    for start in range(0, len(images), _CHUNK):
        rows = slice(start, start + _CHUNK)
        cosines = images[rows] @ classes.T
        position[rows] = _positions(cosines, labels[rows])
        predicted[rows] = np.where(np.isnan(cosines), -np.inf, cosines).argmax(axis=1)
        probabilities = np.nan_to_num(softmax(scale * cosines))
        confidence[rows] = probabilities.max(axis=1)
        for rank, best, probability in () if tree is None else tree.predict(probabilities):
            predicted_group[rank][rows], group_confidence[rank][rows] = best, probability
    scores, correct, rank_confidence = {}, {}, {}
    for group in groups:
        if (known := group.labels >= 0).any():
            hits = correct[group.rank] = predicted_group[group.rank][known] == group.labels[known]
            rank_confidence[group.rank] = group_confidence[group.rank][known]
            n = int(known.sum())
            scores[group.rank] = RankScore(
                accuracy=int(hits.sum()) / n,
                n=n,
                chance=1 / len(group.starts),
                majority=int(np.bincount(group.labels[known]).max()) / n,
            )
    return RankedPredictions(position, predicted, confidence, scores, correct, rank_confidence)


def _positions(
    cosines: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Number of classes ranked above the true one, -1 for an image without a class."""
    true = np.maximum(labels, 0)[:, None]
    value = np.take_along_axis(cosines, true, axis=1)
    above = (cosines > value) | ((cosines == value) & (np.arange(cosines.shape[1]) < true))
    # NaN compares as neither above nor below, and must not count as a hit.
    position = np.where(np.isfinite(value[:, 0]), above.sum(axis=1), max(cosines.shape[1], 1 << 30))
    return np.where(labels >= 0, position, -1)


@dataclass(frozen=True)
class _Groups:
    """Candidates of one rank, grouped by lineage and ordered by each group's first candidate.

    starts: first row of each group among the groups of the rank below, which are sorted by lineage. order:
    permutation from there to the order of first candidates. labels: true group of each image, -1 for none.
    """

    rank: str
    starts: Int[np.ndarray, " groups"]
    order: Int[np.ndarray, " groups"]
    labels: Int[np.ndarray, " n"]


class _Tree:
    """Groups of all ranks; sorted by lineage they are contiguous, so each rank sums up the one below."""

    def __init__(self, truths: Sequence[Taxon], candidates: Sequence[Taxon]) -> None:
        lineages = [candidate.lineage() for candidate in candidates]
        self._order = np.array(sorted(range(len(lineages)), key=lineages.__getitem__), np.int64)
        true = [truth.lineage() for truth in truths]
        below = np.arange(len(lineages))
        groups = []
        for depth in range(len(RANKS), 0, -1):
            number = {
                part: n for n, part in enumerate(dict.fromkeys(lineage[:depth] for lineage in lineages))
            }
            numbers = np.array([number[lineages[row][:depth]] for row in self._order], np.int64)
            starts = np.flatnonzero(np.diff(numbers, prepend=-1))
            # Classes without a name at this rank form a group that can be predicted, but is never correct.
            labels = [number.get(part[:depth], -1) if part[depth - 1] else -1 for part in true]
            order = np.argsort(numbers[starts])
            groups.append(
                _Groups(RANKS[depth - 1], np.searchsorted(below, starts), order, np.array(labels, np.int64))
            )
            below = starts
        self.groups = groups[::-1]

    def predict(
        self, probabilities: Float[np.ndarray, "n classes"]
    ) -> Iterator[tuple[str, Int[np.ndarray, " n"], Float[np.ndarray, " n"]]]:
        """Yield rank, most probable group of each image and its probability."""
        sums = probabilities[:, self._order]
        for group in reversed(self.groups):
            sums = np.add.reduceat(sums, group.starts, axis=1)
            # Among equally probable groups, take the one with the first candidate.
            best = sums[:, group.order].argmax(axis=1)
            yield group.rank, best, np.take_along_axis(sums, group.order[best][:, None], axis=1)[:, 0]
