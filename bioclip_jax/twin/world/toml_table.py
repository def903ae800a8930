"""Tables of a TOML file with typed values, whose errors name the file, the table and the key."""

from __future__ import annotations

import datetime
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError, did_you_mean, first_line


def read_toml(path: str | os.PathLike[str], what: str, known: Sequence[str] | None = None) -> TomlTable:
    """Read a TOML file. what: its role in messages, such as "the world".

    Raises UserError for a file that is not TOML and for a key that is not `known`; None allows all.
    """
    try:
        # Editors of Windows begin a file with a byte order mark, which TOML does not allow.
        values = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{what} {path} does not exist; give a TOML file") from None
    except IsADirectoryError:
        raise UserError(f"{what} {path} is a folder; give a TOML file") from None
    except ValueError as error:  # also bytes that are not UTF-8
        raise UserError(f"{what} {path} is not TOML ({first_line(error)}); correct it") from None
    table = TomlTable(str(path), values)
    return table if known is None else table.check_keys(known)


@dataclass(frozen=True)
class TomlTable:
    """A table of a TOML file; `where`: the file, and the table in it, for messages."""

    where: str
    values: Mapping[str, Any]

    def check_keys(self, known: Sequence[str]) -> TomlTable:
        """Return the table. Raises UserError for a key that is not known, with the nearest known one."""
        for key in self.values:
            if key not in known:
                hint = did_you_mean(key, known, f"the keys are {', '.join(known)}")
                raise UserError(f"{self.where}: unknown key {key}{hint}")
        return self

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def error(self, key: str, reason: str) -> UserError:
        """A UserError about the value of a key."""
        if key not in self.values:
            return UserError(f"{self.where} has no {key}; {reason}")
        return UserError(f"{self.where}: {key} is {self.values[key]!r}; {reason}")

    def table(self, key: str, known: Sequence[str]) -> TomlTable:
        """The table [key], empty if it is missing."""
        values = self.values.get(key, {})
        if not isinstance(values, dict):
            raise self.error(key, f"write a table [{key}]")
        return TomlTable(f"{self.where}, [{key}]", values).check_keys(known)

    def tables(self, key: str, known: Sequence[str]) -> list[TomlTable]:
        """The tables [[key]], numbered from 1 in messages."""
        entries = self.values.get(key, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise self.error(key, f"write a table [[{key}]] for each")
        return [
            TomlTable(f"{self.where}, [[{key}]] {number}", entry).check_keys(known)
            for number, entry in enumerate(entries, 1)
        ]

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty. Without a default, the key is needed."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or (key in self.values and not value.strip()):
            raise self.error(key, "write a text in quotation marks")
        return " ".join(value.split())

    def number(self, key: str, least: float, most: float = math.inf, default: float | None = None) -> float:
        """A finite number, least <= number <= most. Without a default, the key is needed."""
        value = self.values.get(key, default)
        limits = f"from {least:g} to {most:g}" if math.isfinite(most) else f"of at least {least:g}"
        if not (_is_finite(value) and least <= value <= most):
            raise self.error(key, f"write a number {limits}")
        return float(value)

    def date(self, key: str) -> datetime.date:
        """A date, as in 2020-01-31, with or without quotation marks."""
        value = self.values.get(key)
        if isinstance(value, str):
            try:
                return datetime.date.fromisoformat(value)
            except ValueError:
                raise self.error(key, "write a date of the calendar as 2020-01-31") from None
        if isinstance(value, datetime.datetime):
            return value.date()
        if not isinstance(value, datetime.date):
            raise self.error(key, "write a date as 2020-01-31")
        return value

    def points(self, key: str) -> tuple[tuple[float, float], ...]:
        """A line of at least two different [latitude, longitude] in degrees."""
        value = self.values.get(key)
        hint = "write a line as [[latitude, longitude], [latitude, longitude], ...] in degrees"
        if not isinstance(value, list) or len(value) < 2:
            raise self.error(key, hint)
        points = []
        for point in value:
            if not (isinstance(point, list) and len(point) == 2 and all(map(_is_finite, point))):
                raise self.error(key, hint)
            latitude, longitude = map(float, point)
            if abs(latitude) > 90 or abs(longitude) > 180:
                swapped = ": latitude comes first" if abs(longitude) <= 90 and abs(latitude) <= 180 else ""
                raise self.error(
                    key, f"latitudes are from -90 to 90 and longitudes from -180 to 180{swapped}; correct it"
                )
            points.append((latitude, longitude))
        if len(set(points)) < 2:
            raise self.error(key, "a line has at least two different points")
        return tuple(points)


def _is_finite(value: Any) -> bool:
    """True for a number that a float can hold; TOML's integers are of any size."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
