"""Activity over the day: a curve in solar time, and the share of the day that a species is active."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from .circular_density import CircularDensity, bootstrap, evaluate, fit_density
from .interval import Interval

# A curve over 24 hours from fewer events shows chance rather than habit.
LEAST_EVENTS = 10


@dataclass(frozen=True)
class Activity:
    """Activity of a species over the day, in true solar time.

    events: sum of the weights of its events that have a solar time. solar_hour: share of the events in each
    hour from midnight to midnight, 24 numbers that sum to 1. share_active: share of the day that the species
    is active. density: its kernel density, for curves and overlaps. reason: why the three are None.
    """

    events: float
    solar_hour: Float[np.ndarray, "24"] | None
    share_active: Interval | None
    density: CircularDensity | None
    reason: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON of `twin estimate`."""
        return {
            "events": self.events,
            "solar_hour": None if self.solar_hour is None else self.solar_hour.tolist(),
            "share_active": None if self.share_active is None else self.share_active.as_dict(),
            "reason": self.reason,
        }


def estimate_activity(
    solar_hours: Float[np.ndarray, " events"],
    weights: Float[np.ndarray, " events"] | None = None,
    *,
    level: float = 0.90,
    draws: int = 500,
    seed: int = 0,
) -> Activity:
    """Estimate a species' activity from the solar hours (`solar_time.solar_hours`) of its events.

    weights: probability that each event is of the species, 1 by default. NaN hours (cameras without
    coordinates) are skipped. draws: size of the bootstrap.

    The curve is a von Mises kernel density (circular_density.py). The share of the day active is
    1 / (2π max f) (Rowcliffe et al. 2014, Methods Ecol. Evol. 5:1170-1179), which supposes that all animals
    are active at the daily peak; if they are not, it is too large. Where the top of the curve is a plateau it
    comes out too small, because the highest of a plateau's bumps is taken for its level: by a tenth at 100
    events. Its interval is a smoothed bootstrap's, on the logit scale, centered on the estimate, and does
    not cover these two biases.
    """
    solar_hours = np.asarray(solar_hours, float)
    weights = np.ones(len(solar_hours)) if weights is None else np.asarray(weights, float)
    usable = np.isfinite(solar_hours) & (weights > 0)
    n = float(weights[usable].sum())
    if n < LEAST_EVENTS:
        reason = f"{n:.3g} events with a solar time; at least {LEAST_EVENTS} are needed"
        return Activity(n, None, None, None, reason)
    density = fit_density(solar_hours[usable], weights[usable])
    _, moments, nu = bootstrap(density, draws, np.random.default_rng(seed))
    share = centered_interval(_share_active(density.at_grid()), _share_active(evaluate(moments, nu)), level)
    return Activity(n, density.hourly(), share, density, None)


def centered_interval(estimate: float, replicates: Float[np.ndarray, " draws"], level: float) -> Interval:
    """Bootstrap interval of a proportion: quantiles on the logit scale, shifted to center on the estimate.

    The shift takes out the mean difference of replicates and estimate, because a resampled density is
    smoother than its original (the "basic0" interval on the logit scale of Meredith and Ridout, overlap).
    """
    logits, logit = _logit(replicates), _logit(np.array(estimate))
    shifted = logit + np.quantile(logits - logits.mean(), [(1 - level) / 2, (1 + level) / 2])
    lower, upper = 1 / (1 + np.exp(-shifted))
    return Interval(float(estimate), float(min(lower, estimate)), float(max(upper, estimate)))


def _logit(share: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    share = np.clip(share, 1e-6, 1 - 1e-6)
    return np.log(share / (1 - share))


def _share_active(density: Float[np.ndarray, "*b grid"]) -> Float[np.ndarray, "*b"]:
    return np.minimum(1 / (2 * np.pi * density.max(axis=-1)), 1.0)
