"""Fit a calibration: the posterior's maximum from several starts, and draws."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import UserError

from .batch import Batch
from .importance import importance_draws
from .maximum import covariances, curvatures, maximize

# A start's maximum that is lower by more is another one.
_SAME_MAXIMUM = 0.1
# Starts other than the prior's center are draws of this share of its width.
_SPREAD = 0.7
# Proposals per draw, in two rounds, and more rounds if they are not enough.
_PROPOSALS = 4
_LEAST_PROPOSALS = 1000
# Fewer effective draws do not represent a posterior.
LEAST_EFFECTIVE = 100


@dataclass(frozen=True)
class Fit:
    """Draws of a posterior in units of the prior, and their approximation at its maximum.

    mode: the maximum. covariance: Laplace's. u: equally probable draws. converged: False if the draws must
    not be taken for the posterior. diagnostics: of the method, for the result.
    """

    mode: Float[np.ndarray, " parameters"]
    covariance: Float[np.ndarray, "parameters parameters"]
    u: Float[np.ndarray, "draws parameters"]
    converged: bool
    diagnostics: dict[str, Any] = field(default_factory=dict)


def find_maximum(
    batch: Batch, *, starts: int, seed: int
) -> tuple[Float[np.ndarray, " parameters"], Float[np.ndarray, "parameters parameters"], dict[str, Any]]:
    """Return the highest of the maxima from several starts, Laplace's covariance, and what was found.

    Raises UserError if no start has a finite posterior.
    """
    size = len(batch.calibration.names)
    rng = np.random.default_rng([seed, 1])
    points = np.concatenate([np.zeros((1, size)), _SPREAD * rng.standard_normal((starts - 1, size))])

    def function(u: np.ndarray, _: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return batch.value_and_grad(u)

    maxima = maximize(function, points)
    if not np.isfinite(maxima.value).any():
        raise UserError(
            "the simulation of the community fails at every start; check growth rates and densities of the "
            "twin's species"
        )
    best = int(np.argmax(maxima.value))
    curvature = curvatures(function, maxima.u[best : best + 1])
    if not np.isfinite(curvature).all():
        raise UserError(
            "the simulation of the community fails beside the posterior's maximum; check growth rates and "
            "densities of the twin's species"
        )
    found = {
        "starts": starts,
        "starts_at_maximum": int((maxima.value > maxima.value[best] - _SAME_MAXIMUM).sum()),
        "iterations": int(maxima.iterations[best]),
        "largest_slope": float(maxima.slope[best]),
        "converged": bool(maxima.converged[best]),
        "log_posterior": float(maxima.value[best]),
    }
    return maxima.u[best], covariances(curvature)[0], found


def fit_map(
    batch: Batch,
    draws: int,
    *,
    starts: int = 4,
    seed: int = 0,
) -> Fit:
    """Fit by the maximum and Laplace's approximation, corrected by importance resampling.

    With fewer effective draws than LEAST_EFFECTIVE the fit has not converged, and the draws are Laplace's.
    """
    mode, covariance, found = find_maximum(batch, starts=starts, seed=seed)
    rng = np.random.default_rng([seed, 2])
    # Whole chunks, so that none is filled up with what is not used.
    proposals = -(-max(_PROPOSALS * draws, _LEAST_PROPOSALS) // 64) * 32
    weighted = importance_draws(batch.value, mode, covariance, proposals, rng, enough=LEAST_EFFECTIVE)
    enough = weighted.effective >= LEAST_EFFECTIVE
    if enough:
        u = weighted.resample(draws, rng)
    else:
        u = rng.multivariate_normal(mode, covariance, draws, method="cholesky")
    diagnostics = {
        "maximum": found,
        "proposals": len(weighted.u),
        "effective_draws": weighted.effective,
        "draws_of": "importance resampling" if enough else "Laplace's approximation",
    }
    return Fit(mode, covariance, u, bool(found["converged"] and enough), diagnostics)
