"""Generalised category discovery: clusters of images some of which are labelled, and how well they fit true classes.

Semi-supervised k-means of Vaze et al. 2022 (https://arxiv.org/abs/2201.02609, section 3.2).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Shaped

# Rows of the images-by-centres matrix that are held at a time.
_CHUNK = 2048
# Half squared distances of unit vectors nearer than this are told apart in float64, so that no machine's
# rounding decides.
_CLOSE = 1e-5


def semi_supervised_kmeans(
    unlabelled: Float32[np.ndarray, "n dim"],
    labelled: Float32[np.ndarray, "m dim"],
    labels: Shaped[np.ndarray, " m"],
    k: int,
    *,
    seed: int,
    iterations: int = 10,
    tolerance: float = 1e-4,
) -> Int[np.ndarray, " n"]:
    """The cluster of each unlabelled vector: 0 to k - 1, of which the first are the labelled classes in sorted order.

    Centres start at the means of the labelled classes; the others are unlabelled vectors that k-means++
    picks. Labelled vectors stay in their class. A cluster that has lost all members keeps its centre. Of all
    iterations, those clusters are returned whose squared distances to the centres that they were found with
    have the smallest sum; the last iteration is the one whose centres move by less than the square root of
    `tolerance`, all distances added up.

    `seed`: of NumPy's RandomState. k is no less than the labelled classes.
    """
    classes, fixed = np.unique(labels, return_inverse=True)
    sums, counts = _sums(labelled, fixed, k)
    fixed_sums, fixed_counts = sums, counts
    centres = sums / np.maximum(counts, 1)[:, None]
    centres[len(classes) :] = _pick(unlabelled, centres[: len(classes)], k, np.random.RandomState(seed))
    squares = _square_sum(unlabelled) + _square_sum(labelled)
    best, lowest = None, np.inf
    for _ in range(iterations):
        clusters = nearest(unlabelled, centres)
        sums, counts = _sums(unlabelled, clusters, k)
        sums, counts = sums + fixed_sums, counts + fixed_counts
        # The sum over all vectors of |x - c|^2, written out, needs no more than the sums that the means need.
        inertia = squares - 2 * np.vdot(sums, centres) + counts @ np.square(centres).sum(axis=1)
        if inertia < lowest:
            best, lowest = clusters, inertia
        moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
        shift = np.linalg.norm(moved - centres, axis=1).sum()
        centres = moved
        if shift**2 < tolerance:
            break
    return best


def cluster_hits(
    true: Shaped[np.ndarray, " n"], predicted: Shaped[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Which images are in the cluster that stands for their class, clusters and classes paired one to one so that most
    are (Kuhn 1955, the Hungarian method); a cluster or class that is left over counts as wrong.
    """
    from scipy.optimize import linear_sum_assignment

    if not len(true):
        return np.zeros(0, bool)
    classes, true = np.unique(true, return_inverse=True)
    clusters, predicted = np.unique(predicted, return_inverse=True)
    counts = np.bincount(predicted * len(classes) + true, minlength=len(clusters) * len(classes))
    rows, columns = linear_sum_assignment(counts.reshape(len(clusters), len(classes)), maximize=True)
    stands_for = np.full(len(clusters), -1)
    stands_for[rows] = columns
    return stands_for[predicted] == true


def nearest(x: Float32[np.ndarray, "n dim"], centres: Float[np.ndarray, "k dim"]) -> Int[np.ndarray, " n"]:
    """The nearest centre of each vector; the first of several."""
    found = np.empty(len(x), np.int64)
    half_squares = np.square(centres).sum(axis=1) / 2
    close_by = np.float32(_CLOSE * np.sqrt(2 * half_squares.max() * np.square(x).sum(axis=1).max(initial=0)))
    rounded, rounded_squares = np.ascontiguousarray(centres.T, np.float32), half_squares.astype(np.float32)
    for start in range(0, len(x), _CHUNK):
        part = x[start : start + _CHUNK]
        distances = rounded_squares - part @ rounded
        best = distances.argmin(axis=1)
        bound = np.take_along_axis(distances, best[:, None], axis=1) + close_by
        close = np.flatnonzero(np.count_nonzero(distances <= bound, axis=1) > 1)
        if len(close):
            best[close] = (half_squares - part[close].astype(np.float64) @ centres.T).argmin(axis=1)
        found[start : start + _CHUNK] = best
    return found


def _pick(
    x: Float32[np.ndarray, "n dim"],
    centres: Float64[np.ndarray, "c dim"],
    k: int,
    random: np.random.RandomState,
) -> Float32[np.ndarray, "rest dim"]:
    """Further centres up to k, each a vector drawn in proportion to its squared distance from all centres before it
    (Arthur and Vassilvitskii 2007).
    """
    squares = np.einsum("nd,nd->n", x, x, dtype=np.float64)
    distances = np.full(len(x), np.inf)
    for start in range(0, len(x), _CHUNK):
        part = slice(start, start + _CHUNK)
        products = x[part] @ centres.T.astype(np.float32)
        distances[part] = (np.square(centres).sum(axis=1) - 2 * products.astype(np.float64)).min(
            axis=1, initial=np.inf
        )
    distances = np.maximum(distances + squares, 0)
    picked = []
    for _ in range(k - len(centres)):
        reach = np.cumsum(distances)
        row = min(int(np.searchsorted(reach, random.rand() * reach[-1])), len(x) - 1)
        picked.append(row)
        # With some BLAS, NumPy warns here at times although all that goes in and comes out is finite.
        with np.errstate(invalid="ignore"):
            products = x @ x[row]
        distances = np.minimum(distances, np.maximum(squares + squares[row] - 2.0 * products, 0))
        # Rounding may leave it a little way from itself.
        distances[row] = 0
    return x[picked]


def _sums(
    x: Float32[np.ndarray, "n dim"], groups: Int[np.ndarray, " n"], k: int
) -> tuple[Float64[np.ndarray, "k dim"], Int[np.ndarray, " k"]]:
    """The sum and the number of each group's vectors."""
    sums = np.zeros((k, x.shape[1]))
    counts = np.bincount(groups, minlength=k)
    there = np.flatnonzero(counts)
    if len(there):
        starts = np.cumsum(counts)[there] - counts[there]
        order = np.argsort(groups, kind="stable")
        sums[there] = np.add.reduceat(x[order], starts, axis=0, dtype=np.float64)
    return sums, counts


def _square_sum(x: Float32[np.ndarray, "n dim"]) -> float:
    return float(np.einsum("nd,nd->", x, x, dtype=np.float64))
