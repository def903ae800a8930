"""Correlation of species means with a trait: along principal components, by ridge regression, by chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from bioclip_jax.errors import UserError

from .pca import Components, principal_components

if TYPE_CHECKING:
    from .embeddings import Embeddings, Species
    from .trait_values import Traits

MOST_COMPONENTS = 5
FEWEST_SPECIES = 4
MOST_FOLDS = 10
# Shares of the largest squared singular value of the training species.
_PENALTIES = np.logspace(-4, 2, 13)
# Shuffled traits in memory at a time.
_CHUNK = 512
# Rounding must not decide whether an equivalent shuffle reaches the observed value.
_TIE = 1e-9


@dataclass(frozen=True)
class TraitAxis:
    """A trait's correlation with the space of species means.

    r: greatest |Pearson| of the trait with one of the first principal components, number `component` (from
    1). r_signed: with its sign, which is as arbitrary as that of the component. components: r_signed of each.
    p: of r, by permutation.
    r_cv: Pearson of the trait with its prediction by cross-validation. p_cv: of r_cv, by permutation.
    r_cv_null: 95 % range of r_cv for a shuffled trait.
    direction: unit vector along which the prediction fitted to all species increases. fitted: the species'
    projections on it, relative to their mean. space: the species' components.
    """

    r: float
    r_signed: float
    component: int
    components: tuple[float, ...]
    p: float
    r_cv: float
    p_cv: float
    r_cv_null: tuple[float, float]
    direction: Float[np.ndarray, " dim"]
    fitted: Float[np.ndarray, " species"]
    space: Components


def trait_axis(
    means: Float[np.ndarray, "species dim"],
    values: Float[np.ndarray, " species"],
    *,
    permutations: int = 9_999,
    cv_permutations: int = 999,
    seed: int = 0,
) -> TraitAxis:
    """Correlate species means with a trait, and test the correlations by permutation.

    p is the share of shuffled traits, the true order included, whose greatest |Pearson| over the components
    reaches r, so it accounts for the choice among components and for any number of species. r_cv is from
    ridge regression in min(10, species) folds, with the penalty chosen by generalized cross-validation
    (Golub, Heath and Wahba 1979, Technometrics 21:215) in the training folds alone. A prediction without
    skill is the mean of the training species, which is too low whenever the held-out species is above
    average: r_cv of noise is therefore negative, down to -1 for few species. Shuffled traits share this bias,
    so p_cv is valid, and r_cv_null shows it.

    Raises UserError for fewer than four species, a constant trait, or identical means.
    """
    values = np.asarray(values, np.float64)
    if len(values) < FEWEST_SPECIES:
        raise UserError(
            f"only {len(values)} species have both images and a value; give at least {FEWEST_SPECIES}"
        )
    if np.ptp(values) <= 1e-12 * np.abs(values).max():
        raise UserError(f"all {len(values)} species have the same value, {values[0]:g}; a trait must vary")
    space = principal_components(np.asarray(means, np.float64))
    if not len(space.axes):
        raise UserError(f"the means of all {len(values)} species are the same vector; embed other images")

    first = standardize(space.scores[:, :MOST_COMPONENTS])
    standard = standardize(values)
    components = standard @ first
    best = int(np.abs(components).argmax())
    r = float(np.abs(components[best]))
    reached = sum(
        int((np.abs(block.T @ first).max(axis=1) >= r - _TIE).sum())
        for block in _shuffled(standard, permutations, seed)
    )

    targets = np.column_stack([standard, *_shuffled(standard, cv_permutations, seed + 1)])
    held_out = np.sum(standardize(cross_predict(space.scores, targets, seed)) * targets, axis=0)
    shuffled = held_out[1:] if cv_permutations else held_out
    coefficients = ridge(space.scores, standard[:, None])[0][:, 0]
    direction = coefficients @ space.axes
    direction /= np.linalg.norm(direction)
    low, high = np.quantile(shuffled, [0.025, 0.975])
    return TraitAxis(
        r=r,
        r_signed=float(components[best]),
        component=best + 1,
        components=tuple(components.tolist()),
        p=(1 + reached) / (1 + permutations),
        r_cv=float(held_out[0]),
        p_cv=(1 + int((held_out[1:] >= held_out[0] - _TIE).sum())) / (1 + cv_permutations),
        r_cv_null=(float(low), float(high)),
        direction=direction,
        fitted=(np.asarray(means, np.float64) - space.center) @ direction,
        space=space,
    )


def standardize(columns: Float[np.ndarray, "species ..."]) -> Float[np.ndarray, "species ..."]:
    """Scale columns to mean 0 and length 1, so that dot products are correlations; a constant column is 0."""
    centered = columns - columns.mean(axis=0)
    length = np.linalg.norm(centered, axis=0)
    constant = length <= 1e-12 * np.abs(columns).max(axis=0)
    return np.where(constant, 0.0, centered / np.where(constant, 1.0, length))


def cross_predict(
    points: Float[np.ndarray, "species rank"], targets: Float[np.ndarray, "species targets"], seed: int
) -> Float[np.ndarray, "species targets"]:
    """Predict each species' targets by ridge regression on the other folds, min(10, species) of them."""
    order = np.random.default_rng(seed).permutation(len(points))
    predicted = np.empty_like(targets)
    for held in np.array_split(order, min(MOST_FOLDS, len(points))):
        train = np.setdiff1d(order, held)
        coefficients, intercept = ridge(points[train], targets[train])
        predicted[held] = points[held] @ coefficients + intercept
    return predicted


