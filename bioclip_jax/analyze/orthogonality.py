"""Whether a factor varies along directions of its own: how much of it lies outside those that separate species."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64

from .factors import Factor, Group, chunks, level_sums, species_sums

# Of the variance of the species' means, the share that the species' subspace holds.
HELD = 0.99
SPLITS = 50
_TABLE_AT = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(frozen=True)
class SpeciesSpace:
    """The principal components of the species' means, each species one point: unit `axes` by falling `variances`."""

    axes: Float32[np.ndarray, "components dim"]
    variances: Float64[np.ndarray, " components"]
    mean: Float32[np.ndarray, " dim"]
    species: int

    @cached_property
    def size(self) -> int:
        """How many components hold 99 % of the variance."""
        held = np.cumsum(self.variances)
        return int(np.searchsorted(held, HELD * held[-1])) + 1 if len(held) and held[-1] > 0 else 0


@dataclass(frozen=True)
class Curve:
    """Shares outside the first k components for k = 0, 1, ...: of the factor, from split halves (None where they tell
    nothing), and low, mean and high of directions at random and of labels shuffled within species (None
    without).
    """

    measured: Float[np.ndarray, " k"]
    split_half: Float[np.ndarray, " k"] | None
    random: Float[np.ndarray, "3 k"]
    shuffled: Float[np.ndarray, "3 k"] | None


