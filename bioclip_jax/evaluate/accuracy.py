"""Right or wrong, at every rank: what class probabilities are worth against true taxa."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
import numpy as np
from jaxtyping import Float, Int

from bioclip_jax.predict.head import softmax
from bioclip_jax.text.taxon import RANKS, Taxon

# Rows of the images-by-classes matrix that are held at a time.
_CHUNK = 1024


@dataclass(frozen=True)
class RankScore:
    """One rank's result.

    accuracy: over `n` images, those whose lineage to that rank is known and is that of some candidate (a species
    never trained on has none at species rank, but has its family's). chance: one over the number of taxa to choose
    from. majority: what naming the commonest true taxon would reach.
    """

    accuracy: float
    n: int
    chance: float
    majority: float


def top_k_accuracy(
    images: Float[np.ndarray, "n dim"],
    classes: Float[np.ndarray, "classes dim"],
    labels: Int[np.ndarray, " n"],
    k: int,
) -> float | None:
    """The share of images whose true class is among the k of the largest cosine; None without a labelled image.

    Images and classes are unit vectors; a label is a row of `classes`, or -1 for an image that has no class there,
    which is left out. Among equal cosines the class that stands first in `classes` is ahead.
    """
    images, labels = images[labels >= 0], labels[labels >= 0]
    hits = 0
    for start in range(0, len(images), _CHUNK):
        cosines = images[start : start + _CHUNK] @ classes.T
        true = labels[start : start + _CHUNK, None]
        value = np.take_along_axis(cosines, true, axis=1)
        ahead = (cosines > value) | ((cosines == value) & (np.arange(len(classes)) < true))
        # A value that is not a number is ahead of nothing and behind nothing; it must not count as a hit.
        hits += int(((ahead.sum(axis=1) < k) & np.isfinite(value[:, 0])).sum())
    return hits / len(images) if len(images) else None


def rank_accuracy(
    images: Float[np.ndarray, "n dim"],
    classes: Float[np.ndarray, "classes dim"],
    scale: float,
    truths: Sequence[Taxon],
    candidates: Sequence[Taxon],
) -> dict[str, RankScore]:
    """Accuracy at every rank, where a class's probability counts for each of its ancestors, as in pybioclip.

    P(taxon | image) is the sum of softmax(scale * cosine) over the candidates that share its whole lineage from the
    kingdom down; the largest is the answer.

    Args: `truths`, the true taxon of each image; `candidates`, the taxon of each class.
    Returns: by rank; ranks without an image are left out.
    """
    groups = [_Groups.at(rank, truths, candidates) for rank in RANKS]
    hits = Counter()
    for start in range(0, len(images), _CHUNK):
        rows = slice(start, start + _CHUNK)
        probabilities = softmax(scale * (images[rows] @ classes.T))
        for group in groups:
            hits[group.rank] += int((group.answers(probabilities) == group.labels[rows]).sum())
    result = {}
    for group in groups:
        known = group.labels[group.labels >= 0]
        if len(known):
            result[group.rank] = RankScore(
                accuracy=hits[group.rank] / len(known),
                n=len(known),
                chance=1 / len(group.starts),
                majority=int(np.bincount(known).max()) / len(known),
            )
    return result


@dataclass(frozen=True)
class _Groups:
    """The candidates of one rank, grouped by lineage: `order` puts a group's classes side by side from its start."""

    rank: str
    order: Int[np.ndarray, " classes"]
    starts: Int[np.ndarray, " groups"]
    labels: Int[np.ndarray, " n"]  # the true group of each image, -1 where there is none

    @classmethod
    def at(cls, rank: str, truths: Sequence[Taxon], candidates: Sequence[Taxon]) -> _Groups:
        lineages = [candidate.lineage(rank) for candidate in candidates]
        number = {lineage: n for n, lineage in enumerate(dict.fromkeys(lineages))}
        of_class = np.array([number[lineage] for lineage in lineages], dtype=np.int64)
        order = np.argsort(of_class, kind="stable")
        starts = np.flatnonzero(np.diff(of_class[order], prepend=-1))
        # A group of classes that have no name at this rank can be answered, wrongly, but is nobody's truth.
        true = (truth.lineage(rank) for truth in truths)
        labels = np.array([number.get(lineage, -1) if lineage[-1] else -1 for lineage in true], dtype=np.int64)
        return cls(rank, order, starts, labels)

    def answers(self, probabilities: Float[np.ndarray, "n classes"]) -> Int[np.ndarray, " n"]:
        return np.add.reduceat(probabilities[:, self.order], self.starts, axis=1).argmax(axis=1)
