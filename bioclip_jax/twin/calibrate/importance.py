"""Draws from a posterior by importance resampling of a Student's t about its maximum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

# Heavier tails than the posterior's, for bounded weights; but in many dimensions all normal draws are about
# equally far out, and a t with few degrees of freedom misses that distance either way.
_FREEDOM, _FREEDOM_PER_PARAMETER = 6.0, 1 / 3


@dataclass(frozen=True)
class WeightedDraws:
    """Draws and their normalized weights; effective: their worth in independent draws."""

    u: Float[np.ndarray, "draws parameters"]
    weights: Float[np.ndarray, " draws"]

    @property
    def effective(self) -> float:
        """Return 1 / Σ w² (Kish 1965)."""
        return float(1 / (self.weights**2).sum())

    def moments(self) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, "p p"]]:
        """Return mean and covariance."""
        mean = self.weights @ self.u
        centered = self.u - mean
        return mean, (self.weights[:, None] * centered).T @ centered

    def resample(self, count: int, rng: np.random.Generator) -> Float[np.ndarray, "count parameters"]:
        """Return equally probable draws, in random order, by systematic resampling."""
        positions = (np.arange(count) + rng.random()) / count
        index = np.minimum(np.searchsorted(np.cumsum(self.weights), positions), len(self.weights) - 1)
        return self.u[rng.permutation(index)]


def importance_draws(
    log_density: Callable[[Float[np.ndarray, "points parameters"]], Float[np.ndarray, " points"]],
    center: Float[np.ndarray, " parameters"],
    covariance: Float[np.ndarray, "parameters parameters"],
    count: int,
    rng: np.random.Generator,
    *,
    rounds: int = 2,
    enough: float = 0.0,
    most_rounds: int = 8,
) -> WeightedDraws:
    """Draw from a density in rounds; each but the first proposes with the moments of the ones before.

    Beyond `rounds`, up to `most_rounds` follow until `enough` draws are effective. All rounds are kept,
    weighted against the mixture of their proposals (deterministic mixture: Veach and Guibas 1995), so that a
    poor first proposal costs draws and adds no bias of its own.
    """
    size = len(center)
    freedom = max(_FREEDOM, _FREEDOM_PER_PARAMETER * size)
    proposals, points, values = [], [], []
    draws = None
    for number in range(most_rounds):
        if number >= rounds and draws.effective >= enough:
            break
        if number:
            mean, spread = draws.moments()
            # Few effective draws know a covariance badly: between them and the approximation.
            trust = draws.effective / (draws.effective + 2 * size)
            center = trust * mean + (1 - trust) * center
            covariance = trust * spread + (1 - trust) * covariance
        proposals.append((center, np.linalg.cholesky(covariance + 1e-9 * np.eye(size))))
        normal = rng.standard_normal((count, size))
        scale = np.sqrt(freedom / rng.chisquare(freedom, count))
        new = center + scale[:, None] * (normal @ proposals[-1][1].T)
        points.append(new)
        values.append(log_density(new))
        u, value = np.concatenate(points), np.concatenate(values)
        mixture = np.logaddexp.reduce([_log_student(u, *one, freedom) for one in proposals], axis=0)
        log_weights = np.where(np.isfinite(value), value - mixture, -np.inf)
        weights = np.exp(log_weights - log_weights.max())
        draws = WeightedDraws(u, weights / weights.sum())
    return draws


def _log_student(
    u: np.ndarray, center: np.ndarray, root: np.ndarray, freedom: float
) -> Float[np.ndarray, " points"]:
    """Return the log density of a multivariate t, but for a constant that all have in common."""
    z = np.linalg.solve(root, (u - center).T)
    distance = (z**2).sum(axis=0)
    return -np.log(np.diag(root)).sum() - (freedom + u.shape[1]) / 2 * np.log1p(distance / freedom)
