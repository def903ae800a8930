"""The times of a run: calendar months, cut where events begin and end."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class Timeline:
    """Intervals of a run; edges: their first days and the day after the last.

    The state is kept at the start, at the first of each month and at the end, whatever the cuts.
    """

    edges: tuple[datetime.date, ...]

    @classmethod
    def of(cls, start: datetime.date, years: int, cuts: Iterable[datetime.date] = ()) -> Timeline:
        """Return the months of a number of years, cut at the days of `cuts` that lie within."""
        end = end_of_run(start, years)
        days = {start, end} | {day for day in cuts if start < day < end}
        month = start
        while (month := next_month(month)) < end:
            days.add(month)
        return cls(tuple(sorted(days)))

    @property
    def start(self) -> datetime.date:
        """First day."""
        return self.edges[0]

    @property
    def end(self) -> datetime.date:
        """The day after the last."""
        return self.edges[-1]

    @property
    def days(self) -> Float[np.ndarray, " intervals"]:
        """Lengths of the intervals."""
        return np.array([(after - day).days for day, after in zip(self.edges, self.edges[1:])], float)

    @property
    def months(self) -> Int[np.ndarray, " intervals"]:
        """Number of the month that each interval lies in, 0 for the run's first."""
        return np.array([_month(day) - _month(self.start) for day in self.edges[:-1]])

    @property
    def n_months(self) -> int:
        """Calendar months that the run touches."""
        return int(self.months[-1]) + 1

    @property
    def kept(self) -> Int[np.ndarray, " times"]:
        """Indices of the edges at which the state is kept."""
        inner = [number for number, day in enumerate(self.edges[1:-1], 1) if day.day == 1]
        return np.array([0, *inner, len(self.edges) - 1])

    @property
    def times(self) -> tuple[datetime.date, ...]:
        """Days of the kept states."""
        return tuple(self.edges[number] for number in self.kept)

    def within(self, start: datetime.date, end: datetime.date) -> slice:
        """Intervals from one edge to another."""
        return slice(self.edges.index(start), self.edges.index(end))


def end_of_run(start: datetime.date, years: int) -> datetime.date:
    """Return the day after the last of a run; from 29 February, it ends on a first of March."""
    try:
        return start.replace(year=start.year + years)
    except ValueError:
        return datetime.date(start.year + years, 3, 1)


def _month(day: datetime.date) -> int:
    return 12 * day.year + day.month - 1


def next_month(day: datetime.date) -> datetime.date:
    """Return the first day of the next month."""
    year, month = divmod(_month(day) + 1, 12)
    return datetime.date(year, month + 1, 1)
