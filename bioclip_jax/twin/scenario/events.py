"""Events of a scenario: what happens to which species and patches, and when.

    name = "A fence and two dry years"
    description = "..."

    [[events]]
    kind = "fence"
    points = [[-2.0, 34.6], [-2.0, 35.0]]     # latitude, longitude
    start = 2031-06-15

A date is any day of the run. Periods begin on the morning of `start` (default: of the run's first day) and
end on the evening of `end` (default: of its last).

    remove         species, date; patches, share = 1
    introduce      species, patch, date, individuals or kg
    harvest        species, rate_per_year or individuals_per_year; patches, start, end
    fence          points; permeability = 0, except (species that cross it), start, end
    road           points, barrier or mortality; species, start, end
    habitat        capacity (factor), patches or polygon; species (producers), start, end
    rain           factor, or series (CSV: month, rain_mm); patches, start, end
    temperature    change_k, or series (CSV: month, temperature_c); patches, start, end
    water_point    patch, species (that drink there), attraction; start, end
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event from `start` until the day before `end`; a moment, at the start of a day, has end = start.

    where: file, number and kind, for messages; label: without the file. Species and patches are indices of
    the twin's.
    """

    where: str
    label: str
    start: datetime.date
    end: datetime.date


@dataclass(frozen=True, kw_only=True)
class Remove(Event):
    """A share of the biomass is taken out at once."""

    species: tuple[int, ...]
    patches: tuple[int, ...]
    share: float


@dataclass(frozen=True, kw_only=True)
class Introduce(Event):
    """A mass in kg is set free in a patch."""

    species: int
    patch: int
    kg: float


@dataclass(frozen=True, kw_only=True)
class Harvest(Event):
    """Animals or plants are taken at a constant effort; rates_per_day: of biomass, by species."""

    species: tuple[int, ...]
    patches: tuple[int, ...]
    rates_per_day: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Crossing(Event):
    """A fence or a road: of the animals that would cross it, a share does and a share dies, the rest stays.

    separated: pairs of patches on different sides.
    """

    species: tuple[int, ...]
    separated: Bool[np.ndarray, "patches patches"]
    crossing: float
    dying: float


@dataclass(frozen=True, kw_only=True)
class Habitat(Event):
    """The capacity of producers changes by a factor."""

    species: tuple[int, ...]
    patches: tuple[int, ...]
    capacity: float


@dataclass(frozen=True, kw_only=True)
class Weather(Event):
    """Rain or temperature is changed, or given.

    quantity: "rain" or "temperature". change: a factor of rain, or K. series: in place of the climate's, by
    (year, month): mm of rain, or K.
    """

    quantity: str
    patches: tuple[int, ...]
    change: float | None = None
    series: Mapping[tuple[int, int], float] | None = None


@dataclass(frozen=True, kw_only=True)
class WaterPoint(Event):
    """Animals that drink gather in a patch.

    √attraction times as many move in and 1/√attraction as many move out, so that movement alone makes them
    `attraction` times as dense there. The community knows no thirst: nobody dies of it, nor is saved.
    """

    species: tuple[int, ...]
    patch: int
    attraction: float


@dataclass(frozen=True)
class Scenario:
    """Events under a name; text: of the file, as provenance."""

    name: str
    description: str
    events: tuple[Event, ...]
    text: str = ""

    @property
    def dates(self) -> frozenset[datetime.date]:
        """The days on which something changes."""
        return frozenset(day for event in self.events for day in (event.start, event.end))
