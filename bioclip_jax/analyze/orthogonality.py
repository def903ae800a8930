"""Orthogonality of a factor: the share of its direction outside the subspace that separates species."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64

from .factors import Factor, Group, chunks, level_sums, species_sums

# Share of the variance of the species means that the species subspace holds.
HELD = 0.99
SPLITS = 50
_TABLE_AT = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(frozen=True)
class SpeciesSpace:
    """Principal components of the equally weighted species means, in decreasing order of variance."""

    axes: Float32[np.ndarray, "components dim"]
    variances: Float64[np.ndarray, " components"]
    mean: Float32[np.ndarray, " dim"]
    species: int

    @cached_property
    def size(self) -> int:
        """Number of components that hold 99 % of the variance."""
        held = np.cumsum(self.variances)
        return int(np.searchsorted(held, HELD * held[-1])) + 1 if len(held) and held[-1] > 0 else 0


@dataclass(frozen=True)
class Curve:
    """Shares outside the first k components for k = 0, 1, ...

    measured: of the factor. split_half: estimated from split halves, None if these do not agree. random: 2.5
    % quantile, mean and 97.5 % quantile of random directions. shuffled: the same of labels shuffled within
    species, None without permutations.
    """

    measured: Float[np.ndarray, " k"]
    split_half: Float[np.ndarray, " k"] | None
    random: Float[np.ndarray, "3 k"]
    shuffled: Float[np.ndarray, "3 k"] | None


def species_space(vectors: Float32[np.ndarray, "rows dim"], species: np.ndarray) -> SpeciesSpace:
    """Compute the components of the mean vectors of all species (names; "" is unknown and skipped)."""
    known = np.flatnonzero(species != "")
    names, species = np.unique(species[known], return_inverse=True)
    means = species_sums(vectors, species, len(names), among=known) / np.bincount(species)[:, None]
    mean = means.mean(axis=0)
    # The R factor has the same components as the means, and fewer rows.
    _, lengths, axes = np.linalg.svd(np.linalg.qr(means - mean, mode="r"), full_matrices=False)
    # Centered, n points span n - 1 dimensions.
    most = min(len(names) - 1, vectors.shape[1])
    return SpeciesSpace(
        axes[:most].astype(np.float32), lengths[:most] ** 2, mean.astype(np.float32), len(names)
    )


def orthogonality(
    factor: Factor,
    vectors: Float32[np.ndarray, "rows dim"],
    space: SpeciesSpace,
    *,
    permutations: int = 200,
    splits: int = SPLITS,
    seed: int = 0,
) -> tuple[dict[str, Any], Curve]:
    """Compute the squared share of a factor's direction d outside the species subspace, |d - Pd|² / |d|².

    d is the difference of the levels' means, of vectors minus their species' mean; P projects on the first k
    principal components of the species means, which hold 99 % of their variance. For several levels, the
    squares are summed over the levels' means, weighted by their images; for two levels this is the same.

    The share is meaningful only compared with chance: with k near the number of dimensions D, little of any
    direction is outside. For a random direction, |Pu|² ~ Beta(k/2, (D - k)/2) exactly (Muirhead, Aspects of
    Multivariate Statistical Theory, 1982, theorem 1.5.7), so 1 - k/D is outside. A d from few images contains
    noise, which is mostly outside and raises the share, as labels shuffled within species show. Split halves
    give two independent d1 and d2 and the estimate <d1 outside, d2 outside> / <d1, d2>, in which the noise of
    both terms has mean zero.

    The mean of a species with mostly one value is shifted along d, so differences between species in the
    frequency of values count as differences between species.

    Returns the curve over k and {"orthogonality", "orthogonality_split_half" (None if the levels differ no
      more than shuffled ones), "k", "dimensions", "orthogonality_null_mean", "orthogonality_null_range",
      "orthogonality_permuted_mean", "orthogonality_permuted_range", "orthogonality_by_k"}. Shares are from 0
      to 1, except of split halves; ranges hold 95 %.
    """
    random = np.random.default_rng(seed)
    energy, total = np.zeros((permutations + 1, len(space.axes))), np.zeros(permutations + 1)
    both, both_total = np.zeros(len(space.axes)), 0.0
    for group in factor.groups:
        rows = group.residuals(vectors)
        sums = level_sums(rows, group.shuffled(permutations, random), len(group.levels))
        means = sums / np.sqrt(np.bincount(group.labels))[:, None]
        energy += ((means @ space.axes.T) ** 2).sum(axis=1)
        total += (means**2).sum(axis=(1, 2))
        if splits:
            first, second = _half_means(group, rows, splits, random)
            both += np.einsum("sld,sld->d", first @ space.axes.T, second @ space.axes.T)
            both_total += float((first * second).sum())
    outside = 1 - _cumulative(energy) / total.clip(1e-30)[:, None]
    dim, k = vectors.shape[1], space.size
    # The quotient of two terms of noise is arbitrary.
    agree = both_total > 0 and (not permutations or total[0] > np.quantile(total[1:], 0.95))
    curve = Curve(
        outside[0],
        1 - _cumulative(both[None])[0] / both_total if agree else None,
        _random_shares(len(space.axes), dim),
        np.stack([*np.quantile(outside[1:], [0.025], axis=0), outside[1:].mean(axis=0),
                  *np.quantile(outside[1:], [0.975], axis=0)]) if permutations else None,
    )  # fmt: skip
    return _result(curve, k, dim), curve


def _result(curve: Curve, k: int, dim: int) -> dict[str, Any]:
    last = len(curve.measured) - 1

    def at(k: int) -> dict[str, Any]:
        shuffled = curve.shuffled
        return {
            "orthogonality": float(curve.measured[k]),
            "orthogonality_split_half": None if curve.split_half is None else float(curve.split_half[k]),
            "orthogonality_null_mean": float(curve.random[1, k]),
            "orthogonality_null_range": curve.random[::2, k].tolist(),
            "orthogonality_permuted_mean": None if shuffled is None else float(shuffled[1, k]),
            "orthogonality_permuted_range": None if shuffled is None else shuffled[::2, k].tolist(),
        }

    listed = sorted({row for row in (*_TABLE_AT, k, last) if row <= last})
    by_k = [{"k": row, **at(row)} for row in listed]
    return {**at(k), "k": k, "dimensions": dim, "orthogonality_by_k": by_k}


def _cumulative(
    energy: Float64[np.ndarray, "times components"],
) -> Float64[np.ndarray, "times components+1"]:
    """Sum over the first k components, from k = 0."""
    return np.pad(np.cumsum(energy, axis=1), ((0, 0), (1, 0)))


def _random_shares(components: int, dim: int) -> Float[np.ndarray, "3 components+1"]:
    from scipy.special import betaincinv

    k = np.arange(components + 1)
    inner = k[(k > 0) & (k < dim)]
    low, high = 1 - (k >= dim).astype(float), 1 - (k >= dim).astype(float)
    low[inner], high[inner] = (betaincinv((dim - inner) / 2, inner / 2, level) for level in (0.025, 0.975))
    return np.stack([low, 1 - k / dim, high])


def _half_means(
    group: Group, rows: Float32[np.ndarray, "n dim"], splits: int, random: np.random.Generator
) -> list[Float64[np.ndarray, "splits levels dim"]]:
    """Return the levels' mean residuals in two random halves of the images, times the root of their number.

    Each half has half of the images of each species and level, and its own species means.
    """
    levels, species = len(group.levels), int(group.species.max()) + 1
    cell = group.species * levels + group.labels
    starts = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=species * levels))])
    first = np.empty((len(group), splits), bool)
    for split in range(splits):
        order = np.argsort(cell + random.random(len(group)))
        # The odd image of a cell is assigned to a half at random.
        offsets = random.integers(2, size=len(starts)) - starts
        first[order, split] = (np.arange(len(group)) + offsets[cell[order]]) % 2 == 0
    sizes = np.bincount(group.labels)
    halves = []
    for half in (first, ~first):
        counts = np.stack(
            [np.bincount(cell, side, minlength=species * levels) for side in half.T.astype(float)], 1
        )
        counts = counts.reshape(species, levels, splits)
        # Weights of images in a level's sum, with the subtraction of the half's species means.
        shares = (counts / counts.sum(axis=1, keepdims=True).clip(1)).astype(np.float32)
        sums = np.zeros((levels, splits, rows.shape[1]))
        for chunk in chunks(len(rows)):
            for level in range(levels - 1):
                weights = (group.labels[chunk] == level)[:, None] - shares[group.species[chunk], level]
                sums[level] += (weights * half[chunk]).astype(np.float32).T @ rows[chunk]
        sums[-1] = -sums[:-1].sum(axis=0)
        level_counts = counts.sum(axis=0).clip(1)
        halves.append((sums / level_counts[:, :, None] * np.sqrt(sizes)[:, None, None]).transpose(1, 0, 2))
    return halves
