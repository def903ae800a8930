"""The log posterior of many points, or of many data sets, at once."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .likelihood import Calibration

# Points per call: more would wait for the slowest, fewer leave the processor's vector units idle.
_LANES = 32
# Climbs are from a few starts, which would not fill more.
_GRADIENT_LANES = 8


class Batch:
    """A calibration's log posterior and gradient, compiled once for any number of points.

    Works in chunks of one size. Every point may have counts of its own, [points, periods, patches, classes];
    otherwise the calibration's are used.
    """

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration

    def value(
        self, u: Float[np.ndarray, "points parameters"], counts: np.ndarray | None = None
    ) -> Float[np.ndarray, " points"]:
        """Return the log posterior; -inf where the solver fails."""
        return self._in_chunks(_values, u, counts, _LANES)[0]

    def value_and_grad(
        self, u: Float[np.ndarray, "points parameters"], counts: np.ndarray | None = None
    ) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, "points parameters"]]:
        """Return the log posterior and its gradient; 0 for the gradient where the solver fails."""
        value, gradient = self._in_chunks(_values_and_grads, u, counts, _GRADIENT_LANES)
        bad = ~np.isfinite(value) | ~np.isfinite(gradient).all(axis=1)
        return np.where(bad, -np.inf, value), np.where(bad[:, None], 0.0, gradient)

    def expected(
        self, u: Float[np.ndarray, "points parameters"]
    ) -> Float[np.ndarray, "points periods patches classes"]:
        """Return the expected labeled events."""
        return self._in_chunks(_values, u, None, _LANES)[1]

    def _in_chunks(self, function: object, u: np.ndarray, counts: np.ndarray | None, lanes: int) -> tuple:
        n = len(u)
        if counts is None:
            counts = np.broadcast_to(np.asarray(self.calibration.counts), (n, *self.calibration.counts.shape))
        results = []
        with jax.enable_x64(True):
            for first in range(0, n, lanes):
                # The last chunk is filled up with its last point.
                index = np.minimum(np.arange(first, first + lanes), n - 1)
                kept = min(lanes, n - first)
                found = function(self.calibration, jnp.asarray(u[index]), jnp.asarray(counts[index]))
                results.append([np.asarray(one)[:kept] for one in found])
        return tuple(np.concatenate(parts) for parts in zip(*results, strict=True))


# Compiled once for all calibrations of one structure: compiling takes far longer than a call.
@eqx.filter_jit
def _values(calibration: Calibration, u: jax.Array, counts: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return log posteriors and expected events, which share the simulation."""
    return jax.vmap(lambda one, data: calibration.with_counts(data).posterior(one))(u, counts)


@eqx.filter_jit
def _values_and_grads(calibration: Calibration, u: jax.Array, counts: jax.Array) -> tuple:
    return jax.vmap(jax.value_and_grad(lambda one, data: calibration.with_counts(data)(one)))(u, counts)
