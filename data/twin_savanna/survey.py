"""A camera survey of the savanna with planted densities: monthly counts, movement, and the truth."""

import calendar
import csv
import datetime
import io
import json
import math
from importlib import resources

import numpy as np

from bioclip_jax.datasets.twin_savanna.terrain import PATCHES

# All assumed: 20 cameras a patch through the year, and animals that cross their fields of view at random.
_YEAR, _CAMERAS = 2020, 20
_SPEED_M_PER_S, _RADIUS_M, _ANGLE_RAD = 0.05, 8.0, 0.7
_RELATIVE_ERROR = 0.1
# Of the true density from the species table's, on the log scale.
_SPREAD = 0.5
# Variance of a count: mean + _DISPERSION · mean².
_DISPERSION = 0.2


def draw_survey(seed: int) -> dict[str, str]:
    """Return survey.csv, movement.csv and planted.json of the mammals and birds as texts by name.

    Densities are planted in all patches alike and steady through the year: those of the species table times
    a log-normal factor of standard deviation 0.5. Events are those of the random encounter model (Rowcliffe
    et al. 2008, J. Appl. Ecol. 45:1228), negative binomial.
    """
    rng = np.random.default_rng([seed, 19])
    table = csv.DictReader(io.StringIO(resources.files(__package__).joinpath("species.csv").read_text()))
    density = {row["name"]: float(row["density_per_km2"]) for row in table if row["kind"] == "endotherm"}
    names = list(density)
    planted = np.array(list(density.values())) * np.exp(_SPREAD * rng.standard_normal(len(names)))
    # What movement.csv says is as wrong as its standard errors.
    speed = _SPEED_M_PER_S * np.exp(_RELATIVE_ERROR * rng.standard_normal(len(names)))
    per_day = 86_400 * 1e-6 * speed * _RADIUS_M * (2 + _ANGLE_RAD) / math.pi

    counts = [("start", "end", "patch", "species", "count", "effort_days")]
    for month in range(1, 13):
        length = calendar.monthrange(_YEAR, month)[1]
        start, end = (datetime.date(_YEAR, month, day) for day in (1, length))
        effort = _CAMERAS * length
        for patch in PATCHES:
            mean = planted * per_day * effort
            events = rng.poisson(rng.gamma(1 / _DISPERSION, _DISPERSION * mean))
            counts += [(start, end, patch, name, n, effort) for name, n in zip(names, events, strict=True)]
    movement = [
        ("scientificName", "speed_m_per_s", "speed_se", "radius_m", "radius_se", "angle_rad", "angle_se")
    ]
    movement += [
        (name, _SPEED_M_PER_S, _RELATIVE_ERROR * _SPEED_M_PER_S, _RADIUS_M, 0.2, _ANGLE_RAD, 0.05)
        for name in names
    ]
    truth = {name: round(float(value), 6) for name, value in zip(names, planted, strict=True)}
    return {
        "survey.csv": _text(counts),
        "movement.csv": _text(movement),
        "planted.json": json.dumps({"density_per_km2": truth}, indent=1) + "\n",
    }


def _text(rows: list[tuple]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()
