"""Rodents of the Portal Project: captures per plot and census, and what the fences changed.

Long-term experiment in the Chihuahuan Desert, Arizona: 24 plots of a quarter of a hectare, trapped about once
a month. Fences with gates keep kangaroo rats out of some plots and let smaller rodents pass.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import UserError

from .published_table import read_rows

CONTROL, EXCLOSURE = "Control", "Long-term Krat Exclosure"
KANGAROO_RATS = "kangaroo rats"
POCKET_MICE = "pocket mice"
DEER_MICE = "deer and harvest mice"
GRASSHOPPER_MICE = "grasshopper mice"
# Species codes by group; the five small granivores are the pocket mice, deer and harvest mice.
GROUPS = {
    KANGAROO_RATS: ("DM", "DO", "DS"),
    POCKET_MICE: ("PF", "PP"),
    DEER_MICE: ("PE", "PM", "RM"),
    GRASSHOPPER_MICE: ("OL", "OT"),
}
GRANIVORES = (POCKET_MICE, DEER_MICE)
# The first whole year after the fences, and the last of the captures.
FIRST_YEAR, LAST_YEAR = 1978, 2002
SURVEYS, PLOTS, TRAPPING = "surveys.csv", "plots.csv", "Portal_rodent_trapping.csv"
_COLUMNS = {
    SURVEYS: ("year", "month", "plot_id", "species_id", "weight"),
    PLOTS: ("plot_id", "plot_type"),
    TRAPPING: ("year", "month", "plot", "sampled"),
}


@dataclass(frozen=True)
class Counts:
    """Captures by group, plot and quarter of a year from January of FIRST_YEAR on.

    captures: number of rodents caught. censuses: nights on which a plot was trapped. mass_g: mean mass of
    the captured, by group.
    """

    plots: tuple[int, ...]
    captures: Float[np.ndarray, "groups plots quarters"]
    censuses: Float[np.ndarray, "plots quarters"]
    mass_g: Float[np.ndarray, " groups"]

    def rates(self, groups: Collection[str]) -> Float[np.ndarray, " plots"]:
        """Captures per census of each plot over all quarters, of several groups together."""
        rows = [index for index, group in enumerate(GROUPS) if group in groups]
        return self.captures[rows].sum(axis=(0, 2)) / self.censuses.sum(axis=1)


def read_counts(folder: str | os.PathLike[str], treatment: str) -> Counts:
    """Read the captures on the plots of one treatment, and of no others.

    folder: with Portal's tables surveys, plots and trapping effort. Raises UserError for a missing file or
    column, a value that is no number, and a treatment that no plot has.
    """
    folder = Path(folder)
    plots = sorted(
        _integer(row, "plot_id", folder / PLOTS)
        for row in read_rows(folder / PLOTS, _COLUMNS[PLOTS])
        if row["plot_type"] == treatment
    )
    if not plots:
        raise UserError(f"{folder / PLOTS} has no plot of type {treatment!r}; give Portal's own table")
    place = {plot: index for index, plot in enumerate(plots)}
    group_of = {code: index for index, codes in enumerate(GROUPS.values()) for code in codes}

    censuses = np.zeros((len(plots), 4 * (LAST_YEAR - FIRST_YEAR + 1)))
    for row in read_rows(folder / TRAPPING, _COLUMNS[TRAPPING]):
        plot, quarter = _integer(row, "plot", folder / TRAPPING), _quarter(row, folder / TRAPPING)
        if plot in place and 0 <= quarter < censuses.shape[1] and row["sampled"] == "1":
            censuses[place[plot], quarter] += 1
    by_year = censuses.reshape(len(plots), -1, 4).sum(axis=2)
    if not by_year.all():
        index, year = np.argwhere(by_year == 0)[0]
        raise UserError(
            f"{folder / TRAPPING} has no census of plot {plots[index]} in {FIRST_YEAR + year}; a ratio needs "
            f"all years from {FIRST_YEAR} to {LAST_YEAR}"
        )

    captures: Counter[tuple[int, int, int]] = Counter()
    masses = defaultdict(list)
    for row in read_rows(folder / SURVEYS, _COLUMNS[SURVEYS]):
        group = group_of.get(row["species_id"])
        if group is None:
            continue
        plot, quarter = _integer(row, "plot_id", folder / SURVEYS), _quarter(row, folder / SURVEYS)
        if plot not in place or not 0 <= quarter < censuses.shape[1]:
            continue
        captures[group, place[plot], quarter] += 1
        if row["weight"]:
            masses[group].append(_number(row, "weight", folder / SURVEYS))
    table = np.zeros((len(GROUPS), *censuses.shape))
    for key, count in captures.items():
        table[key] = count
    for index, name in enumerate(GROUPS):
        if not masses[index]:
            raise UserError(f"{folder / SURVEYS} has no {name} with a weight on plots of type {treatment!r}")
    return Counts(tuple(plots), table, censuses, np.array([np.mean(masses[g]) for g in range(len(GROUPS))]))


def ratio_interval(
    treated: Float[np.ndarray, " plots"],
    control: Float[np.ndarray, " plots"],
    *,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return the ratio of mean rates, and its percentile bootstrap over the plots of either treatment."""
    random = np.random.default_rng(seed)
    means = [
        plots[random.integers(len(plots), size=(draws, len(plots)))].mean(axis=1)
        for plots in (treated, control)
    ]
    tail = (1 - level) / 2
    lower, upper = np.quantile(means[0] / means[1], [tail, 1 - tail])
    return float(treated.mean() / control.mean()), float(lower), float(upper)


def _number(row: dict[str, str], column: str, path: Path) -> float:
    try:
        return float(row[column])
    except ValueError:
        raise UserError(f"{path}: {column} {row[column]!r} is not a number; correct it") from None


def _quarter(row: dict[str, str], path: Path) -> int:
    """Quarters since the start of FIRST_YEAR, negative before it."""
    return 4 * (_integer(row, "year", path) - FIRST_YEAR) + (_integer(row, "month", path) - 1) // 3


def _integer(row: dict[str, str], column: str, path: Path) -> int:
    return int(_number(row, column, path))
