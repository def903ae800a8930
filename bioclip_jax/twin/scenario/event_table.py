"""The table of an event in a scenario file, whose values are checked against a twin."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bioclip_jax.errors import UserError, did_you_mean, listing
from bioclip_jax.twin.world import TomlTable, Twin, world_extent

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class EventTable(TomlTable):
    """An [[events]] table; every method raises UserError with file, number and kind for an invalid value.

    path: of the file. label: number and kind of the event. end: the day after the run's last.
    """

    path: Path
    label: str
    twin: Twin
    end: datetime.date

    def fail(self, problem: str) -> UserError:
        """A UserError about the event."""
        return UserError(f"{self.where}: {problem}")

    def one_of(self, *keys: str) -> str:
        """The one key that is given; it must be exactly one of them."""
        given = [key for key in keys if key in self]
        if len(given) != 1:
            raise self.fail(f"give {' or '.join(keys)}{', not both' if given else ''}")
        return given[0]

    def positive(self, key: str, most: float = math.inf, default: float | None = None) -> float:
        """A number above 0."""
        number = self.number(key, 0, most, default)
        if not number:
            raise self.error(key, "write a number above 0")
        return number

    def day(self, key: str) -> datetime.date:
        """A day of the run."""
        day = self.date(key)
        if not self.twin.start <= day < self.end:
            raise self.fail(
                f"{key} {day} is outside the run, {self.twin.start} to {self.end - _DAY}; correct it, or run "
                "more --years"
            )
        return day

    def moment(self) -> dict[str, datetime.date]:
        """Start and end of an event that happens on `date`."""
        return dict.fromkeys(("start", "end"), self.day("date"))

    def period(self) -> dict[str, datetime.date]:
        """Start and end of an event from `start` to `end`, its last day; returns the day after as the end."""
        start = self.day("start") if "start" in self else self.twin.start
        end = self.day("end") + _DAY if "end" in self else self.end
        if end <= start:
            raise self.fail(f"its end {end - _DAY} is before its start {start}; exchange them")
        return {"start": start, "end": end}

    def species(self, key: str = "species", default: Sequence[int] | None = None) -> tuple[int, ...]:
        """Indices of species by scientific or common name: one name or a list."""
        if default is not None and key not in self:
            return tuple(default)
        common: dict[str, list[int]] = {}
        for number, one in enumerate(self.twin.species):
            common.setdefault(one.common_name.casefold(), []).append(number)
        # A common name of several species means none of them.
        indices = {name: numbers[0] for name, numbers in common.items() if name and len(numbers) == 1}
        indices |= {one.name.casefold(): number for number, one in enumerate(self.twin.species)}
        known = [name for one in self.twin.species for name in (one.name, one.common_name) if name]
        return self._indices(key, "species", indices, known)

    def patches(self, key: str = "patches") -> tuple[int, ...]:
        """Indices of patches by name, one or a list; without `patches`, all of them."""
        names = [patch.name for patch in self.twin.patches]
        if key == "patches" and key not in self:
            return tuple(range(len(names)))
        return self._indices(key, "patch", {name.casefold(): i for i, name in enumerate(names)}, names)

    def single(self, key: str, indices: Sequence[int]) -> int:
        """The only index."""
        if len(indices) != 1:
            raise self.fail(f"{key} names {len(indices)}; write an event for each")
        return indices[0]

    def points_on_map(self, key: str) -> tuple[tuple[float, float], ...]:
        """A line of [latitude, longitude] on the map."""
        points = self.points(key)
        extent = self.twin.extent or world_extent(self.twin.patches)
        for latitude, longitude in points:
            if not extent.holds(latitude, longitude):
                raise self.fail(
                    f"the point [{latitude:g}, {longitude:g}] of {key} is outside the map, latitude "
                    f"{extent.south:.5g} to {extent.north:.5g} and longitude {extent.west:.5g} to "
                    f"{extent.east:.5g}; move it inside"
                )
        return points

    def _indices(self, key: str, what: str, known: dict[str, int], shown: Sequence[str]) -> tuple[int, ...]:
        value = self.values.get(key)
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise self.error(key, "write a name or a list of names in quotation marks")
        indices = []
        for name in (" ".join(name.split()) for name in names):
            if name.casefold() not in known:
                hint = did_you_mean(name, shown, f"the twin has {listing(shown, 6)}")
                raise self.fail(f"{key}: the twin has no {what} {name!r}{hint}")
            indices.append(known[name.casefold()])
        return tuple(dict.fromkeys(indices))
