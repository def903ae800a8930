"""Whether species line up by a trait: their principal components, and the best direction, against chance."""

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
# Shuffled traits that are held at a time.
_CHUNK = 512
# As large as the observed value: rounding must not decide about a shuffle that changes nothing.
_TIE = 1e-9


@dataclass(frozen=True)
class TraitAxis:
    """How a trait lies in the space of species means.

    r: the largest |Pearson| of the trait with one of the first components; component: which, from 1;
    r_signed: with its sign, which is as arbitrary as that of the component; components: r_signed of each. p:
    of r, by permutation.
    r_cv: Pearson of the trait with its prediction from species that were not fitted; p_cv: of r_cv, by
    permutation;
    r_cv_null: 95 % of r_cv where the trait is shuffled. direction: the fit on all species, a unit vector
    along which the predicted trait grows; fitted: the species' places along it, from their mean. space: the
    species' components.
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
    """Test species means [species, dim] for a trait, whose values are in any unit, one a species.

    p is the share of shuffled traits whose largest |Pearson| over the components reaches r, the true order
    counted
    too: so it allows for the choice among components, and for any number of species. r_cv is that of ridge
    regression in min(10, species) folds, the penalty chosen by generalised cross-validation (Golub, Heath and
    Wahba 1979, Technometrics 21:215) in the training folds alone. A prediction without skill is the training
    species' mean, which lies below where the held-out species is above: r_cv of noise is therefore negative,
    down to -1 with few species. The shuffled traits share that bias, so that p_cv holds; r_cv_null shows it.

    Errors: UserError for fewer than four species, a constant trait, or means that are all the same.
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


def standardize(columns: Float[np.ndarray, "species *targets"]) -> Float[np.ndarray, "species *targets"]:
    """Columns of mean 0 and length 1, whose dot products are correlations; a constant column is 0."""
    centred = columns - columns.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    constant = length <= 1e-12 * np.abs(columns).max(axis=0)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, length))


def cross_predict(
    points: Float[np.ndarray, "species rank"], targets: Float[np.ndarray, "species targets"], seed: int
) -> Float[np.ndarray, "species targets"]:
    """Each species' targets as ridge regression on the other folds predicts them: min(10, species) folds by `seed`."""
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
    """Coefficients and intercepts of ridge regression, each target with the penalty a of the least GCV error.

    With singular values s of the centred points and b the target's coordinates on their left singular
    vectors: GCV(a) = (|y|^2 - sum(b^2)) + sum((a / (s^2 + a) * b)^2) over (n - 1 - sum(s^2 / (s^2 + a)))^2.
    """
    center, mean = points.mean(axis=0), targets.mean(axis=0)
    centred, y = points - center, targets - mean
    squares, vectors = np.linalg.eigh(centred.T @ centred)
    kept = squares > 1e-13 * squares[-1]
    squares, vectors = squares[kept], vectors[:, kept]
    moments = vectors.T @ (centred.T @ y)
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
    """`number` shuffles of the values as columns, some at a time."""
    random = np.random.default_rng(seed)
    for start in range(0, number, _CHUNK):
        rows = np.tile(values, (min(_CHUNK, number - start), 1))
        yield random.permuted(rows, axis=1).T


def project_images(
    axis: TraitAxis, known: Traits, name: str, species: Species, embeddings: Embeddings
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Rows of the images whose species was fitted, their places along the direction, and the trait: their own where
    images have one (NaN if not this one), else their species'.
    """
    fitted = np.append(np.isfinite(known.values[name]), False)
    rows = np.flatnonzero(fitted[species.groups])
    every = embeddings.vectors @ axis.direction.astype(np.float32)
    places = every[rows].astype(np.float64) - float(axis.space.center @ axis.direction)
    own = known.images.get(name)
    return rows, places, known.values[name][species.groups[rows]] if own is None else own[rows]
