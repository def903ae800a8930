"""Photographs to look at again: probable label errors, near-identical ones of two classes, and odd ones."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from .folds import NEAR_IDENTICAL

COLUMNS = ("filepath", "label", "predicted", "probability", "reason", "beside")
LABEL_ERROR = "the other photographs speak for another class"
TWO_CLASSES = "near-identical to a photograph of another class"
ODD = "far from all other photographs"
# Photographs among which near-identical ones of other classes are searched, at most.
_MOST_COMPARED = 20_000
_BLOCK = 1024
_PROBABLE = 0.5
_MOST_TWO_CLASSES = 500
# Label errors that are listed: the most probable, up to a share of the photographs. A weak head contradicts
# many labels that are right.
_LEAST_LISTED, _SHARE_LISTED = 20, 0.05


class Suspect(NamedTuple):
    """One photograph to look at again.

    photograph: its index. predicted: the class that its held-out prediction prefers, None if it was not held
    out. probability: of its own label then. beside: another photograph's index, or None.
    """

    photograph: int
    reason: str
    predicted: int | None = None
    probability: float | None = None
    beside: int | None = None


def find_suspects(
    vectors: Float32[np.ndarray, "n dim"],
    labels: Int[np.ndarray, " n"],
    held: Int[np.ndarray, " held"],
    probabilities: Float[np.ndarray, "held classes"],
    calibrated: Int[np.ndarray, " calibrated"],
    distances: Float32[np.ndarray, " calibrated"],
) -> list[Suspect]:
    """Return photographs to look at again, the most probable label errors first.

    held, probabilities: held-out photographs and their predictions. calibrated, distances: photographs and
    their distances to their own neighbors.
    """
    predicted = probabilities.argmax(axis=1)
    own = probabilities[np.arange(len(held)), labels[held]]
    of_held = {photograph: position for position, photograph in enumerate(held.tolist())}

    def suspect(photograph: int, reason: str, beside: int | None = None) -> Suspect:
        position = of_held.get(photograph)
        if position is None:
            return Suspect(photograph, reason, beside=beside)
        return Suspect(photograph, reason, int(predicted[position]), float(own[position]), beside)

    wrong = np.flatnonzero(label_errors(probabilities, labels[held]))
    wrong = wrong[np.argsort(own[wrong])][: max(_LEAST_LISTED, round(_SHARE_LISTED * len(labels)))]
    suspects = [suspect(int(held[position]), LABEL_ERROR) for position in wrong]
    suspects += [suspect(one, TWO_CLASSES, other) for one, other in _of_two_classes(vectors, labels)]
    suspects += [suspect(int(calibrated[row]), ODD) for row in far_out(distances)]
    return suspects


def label_errors(
    probabilities: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Return True for labels that are probably wrong (confident learning, Northcutt et al. 2021).

    The best other class is at least as probable as it is on average for photographs that do belong to it, or
    as all other classes together: a few photographs of clear classes have averages near 1.
    """
    n, classes = probabilities.shape
    own = probabilities[np.arange(n), labels]
    counts = np.bincount(labels, minlength=classes)
    thresholds = np.bincount(labels, own, classes) / np.maximum(counts, 1)
    thresholds[counts == 0] = np.inf
    thresholds = np.minimum(thresholds, _PROBABLE)
    best = probabilities.argmax(axis=1)
    return (best != labels) & (probabilities[np.arange(n), best] >= thresholds[best])


def far_out(distances: Float32[np.ndarray, " n"]) -> Int[np.ndarray, " outliers"]:
    """Return the positions of Tukey's far outliers, beyond three quartile distances, farthest first."""
    low, high = np.quantile(distances, [0.25, 0.75])
    outliers = np.flatnonzero(distances > high + 3 * (high - low))
    return outliers[np.argsort(-distances[outliers])] if high > low else outliers[:0]


def _of_two_classes(
    vectors: Float32[np.ndarray, "n dim"], labels: Int[np.ndarray, " n"]
) -> list[tuple[int, int]]:
    """Return the near-identical pairs of photographs of different classes, nearest first."""
    if len(vectors) > _MOST_COMPARED:
        return []
    pairs = np.random.default_rng(0).integers(len(vectors), size=(20_000, 2))
    pairs = pairs[(labels[pairs[:, 0]] == labels[pairs[:, 1]]) & (pairs[:, 0] != pairs[:, 1])]
    if not len(pairs):
        return []
    within = 1 - np.einsum("pd,pd->p", vectors[pairs[:, 0]], vectors[pairs[:, 1]])
    limit = NEAR_IDENTICAL * float(np.median(within))
    found: list[tuple[float, int, int]] = []
    for start in range(0, len(vectors), _BLOCK):
        distances = 1 - vectors[start : start + _BLOCK] @ vectors.T
        ones, others = np.nonzero((distances <= limit) & (labels[start : start + _BLOCK, None] != labels))
        for one, other in zip(ones.tolist(), others.tolist()):
            if other > one + start:
                found.append((float(distances[one, other]), one + start, other))
    return [(one, other) for _, one, other in sorted(found)[:_MOST_TWO_CLASSES]]


def write_suspects(
    path: Path,
    suspects: Sequence[Suspect],
    paths: Sequence[str],
    labels: Int[np.ndarray, " n"],
    names: Sequence[str],
) -> None:
    """Write review.csv, a table of images with COLUMNS."""
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for suspect in suspects:
            writer.writerow(
                [
                    paths[suspect.photograph],
                    names[labels[suspect.photograph]],
                    "" if suspect.predicted is None else names[suspect.predicted],
                    "" if suspect.probability is None else f"{suspect.probability:.4g}",
                    suspect.reason,
                    "" if suspect.beside is None else paths[suspect.beside],
                ]
            )
