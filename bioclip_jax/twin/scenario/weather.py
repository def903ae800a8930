"""Rain, temperature and environmental noise of the members of an ensemble."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from bioclip_jax.twin.world import Climate, Twin, climate_series

from .randomness import autoregressive, normals
from .timeline import Timeline


@dataclass(frozen=True)
class Noise:
    """Variation of rates beyond weather, by species and month, the same in all patches.

    sd: of the log of growth (producers) and capture (consumers). correlation: from month to month. Both are
    assumptions of this project, estimated from no data; a run records them.
    """

    sd: float = 0.1
    correlation: float = 0.5


def rain_factors(
    climate: Climate, seed: int, members: Int[np.ndarray, " members"], timeline: Timeline
) -> Float[np.ndarray, "members months patches"]:
    """Return the factors of the climate's monthly rain: log-normal years times log-normal months, mean 1.

    Months vary independently with the coefficient of variation rain_cv (V); years, a first-order
    autoregression, by so much less that the totals of years have it too: with the months' shares w of the
    year's rain, 1 + V² = (1 + V_year²) (1 + V² Σ w²). All patches have the same normal numbers.
    """
    cv, months = climate.rain_cv, timeline.n_months
    shape = (len(members), months, climate.rain_mm.shape[1])
    if cv <= 0:
        return np.ones(shape)
    total = climate.rain_mm.sum(axis=0)
    squares = ((climate.rain_mm / np.where(total > 0, total, 1.0)) ** 2).sum(axis=0)
    year_sigma = np.sqrt(np.log((1 + cv**2) / (1 + cv**2 * squares)))
    month_sigma = np.sqrt(np.log1p(cv**2))
    years = normals(seed, "rain of years", members, ["rain"], -(-months // 12))
    years = autoregressive(years, climate.rain_autocorrelation)[:, 0]
    years = np.repeat(years, 12, axis=1)[:, :months, None]
    month = normals(seed, "rain of months", members, ["rain"], months)[:, 0, :, None]
    return np.exp(year_sigma * years - year_sigma**2 / 2 + month_sigma * month - month_sigma**2 / 2)


def seasons(
    twin: Twin, timeline: Timeline
) -> tuple[Float[np.ndarray, "intervals patches"], Float[np.ndarray, "intervals patches"]]:
    """Return the climate's rain, relative to a mean month, and temperature (K) of each interval."""
    series = climate_series(twin.climate, timeline.start, timeline.n_months)
    return series.rain[timeline.months], series.temperature_k[timeline.months]


def environmental_noise(
    noise: Noise,
    seed: int,
    members: Int[np.ndarray, " members"],
    names: tuple[str, ...],
    timeline: Timeline,
) -> Float[np.ndarray, "members intervals species"]:
    """Return logs of factors of mean 1."""
    drawn = normals(seed, "environmental noise", members, names, timeline.n_months)
    logs = noise.sd * autoregressive(drawn, noise.correlation) - noise.sd**2 / 2
    return logs.transpose(0, 2, 1)[:, timeline.months]
