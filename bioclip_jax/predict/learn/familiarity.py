"""Familiarity of an image: a conformal p-value of its distance to the training photographs.

The distance of a vector is the mean of 1 - cosine to its nearest training photographs. It is compared with
the distances of the training photographs to their own nearest neighbors, those of the same occasion left out,
so that about a share P of new photographs like them has a familiarity below P (Vovk et al. 2005, Algorithmic
Learning in a Random World; Laxhammar and Falkman 2010).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int

from bioclip_jax.predict.embedding import unit
from bioclip_jax.predict.progress import track

NEIGHBORS = 3
# Training photographs whose own distances are computed, evenly spaced.
_MOST_CALIBRATED = 5_000
_BLOCK = 512


class Familiarity(NamedTuple):
    """Training photographs as a reference.

    vectors: of all of them. distances: of some to their own neighbors, ascending. neighbors: their number.
    """

    vectors: Float32[np.ndarray, "n dim"]
    distances: Float32[np.ndarray, " calibrated"]
    neighbors: int

    def __call__(self, features: Float32[np.ndarray, "m dim"]) -> Float32[np.ndarray, " m"]:
        """Return the share of training photographs at least as far from their neighbors, above 0, up to 1.

        Directions count. The mean of an event's unit vectors is shorter than 1, and would otherwise be far
        from every photograph. As the noise of its frames averages out, an event is usually a little more
        familiar than its frames are.
        """
        return self.of_distances(neighbor_distances(unit(features), self.vectors, self.neighbors))

    def of_distances(self, distances: Float32[np.ndarray, " m"]) -> Float32[np.ndarray, " m"]:
        """Return the familiarity at distances; the image itself counts as one of those that are as far."""
        at_least_as_far = len(self.distances) - np.searchsorted(self.distances, distances, side="left")
        return ((1 + at_least_as_far) / (1 + len(self.distances))).astype(np.float32)


def fit_familiarity(
    vectors: Float32[np.ndarray, "n dim"], groups: Int[np.ndarray, " n"]
) -> tuple[Familiarity, Float32[np.ndarray, " calibrated"], Int[np.ndarray, " calibrated"]]:
    """Return the reference, and the distances of the calibrated photographs with their indices.

    groups: of each photograph, whose members are no neighbors of each other.
    """
    rows = np.arange(0, len(vectors), -(-len(vectors) // _MOST_CALIBRATED))
    most = len(vectors) - int(np.bincount(groups).max())
    neighbors = max(1, min(NEIGHBORS, most))
    distances = np.concatenate(
        [
            _nearest_mean(1 - vectors[block] @ vectors.T, groups[block][:, None] == groups, neighbors)
            for block in track(
                np.array_split(rows, -(-len(rows) // _BLOCK)), "comparing", len(rows) // _BLOCK
            )
        ]
    )
    return Familiarity(vectors, np.sort(distances), neighbors), distances, rows


def neighbor_distances(
    features: Float32[np.ndarray, "m dim"], vectors: Float32[np.ndarray, "n dim"], neighbors: int
) -> Float32[np.ndarray, " m"]:
    """Return the mean of 1 - cosine to the nearest vectors."""
    if not len(features):
        return np.zeros(0, np.float32)
    blocks = (features[start : start + _BLOCK] for start in range(0, len(features), _BLOCK))
    return np.concatenate([_nearest_mean(1 - block @ vectors.T, None, neighbors) for block in blocks])


def _nearest_mean(
    distances: Float32[np.ndarray, "rows n"], excluded: np.ndarray | None, neighbors: int
) -> Float32[np.ndarray, " rows"]:
    if excluded is not None:
        distances = np.where(excluded, np.float32(np.inf), distances)
    nearest = np.partition(distances, neighbors - 1, axis=1)[:, :neighbors]
    # A photograph of a group that holds nearly all has fewer neighbors.
    finite = np.isfinite(nearest)
    sums = np.where(finite, nearest, 0).sum(axis=1)
    return (sums / np.maximum(finite.sum(axis=1), 1)).astype(np.float32)
