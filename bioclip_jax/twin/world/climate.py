"""Climate of the patches: monthly means, and series of months."""

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


def climate_series(climate: Climate, start: datetime.date, months: int) -> Series:
    """Series of the climate's monthly means, from the month of `start`."""
    index = (start.month - 1 + np.arange(months)) % 12
    yearly = climate.rain_mm.mean(axis=0)
    # A place without any rain has none in every month.
    relative = climate.rain_mm / np.where(yearly > 0, yearly, 1.0)
    return Series(start, relative[index], climate.temperature_k[index])
