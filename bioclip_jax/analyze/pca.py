"""Means of groups of vectors, and the principal components of the means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

# Rows converted to float64 at a time.
_CHUNK = 8192


def group_means(
    vectors: Float32[np.ndarray, "n dim"], groups: Int[np.ndarray, " n"], number: int
) -> Float[np.ndarray, "number dim"]:
    """Return the mean vector of each group 0 to number - 1, summed in float64; NaN for an empty group.

    groups: of each row, -1 for none.
    """
    members = np.flatnonzero(groups >= 0)
    members = members[np.argsort(groups[members], kind="stable")]
    sums = np.zeros((number, vectors.shape[1]))
    for start in range(0, len(members), _CHUNK):
        rows = members[start : start + _CHUNK]
        group = groups[rows]
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        sums[group[starts]] += np.add.reduceat(vectors[rows].astype(np.float64), starts, axis=0)
    counts = np.bincount(groups[members], minlength=number)
    return sums / np.where(counts, counts, np.nan)[:, None]


@dataclass(frozen=True)
class Components:
    """Principal components of points with nonzero variance, in decreasing order of variance.

    scores: coordinates of the points. axes: unit vectors, their largest entry positive. center: the points'
    mean. shares: explained variance ratios.
    """

    scores: Float[np.ndarray, "points rank"]
    axes: Float[np.ndarray, "rank dim"]
    center: Float[np.ndarray, " dim"]
    shares: Float[np.ndarray, " rank"]


def principal_components(points: Float[np.ndarray, "points dim"]) -> Components:
    """Return all components, by singular value decomposition of the centered points."""
    center = points.mean(axis=0)
    centered = points - center
    if len(points) > points.shape[1]:
        # The smaller Gram matrix has the same axes; squaring loses only those of negligible variance.
        variances, vectors = np.linalg.eigh(centered.T @ centered)
        variances, axes = variances[::-1], vectors.T[::-1]
    else:
        _, singular, axes = np.linalg.svd(centered, full_matrices=False)
        variances = singular**2
    kept = variances > 1e-12 * max(variances[0], np.finfo(float).tiny)
    axes = axes[kept]
    # The sign of an SVD depends on the LAPACK build.
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    shares = variances[kept] / variances[kept].sum() if kept.any() else np.empty(0)
    return Components(centered @ axes.T, axes, center, shares)