def ridge(
    points: Float[np.ndarray, "species rank"], targets: Float[np.ndarray, "species targets"]
) -> tuple[Float[np.ndarray, "rank targets"], Float[np.ndarray, " targets"]]:
    """Fit ridge regression, for each target with the penalty a of the least GCV error.

    With singular values s of the centered points and b the target's coordinates on their left singular
    vectors, GCV(a) = (|y|^2 - |b|^2 + sum((a / (s^2 + a) * b)^2)) / (n - 1 - sum(s^2 / (s^2 + a)))^2.
    Returns coefficients and intercepts.
    """
    center, mean = points.mean(axis=0), targets.mean(axis=0)
    centered, y = points - center, targets - mean
    squares, vectors = np.linalg.eigh(centered.T @ centered)
    kept = squares > 1e-13 * squares[-1]
    squares, vectors = squares[kept], vectors[:, kept]
    moments = vectors.T @ (centered.T @ y)
    on = moments**2 / squares[:, None]
    penalties = _PENALTIES * squares[-1]
    left = penalties[:, None] / (squares + penalties[:, None])
    beyond = np.maximum(np.sum(y**2, axis=0) - on.sum(axis=0), 0.0)
    freedom = len(points) - 1 - np.sum(1 - left, axis=1)
    errors = (beyond + left**2 @ on) / freedom[:, None] ** 2
    chosen = penalties[errors.argmin(axis=0)]
    coefficients = vectors @ (moments / (squares[:, None] + chosen))
    return coefficients, mean - center @ coefficients


def _shuffled(values: Float[np.ndarray, " species"], number: int, seed: int) -> Iterator[np.ndarray]:
    """Yield `number` shuffles of the values as columns, in chunks."""
    random = np.random.default_rng(seed)
    for start in range(0, number, _CHUNK):
        rows = np.tile(values, (min(_CHUNK, number - start), 1))
        yield random.permuted(rows, axis=1).T


def project_images(
    axis: TraitAxis, traits: Traits, name: str, species: Species, embeddings: Embeddings
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Project the images of the fitted species on the direction.

    Returns their rows, projections, and trait values: their own (NaN if missing) if images have values, else
    those of their species.
    """
    fitted = np.append(np.isfinite(traits.values[name]), False)
    rows = np.flatnonzero(fitted[species.groups])
    projections = embeddings.vectors @ axis.direction.astype(np.float32)
    positions = projections[rows].astype(np.float64) - float(axis.space.center @ axis.direction)
    own = traits.images.get(name)
    return rows, positions, traits.values[name][species.groups[rows]] if own is None else own[rows]
