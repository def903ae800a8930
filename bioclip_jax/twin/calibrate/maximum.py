"""The maximum of a log posterior and the curvature there (Laplace's approximation)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

# A log density; pure, of parameters in units of their prior.
LogDensity = Callable[[Float[Array, " parameters"]], Float[Array, ""]]

_LINE_SEARCH_STEPS = 12
_MEMORY = 15
# Of parameters in units of their prior, in differences of the gradient.
_STEP = 3e-3


class Maximum(NamedTuple):
    """A maximum: the parameters, the log density, the largest slope left, and the iterations."""

    at: Float[Array, " parameters"]
    value: Float[Array, ""]
    slope: Float[Array, ""]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]


def maximize(
    log_density: LogDensity,
    start: Float[Array, " parameters"],
    *,
    iterations: int = 200,
    tolerance: float = 1e-2,
) -> Maximum:
    """Climb from `start` by L-BFGS (optax) until no slope exceeds `tolerance`; pure, for jit and vmap.

    tolerance: of the log density per unit, so that the maximum is `tolerance` of a prior's standard deviation
    away at most. A line search that finds nothing higher ends the climb.
    """

    def loss(u: Array) -> Array:
        # A finite value keeps the line search's interpolation defined where the solver fails.
        return jnp.nan_to_num(-log_density(u), nan=1e10, posinf=1e10)

    linesearch = optax.scale_by_zoom_linesearch(
        max_linesearch_steps=_LINE_SEARCH_STEPS, initial_guess_strategy="one"
    )
    optimizer = optax.lbfgs(memory_size=_MEMORY, linesearch=linesearch)
    value_and_grad = optax.value_and_grad_from_state(loss)

    def going(carry: tuple) -> Array:
        _, _, count, slope, gain = carry
        return (count < iterations) & (slope > tolerance) & (gain > 1e-9)

    def climb(carry: tuple) -> tuple:
        u, state, count, _, _ = carry
        value, gradient = value_and_grad(u, state=state)
        # The first step of L-BFGS is as long as the slope; a unit is the prior's standard deviation.
        updates, state = optimizer.update(gradient, state, u, value=value, grad=gradient, value_fn=loss)
        u = optax.apply_updates(u, updates)
        after, slopes = state[-1].value, state[-1].grad
        return u, state, count + 1, jnp.abs(slopes).max(), value - after

    carry = (start, optimizer.init(start), 0, jnp.inf, jnp.inf)
    carry = jax.tree.map(jnp.asarray, carry)
    u, state, count, slope, _ = jax.lax.while_loop(going, climb, carry)
    return Maximum(u, -state[-1].value, slope, count, slope <= 10 * tolerance)


def curvature(
    log_density: LogDensity, at: Float[Array, " parameters"]
) -> Float[Array, "parameters parameters"]:
    """Return minus the second derivatives, by central differences of the gradient."""
    gradient = jax.grad(log_density)
    shifts = jnp.concatenate([jnp.eye(len(at)), -jnp.eye(len(at))]) * _STEP
    slopes = jax.vmap(gradient)(at + shifts)
    upper, lower = jnp.split(slopes, 2)
    matrix = (lower - upper) / (2 * _STEP)
    return (matrix + matrix.T) / 2
