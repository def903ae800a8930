"""Months of a twin: the intervals of a calibration's simulation, and periods of a survey."""

from __future__ import annotations

import calendar
import datetime
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bioclip_jax.twin.community import Community, Conditions, steady_conditions
from bioclip_jax.twin.world import Twin, climate_series


def next_month(day: datetime.date) -> datetime.date:
    """Return the first day of the month after a day's."""
    return day.replace(day=1) + datetime.timedelta(days=calendar.monthrange(day.year, day.month)[1])


def month_starts(start: datetime.date, last_day: float) -> list[datetime.date]:
    """Return the start, then the first days of months, up to the one at or after `last_day` days later."""
    dates = [start, next_month(start)]
    while (dates[-1] - start).days < last_day:
        dates.append(next_month(dates[-1]))
    return dates


def days_since(start: datetime.date, dates: Sequence[datetime.date]) -> Float[np.ndarray, " dates"]:
    """Return the days from a start to some dates."""
    return np.array([(date - start).days for date in dates], float)


def monthly_conditions(
    twin: Twin, community: Community, last_day: float
) -> tuple[Conditions, Float[Array, " months"]]:
    """Return the mean climate of the months from the twin's start, and their lengths in days; x64 on."""
    dates = month_starts(twin.start, last_day)
    days = np.diff(days_since(twin.start, dates))
    series = climate_series(twin.climate, twin.start, len(days))
    conditions = eqx.tree_at(
        lambda c: (c.rain, c.temperature_k),
        steady_conditions(community, len(days)),
        (jnp.asarray(series.rain, float), jnp.asarray(series.temperature_k, float)),
    )
    return conditions, jnp.asarray(days)
