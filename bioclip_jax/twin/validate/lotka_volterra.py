"""Case 1: the Lotka-Volterra equations, as a limit of the community's own.

With Hill exponent 1, no handling time, no interference and no limit of the producer, the allometric trophic
network of a producer u and its consumer v is du/dt = (α - β v) u, dv/dt = (δ u - γ) v. Small orbits have the
period 2π/√(αγ), and V = δ u - γ ln u + β v - α ln v is constant on each orbit (Volterra 1926, Nature
118:558). Units: kg/km², days.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from bioclip_jax.twin.community import Community, simulate_ensemble, steady_conditions

from .cases import Settings

# The rates of case 2, per day.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.55, 0.028, 0.80, 0.024
_TOLERANCE = 1e-10
_SAMPLES_PER_ORBIT = 32


def lotka_volterra_community(alpha: float, beta: float, gamma: float, delta: float) -> Community:
    """Return the community that follows the Lotka-Volterra equations; call it with x64 enabled."""
    return Community.create(
        ["prey", "predator"],
        [(0, 1)],
        producer=[True, False],
        mass_kg=[1.0, 1.0],
        growth=[alpha, 0.0],
        metabolism=[0.0, gamma],
        capture=beta,
        efficiency=delta / beta,
    )


def study_orbits(*, orbits: int = 100, small: float = 0.01, large: float = 1.0) -> dict[str, float]:
    """Follow a small and a large orbit of the community.

    small, large: log of the prey at the start, relative to the steady state.

    Returns {"period_days", "theory_days", "relative_error": of the small orbit, "drift": largest change of V
    on the large orbit, relative to V less its minimum, "prey_ratio": largest to smallest prey of the large
    orbit, "orbits"}.
    """
    theory = 2 * np.pi / np.sqrt(_ALPHA * _GAMMA)
    steady = np.array([_GAMMA / _DELTA, _ALPHA / _BETA])
    times = np.arange(orbits * _SAMPLES_PER_ORBIT + 1) * theory / _SAMPLES_PER_ORBIT
    starts = steady * np.exp([[small, 0.0], [large, 0.0]])
    near, far = _simulate(starts, np.diff(times))
    period = _period(times, np.log(near[:, 0] / steady[0]))
    excess = _invariant(far) - _invariant(steady)
    return {
        "period_days": period,
        "theory_days": float(theory),
        "relative_error": float(abs(period / theory - 1)),
        "drift": float(np.abs(excess / excess[0] - 1).max()),
        "prey_ratio": float(far[:, 0].max() / far[:, 0].min()),
        "orbits": orbits,
    }


def lotka_volterra_case(_: Settings) -> dict[str, Any]:
    """Return case 1."""
    study = study_orbits()
    return {
        "ours": f"period {study['period_days']:.5f} days, 2π/√(αγ) = {study['theory_days']:.5f}: relative "
        f"error {study['relative_error']:.0e}; drift {study['drift']:.0e} in {study['orbits']} orbits in "
        f"which prey varies {study['prey_ratio']:.0f}-fold",
        "holds": study["relative_error"] <= 1e-3 and study["drift"] <= 1e-6,
        "study": study,
    }


def _simulate(
    starts: Float[np.ndarray, "orbits 2"], days: Float[np.ndarray, " intervals"]
) -> Float[np.ndarray, "orbits times 2"]:
    with jax.enable_x64(True):
        community = lotka_volterra_community(_ALPHA, _BETA, _GAMMA, _DELTA)
        conditions = steady_conditions(community, len(days))
    trajectory = simulate_ensemble(
        community, starts[:, None], conditions, days, tolerance=_TOLERANCE, chunk=1
    )
    return trajectory.biomass[:, :, 0]


def _invariant(path: Float[np.ndarray, "*times 2"]) -> Float[np.ndarray, "*times"]:
    """Return V."""
    prey, predators = np.moveaxis(path, -1, 0)
    return _DELTA * prey - _GAMMA * np.log(prey) + _BETA * predators - _ALPHA * np.log(predators)


def _period(times: Float[np.ndarray, " times"], deviation: Float[np.ndarray, " times"]) -> float:
    """Return the mean time between upward passages through 0."""
    from scipy.interpolate import CubicSpline

    spline = CubicSpline(times, deviation)
    roots = spline.roots(extrapolate=False)
    upward = roots[spline(roots, 1) > 0]
    return float((upward[-1] - upward[0]) / (len(upward) - 1))