def species_space(vectors: Float32[np.ndarray, "rows dim"], species: np.ndarray) -> SpeciesSpace:
    """Of the mean vectors of all species (names; "" is unknown and left out), by a centred SVD."""
    known = np.flatnonzero(species != "")
    names, species = np.unique(species[known], return_inverse=True)
    means = species_sums(vectors, species, len(names), among=known) / np.bincount(species)[:, None]
    mean = means.mean(axis=0)
    # The triangle has the same components as the means, of which there are many more.
    _, lengths, axes = np.linalg.svd(np.linalg.qr(means - mean, mode="r"), full_matrices=False)
    # Centred, n points span n - 1 dimensions.
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
    """The squared share of the factor's mean-difference direction d outside the species' subspace, |d - Pd|² / |d|².

    d is the difference of the levels' means, of vectors less their species' mean; P projects on the first k
    principal components of the species' means, which hold 99 % of their variance. Of several levels: the sum
    over their means, weighted by their images, which for two is the same.

    The figure means something only beside chance: with k near the number of dimensions D, little of any
    direction is left outside. Of a random direction, |Pu|² ~ Beta(k/2, (D - k)/2) exactly (Muirhead, Aspects
    of Multivariate Statistical Theory, 1982, theorem 1.5.7), so that 1 - k/D is outside. A d from few images
    holds noise, which is mostly outside and raises the share, as d from labels shuffled within species shows.
    From split halves, two independent d1 and d2 give <d1 outside, d2 outside> / <d1, d2>, where noise has no
    part in the mean of either term.

    A species most of whose images have one value has its mean moved along d, so what the values' shares
    differ in between species counts as the species' own.

    Returns the curve over k and {"orthogonality", "orthogonality_split_half" (None where the levels
      differ no more than shuffled ones),
      "k", "dimensions", "orthogonality_null_mean", "orthogonality_null_range", "orthogonality_permuted_mean",
      "orthogonality_permuted_range", "orthogonality_by_k"}. Shares from 0 to 1, but a split half's may lie
      outside; ranges hold 95 %.
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
            one, two = _half_means(group, rows, splits, random)
            both += np.einsum("sld,sld->d", one @ space.axes.T, two @ space.axes.T)
            both_total += float((one * two).sum())
    outside = 1 - _from_nothing(energy) / total.clip(1e-30)[:, None]
    dim, k = vectors.shape[1], space.size
    # A quotient of two terms that are noise would say anything.
    agree = both_total > 0 and (not permutations or total[0] > np.quantile(total[1:], 0.95))
    curve = Curve(
        outside[0],
        1 - _from_nothing(both[None])[0] / both_total if agree else None,
        _of_random_directions(len(space.axes), dim),
        np.stack([*np.quantile(outside[1:], [0.025], axis=0), outside[1:].mean(axis=0),
                  *np.quantile(outside[1:], [0.975], axis=0)]) if permutations else None,
    )  # fmt: skip
    return _figures(curve, k, dim), curve


def _figures(curve: Curve, k: int, dim: int) -> dict[str, Any]:
    last = len(curve.measured) - 1

    def at(place: int) -> dict[str, Any]:
        shuffled = curve.shuffled
        return {
            "orthogonality": float(curve.measured[place]),
            "orthogonality_split_half": None if curve.split_half is None else float(curve.split_half[place]),
            "orthogonality_null_mean": float(curve.random[1, place]),
            "orthogonality_null_range": curve.random[::2, place].tolist(),
            "orthogonality_permuted_mean": None if shuffled is None else float(shuffled[1, place]),
            "orthogonality_permuted_range": None if shuffled is None else shuffled[::2, place].tolist(),
        }

    places = sorted({place for place in (*_TABLE_AT, k, last) if place <= last})
    by_k = [{"k": place, **at(place)} for place in places]
    return {**at(k), "k": k, "dimensions": dim, "orthogonality_by_k": by_k}


def _from_nothing(
    energy: Float64[np.ndarray, "times components"],
) -> Float64[np.ndarray, "times components+1"]:
    """What the first k components hold, from k = 0."""
    return np.pad(np.cumsum(energy, axis=1), ((0, 0), (1, 0)))


def _of_random_directions(components: int, dim: int) -> Float[np.ndarray, "3 components+1"]:
    from scipy.special import betaincinv

    k = np.arange(components + 1)
    inner = k[(k > 0) & (k < dim)]
    low, high = 1 - (k >= dim).astype(float), 1 - (k >= dim).astype(float)
    low[inner], high[inner] = (betaincinv((dim - inner) / 2, inner / 2, level) for level in (0.025, 0.975))
    return np.stack([low, 1 - k / dim, high])


def _half_means(
    group: Group, rows: Float32[np.ndarray, "n dim"], splits: int, random: np.random.Generator
) -> list[Float64[np.ndarray, "splits levels dim"]]:
    """The levels' means of residuals, times the root of their images, from each of two random halves of the images.

    Each half has half of each species' images of each level, and takes the means of species from its own.
    """
    levels, species = len(group.levels), int(group.species.max()) + 1
    cell = group.species * levels + group.labels
    starts = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=species * levels))])
    first = np.empty((len(group), splits), bool)
    for split in range(splits):
        order = np.argsort(cell + random.random(len(group)))
        # The odd image of a cell goes to either half by chance.
        first[order, split] = (np.arange(len(group)) - starts[cell[order]] + random.integers(2, size=len(starts))[
            cell[order]]) % 2 == 0  # fmt: skip
    sizes = np.bincount(group.labels)
    found = []
    for half in (first, ~first):
        counts = np.stack(
            [np.bincount(cell, side, minlength=species * levels) for side in half.T.astype(float)], 1
        )
        counts = counts.reshape(species, levels, splits)
        # The mean of the half's species is taken off by what each image adds to the sum of each level.
        shares = (counts / counts.sum(axis=1, keepdims=True).clip(1)).astype(np.float32)
        sums = np.zeros((levels, splits, rows.shape[1]))
        for chunk in chunks(len(rows)):
            for level in range(levels - 1):
                mine = (group.labels[chunk] == level)[:, None] - shares[group.species[chunk], level]
                sums[level] += (mine * half[chunk]).astype(np.float32).T @ rows[chunk]
        sums[-1] = -sums[:-1].sum(axis=0)
        of_level = counts.sum(axis=0).clip(1)
        found.append((sums / of_level[:, :, None] * np.sqrt(sizes)[:, None, None]).transpose(1, 0, 2))
    return found
