"""Generalized category discovery: semi-supervised k-means, and clustering accuracy by optimal matching.

Method of Vaze et al. 2022 (https://arxiv.org/abs/2201.02609, section 3.2).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Shaped

# Rows of the images-by-centers matrix held in memory at a time.
_CHUNK = 2048
# Half squared distances of unit vectors that differ by less than this are recomputed in float64, so that
# rounding of float32 products never decides.
_CLOSE = 1e-5


def semi_supervised_kmeans(
    unlabeled: Float32[np.ndarray, "n dim"],
    labeled: Float32[np.ndarray, "m dim"],
    labels: Shaped[np.ndarray, " m"],
    k: int,
    *,
    seed: int,
    iterations: int = 10,
    tolerance: float = 1e-4,
) -> Int[np.ndarray, " n"]:
    """Return the cluster (0 to k - 1) of each unlabeled vector.

    The first clusters are the labeled classes, sorted. Centers start at the means of the labeled classes,
    the others at unlabeled vectors picked by k-means++. Labeled vectors stay in their class. An empty
    cluster keeps its center. The clusters of the iteration with the smallest sum of squared distances
    win; iterations end once the centers' shifts sum to less than the square root of `tolerance`.

    seed: of NumPy's RandomState. k: at least the number of labeled classes.
    """
    classes, fixed = np.unique(labels, return_inverse=True)
    sums, counts = _sums(labeled, fixed, k)
    fixed_sums, fixed_counts = sums, counts
    centers = sums / np.maximum(counts, 1)[:, None]
    centers[len(classes) :] = _pick(unlabeled, centers[: len(classes)], k, np.random.RandomState(seed))
    squares = _square_sum(unlabeled) + _square_sum(labeled)
    best, lowest = None, np.inf
    for _ in range(iterations):
        clusters = nearest_center(unlabeled, centers)
        sums, counts = _sums(unlabeled, clusters, k)
        sums, counts = sums + fixed_sums, counts + fixed_counts
        # Sum of |x - c|^2 over all vectors, expanded: it needs only the sums that the means need.
        inertia = squares - 2 * np.vdot(sums, centers) + counts @ np.square(centers).sum(axis=1)
        if inertia < lowest:
            best, lowest = clusters, inertia
        moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centers)
        shift = np.linalg.norm(moved - centers, axis=1).sum()
        centers = moved
        if shift**2 < tolerance:
            break
    return best


def cluster_hits(
    true: Shaped[np.ndarray, " n"], predicted: Shaped[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Return the mask of images in the cluster matched to their class.

    The one-to-one matching maximizes the number of hits (Kuhn 1955, the Hungarian method); unmatched
    clusters and classes are wrong.
    """
    from scipy.optimize import linear_sum_assignment

    if not len(true):
        return np.zeros(0, bool)
    classes, true = np.unique(true, return_inverse=True)
    clusters, predicted = np.unique(predicted, return_inverse=True)
    counts = np.bincount(predicted * len(classes) + true, minlength=len(clusters) * len(classes))
    rows, columns = linear_sum_assignment(counts.reshape(len(clusters), len(classes)), maximize=True)
    class_of_cluster = np.full(len(clusters), -1)
    class_of_cluster[rows] = columns
    return class_of_cluster[predicted] == true


def nearest_center(
    x: Float32[np.ndarray, "n dim"], centers: Float[np.ndarray, "k dim"]
) -> Int[np.ndarray, " n"]:
    """Return the index of the nearest center of each vector, the first of equals."""
    nearest = np.empty(len(x), np.int64)
    half_squares = np.square(centers).sum(axis=1) / 2
    margin = np.float32(_CLOSE * np.sqrt(2 * half_squares.max() * np.square(x).sum(axis=1).max(initial=0)))
    rounded, rounded_squares = np.ascontiguousarray(centers.T, np.float32), half_squares.astype(np.float32)
    for start in range(0, len(x), _CHUNK):
        part = x[start : start + _CHUNK]
        distances = rounded_squares - part @ rounded
        best = distances.argmin(axis=1)
        bound = np.take_along_axis(distances, best[:, None], axis=1) + margin
        close = np.flatnonzero(np.count_nonzero(distances <= bound, axis=1) > 1)
        if len(close):
            best[close] = (half_squares - part[close].astype(np.float64) @ centers.T).argmin(axis=1)
        nearest[start : start + _CHUNK] = best
    return nearest


def _pick(
    x: Float32[np.ndarray, "n dim"],
    centers: Float64[np.ndarray, "c dim"],
    k: int,
    random: np.random.RandomState,
) -> Float32[np.ndarray, "rest dim"]:
    """Pick further centers up to k by k-means++ (Arthur and Vassilvitskii 2007).

    Each vector is drawn with probability proportional to its squared distance from the nearest center.
    """
    squares = np.einsum("nd,nd->n", x, x, dtype=np.float64)
    distances = np.full(len(x), np.inf)
    for start in range(0, len(x), _CHUNK):
        part = slice(start, start + _CHUNK)
        products = x[part] @ centers.T.astype(np.float32)
        distances[part] = (np.square(centers).sum(axis=1) - 2 * products.astype(np.float64)).min(
            axis=1, initial=np.inf
        )
    distances = np.maximum(distances + squares, 0)
    picked = []
    for _ in range(k - len(centers)):
        cumulative = np.cumsum(distances)
        row = min(int(np.searchsorted(cumulative, random.rand() * cumulative[-1])), len(x) - 1)
        picked.append(row)
        # Some BLAS libraries raise a spurious floating-point flag, although input and output are finite.
        with np.errstate(invalid="ignore"):
            products = x @ x[row]
        distances = np.minimum(distances, np.maximum(squares + squares[row] - 2.0 * products, 0))
        # Rounding may leave a small distance to itself.
        distances[row] = 0
    return x[picked]


def _sums(
    x: Float32[np.ndarray, "n dim"], groups: Int[np.ndarray, " n"], k: int
) -> tuple[Float64[np.ndarray, "k dim"], Int[np.ndarray, " k"]]:
    """Return the sum and the number of each group's vectors."""
    sums = np.zeros((k, x.shape[1]))
    counts = np.bincount(groups, minlength=k)
    nonempty = np.flatnonzero(counts)
    if len(nonempty):
        starts = np.cumsum(counts)[nonempty] - counts[nonempty]
        order = np.argsort(groups, kind="stable")
        sums[nonempty] = np.add.reduceat(x[order], starts, axis=0, dtype=np.float64)
    return sums, counts


def _square_sum(x: Float32[np.ndarray, "n dim"]) -> float:
    return float(np.einsum("nd,nd->", x, x, dtype=np.float64))
