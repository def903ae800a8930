"""Right or wrong, at every rank: what class probabilities are worth against true taxa."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from bioclip_jax.predict import softmax
from bioclip_jax.text import RANKS, Taxon

# Rows of the images-by-classes matrix that are held at a time.
_CHUNK = 1024


@dataclass(frozen=True)
class RankScore:
    """One rank's result.

    accuracy: over `n` images, those whose lineage to that rank is known and is that of some candidate (a
    species never trained on has none at species rank, but has its family's). chance: one over the number of
    taxa to choose from. majority: what naming the commonest true taxon would reach.
    """

    accuracy: float
    n: int
    chance: float
    majority: float


@dataclass(frozen=True)
class Judged:
    """What was answered, image by image, and whether it was right.

    place: how many classes are ahead of the true one, 0 where it is the answer; -1 for an image that has no
    class here. answer: the nearest class. confidence: the probability of the answer. ranks: the scores by
    rank; right, sure: by rank, of the images that count there, whether the answer was right and its
    probability.
    """

    place: Int[np.ndarray, " n"]
    answer: Int[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]
    ranks: Mapping[str, RankScore] = field(default_factory=dict)
    right: Mapping[str, Bool[np.ndarray, " known"]] = field(default_factory=dict)
    sure: Mapping[str, Float[np.ndarray, " known"]] = field(default_factory=dict)

    def top(self, k: int) -> float | None:
        """The share of images whose true class is among the first k; None without an image that has a class."""
        known = self.place[self.place >= 0]
        return int((known < k).sum()) / len(known) if len(known) else None


def judge(
    images: Float[np.ndarray, "n dim"],
    classes: Float[np.ndarray, "classes dim"],
    labels: Int[np.ndarray, " n"],
    scale: float,
    truths: Sequence[Taxon] | None = None,
    candidates: Sequence[Taxon] | None = None,
) -> Judged:
    """Everything that top_k_accuracy and rank_accuracy look at, in one pass over images by classes.

    The arguments are theirs; without `truths` and `candidates` there are no ranks. A cosine that is not a
    number is behind all others, and a probability that is none counts as 0.
    """
    tree = None if candidates is None else _Tree(truths, candidates)
    groups = [] if tree is None else tree.groups
    place, answer = np.empty(len(images), np.int64), np.empty(len(images), np.int64)
    confidence = np.empty(len(images))
    answered = {group.rank: np.empty(len(images), np.int64) for group in groups}
    sure = {group.rank: np.empty(len(images)) for group in groups}
    for rows, cosines in _cosines(images, classes):
        place[rows] = _places(cosines, labels[rows])
        answer[rows] = np.where(np.isnan(cosines), -np.inf, cosines).argmax(axis=1)
        probabilities = np.nan_to_num(softmax(scale * cosines))
        confidence[rows] = probabilities.max(axis=1)
        for rank, best, probability in () if tree is None else tree.answers(probabilities):
            answered[rank][rows], sure[rank][rows] = best, probability
    scores, right = {}, {}
    for group in groups:
        if (known := group.labels >= 0).any():
            right[group.rank] = answered[group.rank][known] == group.labels[known]
            sure[group.rank] = sure[group.rank][known]
            scores[group.rank] = RankScore(
                accuracy=int(right[group.rank].sum()) / int(known.sum()),
                n=int(known.sum()),
                chance=1 / len(group.starts),
                majority=int(np.bincount(group.labels[known]).max()) / int(known.sum()),
            )
    return Judged(place, answer, confidence, scores, right, {rank: sure[rank] for rank in right})


def top_k_accuracy(
    images: Float[np.ndarray, "n dim"],
    classes: Float[np.ndarray, "classes dim"],
    labels: Int[np.ndarray, " n"],
    k: int,
) -> float | None:
    """The share of images whose true class is among the k of the largest cosine; None without a labelled image.

    Images and classes are unit vectors; a label is a row of `classes`, or -1 for an image that has no class
    there, which is left out. Among equal cosines the class that stands first in `classes` is ahead.
    """
    images, labels = images[labels >= 0], labels[labels >= 0]
    hits = sum(int((_places(cosines, labels[rows]) < k).sum()) for rows, cosines in _cosines(images, classes))
    return hits / len(images) if len(images) else None


def rank_accuracy(
    images: Float[np.ndarray, "n dim"],
    classes: Float[np.ndarray, "classes dim"],
    scale: float,
    truths: Sequence[Taxon],
    candidates: Sequence[Taxon],
) -> dict[str, RankScore]:
    """Accuracy at every rank, where a class's probability counts for each of its ancestors, as in pybioclip.

    P(taxon | image) is the sum of softmax(scale * cosine) over the candidates that share its whole lineage
    from the kingdom down; the largest is the answer.

    Args: `truths`, the true taxon of each image; `candidates`, the taxon of each class.
    Returns: by rank; ranks without an image are left out.
    """
    unknown = np.full(len(images), -1)
    return dict(judge(images, classes, unknown, scale, truths, candidates).ranks)


def _cosines(
    images: Float[np.ndarray, "n dim"], classes: Float[np.ndarray, "classes dim"]
) -> Iterator[tuple[slice, Float[np.ndarray, "rows classes"]]]:
    for start in range(0, len(images), _CHUNK):
        rows = slice(start, start + _CHUNK)
        yield rows, images[rows] @ classes.T


def _places(cosines: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """How many classes are ahead of the true one; -1 where there is none."""
    true = np.maximum(labels, 0)[:, None]
    value = np.take_along_axis(cosines, true, axis=1)
    ahead = (cosines > value) | ((cosines == value) & (np.arange(cosines.shape[1]) < true))
    # A value that is not a number is ahead of nothing and behind nothing; it must not count as a hit.
    place = np.where(np.isfinite(value[:, 0]), ahead.sum(axis=1), max(cosines.shape[1], 1 << 30))
    return np.where(labels >= 0, place, -1)


@dataclass(frozen=True)
class _Groups:
    """The candidates of one rank, grouped by lineage, in the order of their first candidates.

    starts: where each group begins among the groups of the rank below, which stand by lineage. order: from
    there to the order of first candidates. labels: the true group of each image, -1 where there is none.
    """

    rank: str
    starts: Int[np.ndarray, " groups"]
    order: Int[np.ndarray, " groups"]
    labels: Int[np.ndarray, " n"]


class _Tree:
    """The groups of all ranks. Classes that stand by lineage have every group side by side, so that the sums of one
    rank are made of those below.
    """

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
            of_class = np.array([number[lineages[row][:depth]] for row in self._order], np.int64)
            starts = np.flatnonzero(np.diff(of_class, prepend=-1))
            # A group of classes that have no name at this rank can be answered, wrongly, but is nobody's
            # truth.
            labels = [number.get(part[:depth], -1) if part[depth - 1] else -1 for part in true]
            order = np.argsort(of_class[starts])
            groups.append(
                _Groups(RANKS[depth - 1], np.searchsorted(below, starts), order, np.array(labels, np.int64))
            )
            below = starts
        self.groups = groups[::-1]

    def answers(
        self, probabilities: Float[np.ndarray, "n classes"]
    ) -> Iterator[tuple[str, Int[np.ndarray, " n"], Float[np.ndarray, " n"]]]:
        """At each rank the likeliest group of each image, and its probability."""
        sums = probabilities[:, self._order]
        for group in reversed(self.groups):
            sums = np.add.reduceat(sums, group.starts, axis=1)
            # Among groups that are equally likely, the one whose candidate stands first.
            best = sums[:, group.order].argmax(axis=1)
            yield group.rank, best, np.take_along_axis(sums, group.order[best][:, None], axis=1)[:, 0]
