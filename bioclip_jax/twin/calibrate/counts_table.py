"""Counts of a table, of live traps for instance: one row per period, patch and species. CSV or Parquet.

    date             day (2020-03-14) or month (2020-03) of the count; or
    start, end       first and last day of the period
    patch            name of a patch of the twin; needed if it has several
    species          name of a species of the twin; empty if nothing was caught
    count            individuals or events
    effort_days      trap or camera days of the period and patch; 0 if there was no effort

A species of the table that has no row in a period and patch with effort was counted 0 times there. Without
effort nothing is known.
"""

from __future__ import annotations

import datetime
import math
import os
from dataclasses import dataclass

import numpy as np

from bioclip_jax.errors import UserError, did_you_mean
from bioclip_jax.tables import read_table, table_rows
from bioclip_jax.twin.world import Twin

from .observations import Observations
from .periods import days_since, next_month

_COLUMNS = ("date", "start", "end", "patch", "species", "count", "effort_days")
_DAY = datetime.timedelta(days=1)
# What is beyond is a slip of the pen.
_LAST_YEAR = 2999
_MOST = 1_000_000_000


@dataclass(frozen=True)
class _Count:
    """A row: bounds of the period, the end exclusive, patch, species ("" for none), count and effort."""

    where: str
    start: datetime.date
    end: datetime.date
    patch: str
    species: str
    count: float
    effort_days: float


def read_counts(path: str | os.PathLike[str], twin: Twin) -> Observations:
    """Read a table of counts of the twin's species.

    Raises UserError, which names file and row, for an unknown species or patch, a date that is none or before
    the twin's start, a count or effort that is none or negative, a count without effort, efforts of one
    period and patch that differ, and a row that is there twice.
    """
    table = read_table(path, ["species"], known=_COLUMNS)
    columns = table.column_names
    missing = [name for name in ("species", "count", "effort_days") if name not in columns]
    if not missing and "date" not in columns and not {"start", "end"} <= set(columns):
        missing = ["date"]
    if not missing and "patch" not in columns and len(twin.patches) > 1:
        missing = ["patch"]
    if missing:
        raise UserError(f"{path} has no column {missing[0]}{did_you_mean(missing[0], columns, 'add it')}")
    rows = [
        _read_row(f"{path}, row {number}", {name: _text(value) for name, value in row.items()}, twin)
        for number, row in enumerate(table_rows(table), 2)
    ]
    return _assemble(rows, twin)


def _assemble(rows: list[_Count], twin: Twin) -> Observations:
    periods = sorted({(row.start, row.end) for row in rows})
    index = {period: number for number, period in enumerate(periods)}
    patches = {patch.name: number for number, patch in enumerate(twin.patches)}
    caught = {row.species for row in rows} - {""}
    classes = tuple(one.name for one in twin.species if one.name in caught)
    if not classes:
        raise UserError(f"{rows[0].where.rpartition(',')[0]} has no species; nothing can be calibrated")
    effort = np.full((len(periods), len(patches)), np.nan)
    counts = np.zeros((*effort.shape, len(classes)))
    seen: dict[tuple, str] = {}
    for row in rows:
        at = index[row.start, row.end], patches[row.patch]
        if not np.isnan(effort[at]) and effort[at] != row.effort_days:
            raise UserError(
                f"{row.where}: effort_days is {row.effort_days:g}, and {effort[at]:g} in another row of the "
                "same period and patch; give each the effort of all traps"
            )
        effort[at] = row.effort_days
        if (first := seen.setdefault((*at, row.species), row.where)) != row.where:
            raise UserError(
                f"{row.where}: {row.species or 'the empty catch'} is there twice in this period and patch "
                f"(first: {first}); keep one"
            )
        if row.species:
            counts[*at, classes.index(row.species)] = row.count
    effort = np.nan_to_num(effort)
    return Observations(
        classes=classes,
        counts=np.where((effort > 0)[:, :, None], counts, np.nan),
        effort_days=effort,
        start_day=days_since(twin.start, [start for start, _ in periods]),
        end_day=days_since(twin.start, [end for _, end in periods]),
    )


def _read_row(where: str, row: dict[str, str], twin: Twin) -> _Count:
    start, end = _period(where, row)
    if start < twin.start:
        raise UserError(
            f"{where}: {start} is before the twin's start, {twin.start}; start the twin earlier, or drop "
            "the row"
        )
    names = [patch.name for patch in twin.patches]
    patch = row.get("patch", "") or (names[0] if len(names) == 1 else "")
    if patch not in names:
        hint = did_you_mean(patch, names, f"the twin has {', '.join(names[:5])}")
        raise UserError(f"{where}: patch {patch!r} is not one of the twin's{hint}")
    species = row.get("species", "")
    known = [one.name for one in twin.species]
    if species and species not in known:
        hint = did_you_mean(species, known, "add it to the twin's species, or drop the row")
        raise UserError(f"{where}: {species!r} is not a species of the twin{hint}")
    effort = _number(where, row, "effort_days")
    count = _number(where, row, "count") if row.get("count") or species else 0.0
    if count != round(count):
        raise UserError(f"{where}: count is {count:g}; counts are whole numbers")
    if count and not species:
        raise UserError(f"{where}: a count of {count:g} without a species; name it")
    if count and not effort:
        raise UserError(f"{where}: a count of {count:g} without effort; give effort_days")
    return _Count(where, start, end, patch, species, count, effort)


def _period(where: str, row: dict[str, str]) -> tuple[datetime.date, datetime.date]:
    """Return the first day of a row's period and the day after its last."""
    if text := row.get("date"):
        if len(text) == 7:
            start = _date(where, "date", f"{text}-01")
            return start, next_month(start)
        start = _date(where, "date", text)
        return start, start + _DAY
    start, end = (_date(where, name, row.get(name, "")) for name in ("start", "end"))
    if end < start:
        raise UserError(f"{where}: the end, {end}, is before the start, {start}; swap them")
    return start, end + _DAY


def _date(where: str, column: str, text: str) -> datetime.date:
    try:
        day = datetime.date.fromisoformat(text)
        if day.year > _LAST_YEAR:
            raise ValueError
        return day
    except ValueError:
        raise UserError(f"{where}: {column} is {text!r}; write a day as 2020-03-14") from None


def _number(where: str, row: dict[str, str], column: str) -> float:
    try:
        value = float(row.get(column, ""))
    except ValueError:
        value = math.nan
    if not 0 <= value <= _MOST:
        raise UserError(f"{where}: {column} is {row.get(column, '')!r}; write a number from 0 to {_MOST:,}")
    return value


def _text(value: object) -> str:
    return "" if value is None else " ".join(str(value).split())
