"""Climate of the patches: monthly means, and series of months with dry and wet years."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

# 0 °C in kelvin.
FREEZING_K = 273.15
# Least and largest plausible values of a month, by column of a table.
MONTH_LIMITS = {"rain_mm": (0.0, 12_000.0), "temperature_c": (-80.0, 60.0)}


@dataclass(frozen=True)
class Climate:
    """Monthly means of the patches and how much the years differ.

    rain_mm: total of a month. rain_cv: coefficient of variation of the yearly rain between years.
    rain_autocorrelation: of its logarithm, between one year and the next.
    """

    rain_mm: Float[np.ndarray, "12 patches"]
    temperature_k: Float[np.ndarray, "12 patches"]
    rain_cv: float = 0.0
    rain_autocorrelation: float = 0.0


@dataclass(frozen=True)
class Series:
    """Rain and temperature of consecutive months; the first is the month of `start`.

    rain: relative to the mean of the climatology's 12 months; 1 in an average month of an average year.
    """

    start: datetime.date
    rain: Float[np.ndarray, "months patches"]
    temperature_k: Float[np.ndarray, "months patches"]


def climate_series(
    climate: Climate, start: datetime.date, months: int, rng: np.random.Generator | None = None
) -> Series:
    """Series of the climate from the month of `start`: the monthly means, or with an `rng` random years.

    A random year multiplies the rain of its 12 months, in all patches, by a log-normal factor of mean 1 and
    coefficient of variation rain_cv; years count from `start`. Log factors are a stationary first-order
    autoregression. Longer series of the same generator begin with the shorter ones.
    """
    index = (start.month - 1 + np.arange(months)) % 12
    yearly = climate.rain_mm.mean(axis=0)
    # A place without any rain has none in every month.
    relative = climate.rain_mm / np.where(yearly > 0, yearly, 1.0)
    rain = relative[index]
    if rng is not None and climate.rain_cv > 0:
        factors = _year_factors(climate, -(-months // 12), rng)
        rain = rain * np.repeat(factors, 12)[:months, None]
    return Series(start, rain, climate.temperature_k[index])


def _year_factors(climate: Climate, years: int, rng: np.random.Generator) -> Float[np.ndarray, " years"]:
    sigma = np.sqrt(np.log1p(climate.rain_cv**2))
    rho = climate.rain_autocorrelation
    logs = rng.standard_normal(years)
    for year in range(1, years):
        logs[year] = rho * logs[year - 1] + np.sqrt(1 - rho**2) * logs[year]
    return np.exp(sigma * logs - sigma**2 / 2)
