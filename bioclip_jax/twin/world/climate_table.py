"""Read the climate of the patches: a table of 12 months, for all patches or for each.

month               1 to 12
rain_mm             mean total of the month
temperature_c       mean of the month
patch               name of the patch; without this column the rows are for all
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bioclip_jax.errors import UserError, did_you_mean
from bioclip_jax.tables import read_table, table_rows

from .climate import FREEZING_K, MONTH_LIMITS, Climate

_COLUMNS = ("month", "rain_mm", "temperature_c")
_OTHER_UNITS = {
    "temperature_k": "temperature_c (0 °C = 273.15 K)",
    "temperature_f": "temperature_c",
    "temperature": "temperature_c, in degrees Celsius",
    "rain_cm": "rain_mm (1 cm = 10 mm)",
    "rain": "rain_mm, in millimeters",
    "precipitation": "rain_mm, in millimeters",
    "precipitation_mm": "rain_mm",
}


def read_climate(
    path: str | os.PathLike[str],
    patches: Sequence[str],
    rain_cv: float = 0.0,
    rain_autocorrelation: float = 0.0,
) -> Climate:
    """Read the monthly means of patches, by their names.

    Raises UserError for a column in another unit, a missing or repeated month, an unknown patch, and a value
    that is missing or implausible.
    """
    table = read_table(path, _COLUMNS[:1], known=(*_COLUMNS, "patch"))
    for column in _COLUMNS:
        if column not in table.column_names:
            other = next((name for name in table.column_names if column in _OTHER_UNITS.get(name, "")), None)
            hint = f"column {other} is not known; give {_OTHER_UNITS[other]}" if other else "add it"
            raise UserError(f"{path} has no column {column}; {hint}")
    by_patch = "patch" in table.column_names
    names = tuple(patches) if by_patch else ("",)
    means = {column: np.full((12, len(names)), np.nan) for column in MONTH_LIMITS}
    for number, row in enumerate(table_rows(table), 2):
        where = f"{path}, row {number}"
        month = _number(where, row, "month", 1, 12)
        if month != int(month):
            raise UserError(f"{where}: month is {row['month']!r}; write 1 to 12")
        name = " ".join(str(row["patch"] or "").split()) if by_patch else ""
        if name not in names:
            hint = did_you_mean(name, names, f"the patches are {', '.join(names)}")
            raise UserError(f"{where}: patch is {name!r}, which the world does not have{hint}")
        index = int(month) - 1, names.index(name)
        if not math.isnan(means["rain_mm"][index]):
            raise UserError(f"{where}: month {int(month)}{f' of {name}' * by_patch} is there twice; keep one")
        for column, limits in MONTH_LIMITS.items():
            means[column][index] = _number(where, row, column, *limits)
    missing = np.argwhere(np.isnan(means["rain_mm"].T))
    if len(missing):
        patch, month = missing[0]
        of = f" of the patch {names[patch]}" if by_patch else ""
        raise UserError(f"{path} has no month {month + 1}{of}; a climate needs all 12 months")
    if not by_patch:
        means = {column: np.repeat(values, len(patches), axis=1) for column, values in means.items()}
    dry = np.flatnonzero(means["rain_mm"].sum(axis=0) == 0)
    if len(dry):
        raise UserError(f"{path}: no rain in any month in {patches[dry[0]]}; nothing would grow, give some")
    return Climate(means["rain_mm"], means["temperature_c"] + FREEZING_K, rain_cv, rain_autocorrelation)


def _number(where: str, row: Mapping[str, Any], column: str, least: float, most: float) -> float:
    text = "" if row[column] is None else str(row[column]).strip()
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{where}: {column} is {text!r}; write a number") from None
    if not least <= value <= most:  # NaN too
        raise UserError(
            f"{where}: {column} is {text!r}; it must be between {least:g} and {most:g}: is the unit right?"
        )
    return value
