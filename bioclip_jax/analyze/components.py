"""Means of groups of vectors, and the principal components of the means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

# Rows that are held in float64 at a time.
_CHUNK = 8192


def group_means(
    vectors: Float32[np.ndarray, "n dim"], groups: Int[np.ndarray, " n"], number: int
) -> Float[np.ndarray, "number dim"]:
    """The mean vector of every group, summed in float64. A group is a row from 0 to number - 1; -1 belongs to none.

    A group without a member is NaN.
    """
    members = np.flatnonzero(groups >= 0)
    members = members[np.argsort(groups[members], kind="stable")]
    sums = np.zeros((number, vectors.shape[1]))
    for start in range(0, len(members), _CHUNK):
        rows = members[start : start + _CHUNK]
        of = groups[rows]
        starts = np.flatnonzero(np.diff(of, prepend=-1))
        sums[of[starts]] += np.add.reduceat(vectors[rows].astype(np.float64), starts, axis=0)
    counts = np.bincount(groups[members], minlength=number)
    return sums / np.where(counts, counts, np.nan)[:, None]


@dataclass(frozen=True)
class Components:
    """Principal components of points, the largest variance first; those without any variance are not among them.

    scores: each point's place along each axis. axes: unit vectors, their largest entry positive. center: the
    points' mean. shares: of the variance.
    """

    scores: Float[np.ndarray, "points rank"]
    axes: Float[np.ndarray, "rank dim"]
    center: Float[np.ndarray, " dim"]
    shares: Float[np.ndarray, " rank"]


def principal_components(points: Float[np.ndarray, "points dim"]) -> Components:
    """All components of `points`, weighted alike, by the singular value decomposition of the centred points."""
    center = points.mean(axis=0)
    centred = points - center
    if len(points) > points.shape[1]:
        # The same axes as eigenvectors of the smaller square; only those of next to no variance suffer from
        # squaring.
        variances, vectors = np.linalg.eigh(centred.T @ centred)
        variances, axes = variances[::-1], vectors.T[::-1]
    else:
        _, singular, axes = np.linalg.svd(centred, full_matrices=False)
        variances = singular**2
    kept = variances > 1e-12 * max(variances[0], np.finfo(float).tiny)
    axes = axes[kept]
    # Without a rule the sign would hang on the machine's LAPACK.
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    shares = variances[kept] / variances[kept].sum() if kept.any() else np.empty(0)
    return Components(centred @ axes.T, axes, center, shares)
