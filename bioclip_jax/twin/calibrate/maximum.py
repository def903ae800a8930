"""Maxima of log posteriors by L-BFGS, and the curvature there: Laplace's approximation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Bool, Float, Int

# From points, and the index of the start (and data) that each belongs to, to log densities and gradients.
ValueAndGrad = Callable[
    [Float[np.ndarray, "points parameters"], Int[np.ndarray, " points"]],
    tuple[Float[np.ndarray, " points"], Float[np.ndarray, "points parameters"]],
]

_MEMORY = 20
_HALVINGS = 10
# Longest first step, in standard deviations of the prior.
_FIRST_STEP = 0.3
_LONGEST_STEP = 3.0
# Of parameters in units of their prior, in differences of the gradient.
_STEP = 5e-3


@dataclass(frozen=True)
class Maxima:
    """Maxima from several starts: the points, log densities, largest slopes left, and iterations."""

    u: Float[np.ndarray, "points parameters"]
    value: Float[np.ndarray, " points"]
    slope: Float[np.ndarray, " points"]
    iterations: Int[np.ndarray, " points"]
    converged: Bool[np.ndarray, " points"]


def maximize(
    function: ValueAndGrad,
    starts: Float[np.ndarray, "points parameters"],
    *,
    iterations: int = 150,
    tolerance: float = 0.02,
) -> Maxima:
    """Climb from all starts together, by L-BFGS (optax) with backtracking.

    tolerance: of the largest slope, per standard deviation of the prior: since the prior's curvature is 1,
    the maximum is at most so many standard deviations away. A climb that finds nothing higher ends; it has
    converged if its slope is then below ten times the tolerance.
    """
    with jax.enable_x64(True):
        lbfgs = optax.scale_by_lbfgs(memory_size=_MEMORY)
        state = jax.vmap(lbfgs.init)(jnp.asarray(starts))
        direction = jax.jit(jax.vmap(lbfgs.update))
        u = np.array(starts, float)
        value, gradient = function(u, np.arange(len(u)))
        slope = np.abs(gradient).max(axis=1)
        going = np.isfinite(value) & (slope > tolerance)
        count = np.zeros(len(u), int)
        for _ in range(iterations):
            if not going.any():
                break
            step, state = direction(-gradient, state, u)
            step = -np.asarray(step)
            rise = (step * gradient).sum(axis=1)
            # Without a rise along it, the curvature that L-BFGS has seen is of no use.
            step = np.where((rise > 0)[:, None], step, gradient)
            limit = np.where(count > 0, _LONGEST_STEP, _FIRST_STEP)
            step *= np.minimum(1, limit / np.maximum(np.abs(step).max(axis=1), 1e-300))[:, None]
            rise = (step * gradient).sum(axis=1)
            u, value, gradient, moved = _backtrack(function, u, value, gradient, step, rise, going)
            slope = np.abs(gradient).max(axis=1)
            count += going
            going = going & moved & (slope > tolerance)
        return Maxima(u, value, slope, count, np.isfinite(value) & (slope < 10 * tolerance))


def _backtrack(
    function: ValueAndGrad,
    u: np.ndarray,
    value: np.ndarray,
    gradient: np.ndarray,
    step: np.ndarray,
    rise: np.ndarray,
    going: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return points at least a little higher along the steps, where there are any, and where that is."""
    u, value, gradient = u.copy(), value.copy(), gradient.copy()
    waiting, length = np.flatnonzero(going), 1.0
    moved = np.zeros(len(u), bool)
    for _ in range(_HALVINGS):
        if not len(waiting):
            break
        tried = u[waiting] + length * step[waiting]
        # Points without a search in progress are not evaluated: chunks fill up with those that are.
        new_value, new_gradient = function(tried, waiting)
        better = new_value > value[waiting] + 1e-4 * length * rise[waiting]
        accepted = waiting[better]
        u[accepted], value[accepted] = tried[better], new_value[better]
        gradient[accepted] = new_gradient[better]
        moved[accepted] = True
        waiting, length = waiting[~better], length / 2
    return u, value, gradient, moved


def curvatures(
    function: ValueAndGrad, points: Float[np.ndarray, "points parameters"]
) -> Float[np.ndarray, "points parameters parameters"]:
    """Return minus the second derivatives at points, by central differences of the gradient."""
    n, size = points.shape
    shifts = np.concatenate([np.eye(size), -np.eye(size)]) * _STEP
    index = np.repeat(np.arange(n), 2 * size)
    _, gradient = function((points[:, None] + shifts).reshape(-1, size), index)
    upper, lower = np.split(gradient.reshape(n, 2 * size, size), 2, axis=1)
    matrix = (lower - upper) / (2 * _STEP)
    return (matrix + np.swapaxes(matrix, 1, 2)) / 2


def covariances(
    curvature: Float[np.ndarray, "points parameters parameters"], most: float = 1.0
) -> Float[np.ndarray, "points parameters parameters"]:
    """Return the inverses, with variances of at most `most` in any direction.

    The likelihood may curve upwards where the prior alone holds a parameter; a variance above the prior's, 1,
    is then not to be trusted.
    """
    values, vectors = np.linalg.eigh(curvature)
    return np.einsum("pik,pk,pjk->pij", vectors, 1 / np.maximum(values, 1 / most), vectors)
