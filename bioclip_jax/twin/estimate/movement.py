"""Read the table of movement and detection that the random encounter model needs: `--movement FILE.csv`.

One row per species; other columns are ignored. Units stand in the columns' names; a standard error is in the
unit of its value:

    scientificName
    speed_m_per_s           mean over 24 hours, rest included    speed_se
    active_speed_m_per_s    or: mean while active, times         speed_se
    active_share            share of the day active, 0 to 1      active_share_se
    radius_m                effective detection radius           radius_se
    angle_rad or angle_deg  effective detection angle            angle_se
    group_size              mean animals per group; without      group_size_se
                            it, as counted in the events

Standard errors may be missing; the interval then leaves that part out and says so.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection
from dataclasses import dataclass

from bioclip_jax.errors import UserError, closest, did_you_mean
from bioclip_jax.tables import read_table

_VALUES = (
    "speed_m_per_s",
    "active_speed_m_per_s",
    "active_share",
    "radius_m",
    "angle_rad",
    "angle_deg",
    "group_size",
)
_ERRORS = ("speed_se", "active_share_se", "radius_se", "angle_se", "group_size_se")
_SPEEDS = ("speed_m_per_s", "active_speed_m_per_s")
_ANGLES = ("angle_rad", "angle_deg")
_QUANTITY = re.compile(r"(active_speed|speed|radius|angle)(?:_(.+))?")
_RIGHT_UNIT = {
    "speed": "speed_m_per_s",
    "active_speed": "active_speed_m_per_s",
    "radius": "radius_m",
    "angle": "angle_rad or angle_deg",
}
# Without "per", underscores and slashes: km_per_day, km_day and km/day are one.
_CONVERSIONS = {
    "": "the name must say the unit",
    "kmday": "1 km/day = 0.01157 m/s",
    "kmd": "1 km/day = 0.01157 m/s",
    "mday": "1 m/day = 0.00001157 m/s",
    "kmh": "1 km/h = 0.2778 m/s",
    "kmhour": "1 km/h = 0.2778 m/s",
    "mh": "1 m/h = 0.0002778 m/s",
    "mhour": "1 m/h = 0.0002778 m/s",
    "mmin": "1 m/min = 0.01667 m/s",
    "kms": "1 km/s = 1000 m/s",
    "km": "1 km = 1000 m",
    "cm": "1 cm = 0.01 m",
    "ft": "1 ft = 0.3048 m",
    "degrees": "the unit is right, the name is angle_deg",
    "degree": "the unit is right, the name is angle_deg",
    "radians": "the unit is right, the name is angle_rad",
    "radian": "the unit is right, the name is angle_rad",
}
_LARGEST_SPEED_M_PER_S = 3.0
_LEAST_SPEED_M_PER_S = 1e-6  # 9 cm a day
_LARGEST_RADIUS_M = 100.0


@dataclass(frozen=True)
class Measured:
    """A quantity and its standard error, None if it is not known."""

    value: float
    se: float | None = None


@dataclass(frozen=True)
class Movement:
    """Movement and detection of a species, in SI units.

    speed_m_per_s: mean over 24 hours, rest included. group_size: None if it is to be counted in the events.
    """

    speed_m_per_s: Measured
    radius_m: Measured
    angle_rad: Measured
    group_size: Measured | None = None


def read_movement(path: str | os.PathLike[str], species: Collection[str]) -> dict[str, Movement]:
    """Read the table of movement by scientific name; `species`: the names that the package has.

    Raises UserError for a column in another unit, a value that is missing, not a number or implausible, a
    species twice or one that the package lacks.
    """
    import polars as pl

    table = pl.from_arrow(read_table(path, ["scientificName"], known=[*_VALUES, *_ERRORS]))
    assert isinstance(table, pl.DataFrame)
    _check_columns(path, table.columns)
    movements: dict[str, Movement] = {}
    for number, row in enumerate(table.cast(pl.String).fill_null("").iter_rows(named=True)):
        where = f"{path}, row {number + 2}"
        name = " ".join(row["scientificName"].split())
        if name in movements:
            raise UserError(f"{where}: {name} is there twice; keep one row per species")
        if name not in species:
            hint = did_you_mean(name, species, "remove the row, or check the spelling of the name")
            raise UserError(f"{where}: the package has no observation of {name!r}{hint}")
        movements[name] = _movement(_Row(where, name, row))
    return movements


def _check_columns(path: str | os.PathLike[str], columns: Collection[str]) -> None:
    others = [column for column in columns if column not in (*_VALUES, *_ERRORS)]
    for column in others:
        match = _QUANTITY.fullmatch(column.lower())
        unit = re.sub(r"_per_|[_/ ]", "", match[2] or "") if match else None
        if match and unit in _CONVERSIONS:
            right = _RIGHT_UNIT[match[1]]
            raise UserError(f"{path}: column {column} is not known; give {right} ({_CONVERSIONS[unit]})")
    for choices in (_SPEEDS, ("radius_m",), _ANGLES):
        if not any(name in columns for name in choices):
            near = closest(choices[0], others)
            hint = f"; if {near[0]} is meant, convert it and rename it" if near else ""
            raise UserError(f"{path} has no column {' or '.join(choices)}{hint}")


@dataclass(frozen=True)
class _Row:
    where: str
    name: str
    cells: dict[str, str]

    def fail(self, column: str, reason: str) -> UserError:
        return UserError(f"{self.where}: {column} of {self.name} is {self.cells[column]!r}; {reason}")

    def choose(self, columns: tuple[str, ...]) -> str:
        """Return which of the columns has a value."""
        given = [column for column in columns if self.cells.get(column, "").strip()]
        if len(given) != 1:
            problem = f"{' and '.join(given)}; keep one" if given else f"no {' or '.join(columns)}; give it"
            raise UserError(f"{self.where}: {self.name} has {problem}")
        return given[0]

    def number(self, column: str) -> float | None:
        text = self.cells.get(column, "").strip()
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            raise self.fail(column, "write a number, with a point for decimals") from None
        if not math.isfinite(value):
            raise self.fail(column, "write a finite number")
        return value

    def measured(self, column: str, error: str) -> Measured:
        """The value of a column and its standard error."""
        value = self.number(self.choose((column,)))
        if value <= 0:
            raise self.fail(column, "it must be above 0")
        se = self.number(error)
        if se is not None and se < 0:
            raise self.fail(error, "a standard error is not negative")
        if se is not None and se > value:
            raise self.fail(error, f"it is above the value itself, {value:g}: is it in the unit of {column}?")
        return Measured(value, se)


def _movement(row: _Row) -> Movement:
    radius = row.measured("radius_m", "radius_se")
    if radius.value > _LARGEST_RADIUS_M:
        raise row.fail("radius_m", f"no camera detects animals beyond {_LARGEST_RADIUS_M:g} m: is it cm?")
    if radius.value < 0.1:
        raise row.fail("radius_m", "cameras detect animals at meters: is it km?")
    group_size = None
    if row.number("group_size") is not None:
        group_size = row.measured("group_size", "group_size_se")
        if group_size.value < 1:
            raise row.fail("group_size", "a group has at least one animal")
    return Movement(_speed(row), radius, _angle(row), group_size)


def _speed(row: _Row) -> Measured:
    column = row.choose(_SPEEDS)
    speed = row.measured(column, "speed_se")
    if speed.value > _LARGEST_SPEED_M_PER_S:
        per_day = f"{speed.value:g} m/s is {speed.value * 86.4:,.0f} km a day"
        raise row.fail(column, f"{per_day}: is it km/day? 1 km/day = 0.01157 m/s")
    if speed.value < _LEAST_SPEED_M_PER_S:
        raise row.fail(column, f"{speed.value * 86_400:.3g} m a day is no speed of an animal: is it km/s?")
    if column == "speed_m_per_s":
        return speed
    # `twin estimate` reports a share as share_active.
    share = row.measured("active_share", "active_share_se")
    if share.value > 1:
        raise row.fail("active_share", "a share of the day is at most 1: is it percent or hours?")
    mean = speed.value * share.value
    if speed.se is None or share.se is None:
        return Measured(mean)
    return Measured(mean, mean * math.hypot(speed.se / speed.value, share.se / share.value))


def _angle(row: _Row) -> Measured:
    if row.choose(_ANGLES) == "angle_rad":
        angle = row.measured("angle_rad", "angle_se")
        if angle.value > 2 * math.pi:
            raise row.fail(
                "angle_rad", "an angle is at most 6.283 radians: is it degrees? Then it is angle_deg"
            )
        return angle
    degrees = row.measured("angle_deg", "angle_se")
    if degrees.value > 360:
        raise row.fail("angle_deg", "an angle is at most 360 degrees")
    if degrees.value < 2 * math.pi:
        raise row.fail("angle_deg", "no camera sees so little: is it radians? Then it is angle_rad")
    se = None if degrees.se is None else math.radians(degrees.se)
    return Measured(math.radians(degrees.value), se)
