"""Figures of a comparison: effects by species, and trajectories with and without."""

from __future__ import annotations

import datetime
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from bioclip_jax.plots import HUES, INK, MUTED, darker, new_figure, save_figure, style_axes

from .effects import DECLINES, INCREASES, LITTLE, UNDECIDED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {DECLINES: HUES[5], INCREASES: HUES[0], LITTLE: INK, UNDECIDED: "#b6bcc6"}
_WITH, _WITHOUT = HUES[5], MUTED
_WIDTH = 7.6  # inches
# The axis of effects reaches at most so far, and at least so far; longer intervals end in an arrow.
_MOST, _LEAST = math.log(200), math.log(1.5)
_FACTORS = (1, 1.1, 1.2, 1.5, 2, 3, 5, 10, 30, 100)


def draw_effects(result: Mapping[str, Any], path: Path) -> None:
    """Draw the log ratio of each species with its 50 and 90 % interval, sorted by the median, as a PNG.

    result: of compare_runs. Where the data cannot tell, points are open and lines gray.
    """
    species = sorted(result["species"].items(), key=lambda item: item[1]["log_ratio"]["median"])
    row = 0.25 if len(species) <= 25 else 0.19
    height = 1.35 + row * max(len(species), 3)
    figure = new_figure(_WIDTH, height, layout="constrained")
    axes = figure.add_subplot()
    reach = max(abs(one["log_ratio"][key]) for _, one in species for key in ("lower_50", "upper_50", "median"))
    widest = max(abs(one["log_ratio"][key]) for _, one in species for key in ("lower", "upper"))
    reach = min(max(_LEAST, min(1.6 * reach, widest) * 1.08), _MOST)
    for y, (_, one) in enumerate(species):
        _draw_interval(axes, y, one["log_ratio"], one["verdict"], reach)
        risk = one["probability_of_quasi_extinction"]
        style = {"va": "center", "fontsize": 7.5, "transform": axes.get_yaxis_transform()}
        color = _text_color(one["verdict"])
        axes.text(1.02, y, one["verdict"], color=color, **style)
        axes.text(1.36, y, f"{one['probability_of_decline']:.0%}", color=color, ha="right", **style)
        axes.text(1.52, y, f"{risk:.0%}", color=color, ha="right", **style)
    head = {"fontsize": 7.5, "color": MUTED, "va": "bottom", "transform": axes.get_yaxis_transform()}
    axes.text(1.36, len(species) - 0.45, "declines", ha="right", **head)
    axes.text(1.52, len(species) - 0.45, "quasi-extinct", ha="right", **head)
    axes.axvline(0, color=INK, lw=0.8)
    axes.set(xlim=(-reach, reach), ylim=(-0.6, len(species) - 0.4))
    axes.set_yticks(range(len(species)), [name for name, _ in species], style="italic")
    ticks = [factor for factor in _factor_ticks(reach) if abs(math.log(factor)) <= reach]
    axes.set_xticks([math.log(factor) for factor in ticks], [f"{factor:.3g}" for factor in ticks])
    style_axes(axes, "x", 8)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_xlabel(f"biomass, {result['scenario']} / {result['against']}", fontsize=8.5, color=MUTED)
    _title(
        figure,
        f"Effect of {result['scenario']}",
        f"mean of the last {_years(result['window_years'])}: median, 50 % (thick) and 90 % interval of "
        f"{_members(result)}",
        result["note"],
    )
    save_figure(figure, path)


def draw_trajectories(
    result: Mapping[str, Any],
    times: Sequence[datetime.date],
    with_: Float[np.ndarray, "members times species"],
    without: Float[np.ndarray, "others times species"],
    path: Path,
) -> None:
    """Draw the biomass of each species over time, with and without, as small multiples in a PNG.

    Lines are medians, bands hold 90 % of the members; axes are logarithmic, with a bottom for extinction.
    """
    names = list(result["species"])
    columns = min(len(names), 3 if len(names) <= 9 else 4 if len(names) <= 20 else 5)
    rows = math.ceil(len(names) / columns)
    figure = new_figure(_WIDTH, 1.0 + 1.35 * rows, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    years = np.array([day.toordinal() for day in times])
    years = times[0].year + (years - datetime.date(times[0].year, 1, 1).toordinal()) / 365.2425
    for number, axes in enumerate(grid.flat):
        if number >= len(names):
            axes.set_visible(False)
            continue
        _draw_trajectory(axes, years, with_[:, :, number], without[:, :, number])
        name = "\n".join(textwrap.wrap(names[number], 110 // columns)[:2])
        color = _text_color(result["species"][names[number]]["verdict"])
        axes.set_title(name, fontsize=7.5, style="italic", color=color, pad=3)
    for axes in grid[:, 0]:
        axes.set_ylabel("kg/km²", fontsize=7, color=MUTED)
    handles = [
        _handle(color, name)
        for color, name in ((_WITHOUT, result["against"]), (_WITH, result["scenario"]))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    _title(
        figure,
        f"Biomass with {result['scenario']} and with {result['against']}",
        f"median and 90 % of {_members(result)}; a gray name: the data cannot tell the direction",
        result["note"],
    )
    save_figure(figure, path)


def _draw_interval(
    axes: Axes, y: int, interval: Mapping[str, float], verdict: str, reach: float
) -> None:
    color, undecided = _COLORS[verdict], verdict == UNDECIDED
    for low, high, width in (("lower", "upper", 1.1), ("lower_50", "upper_50", 3.4)):
        ends = np.clip([interval[low], interval[high]], -reach, reach)
        axes.plot(ends, [y, y], color=color, lw=width, solid_capstyle="butt", zorder=2)
    for end, sign, marker in (("lower", -1, "<"), ("upper", 1, ">")):
        if sign * interval[end] > reach:
            axes.plot(sign * reach, y, marker=marker, color=color, ms=4, clip_on=False, zorder=3)
    if abs(interval["median"]) <= reach:
        face = "white" if undecided else color
        axes.plot(interval["median"], y, "o", color=color, mfc=face, mew=1.2, ms=5, zorder=4)


def _draw_trajectory(
    axes: Axes,
    years: Float[np.ndarray, " times"],
    with_: Float[np.ndarray, "members times"],
    without: Float[np.ndarray, "others times"],
) -> None:
    start = np.median(without[:, 0])
    quantiles = [np.quantile(path, [0.05, 0.5, 0.95], axis=0) for path in (without, with_)]
    top = max(values.max() for values in quantiles)
    top = top if top > 0 else 1.0
    bottom = max(min(values[values > 0].min(initial=top) for values in quantiles), (start or top) * 1e-3)
    bottom = min(bottom, top / 3) / 1.3
    for (low, median, high), color, z in zip(quantiles, (_WITHOUT, _WITH), (2, 3)):
        shown = [np.maximum(values, bottom) for values in (low, median, high)]
        axes.fill_between(years, shown[0], shown[2], color=color, alpha=0.22, lw=0, zorder=z)
        axes.plot(years, shown[1], color=color, lw=1.2, zorder=z + 2)
    axes.set(yscale="log", ylim=(bottom, top * 1.15), xlim=(years[0], years[-1]))
    _log_ticks(axes, bottom, top * 1.15)
    style_axes(axes, "y", 6.5)
    axes.xaxis.set_major_locator(_year_ticks(years[-1] - years[0]))
    axes.xaxis.set_major_formatter("{x:.0f}")


def _log_ticks(axes: Axes, bottom: float, top: float) -> None:
    """Two to four labels on a log axis of any length."""
    from matplotlib.ticker import NullLocator

    decades = math.log10(top / bottom)
    steps = (1, 2, 5) if decades < 1.5 else (1, 3) if decades < 2.5 else (1,)
    powers = range(math.floor(math.log10(bottom)), math.ceil(math.log10(top)) + 1)
    ticks = [step * 10.0**power for power in powers for step in steps if bottom <= step * 10.0**power <= top]
    while len(ticks) > 4:
        ticks = ticks[::2]
    axes.set_yticks(ticks, [f"{tick:,.3g}" if tick < 1e4 else f"{tick:.0e}".replace("e+0", "e") for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())


def _year_ticks(years: float) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(3, integer=True, steps=[1, 2, 5, 10])


def _factor_ticks(reach: float) -> list[float]:
    """Factors up to reach and their inverses, at a distance that labels fit."""
    inside = [factor for factor in _FACTORS if 0 < math.log(factor) <= reach]
    kept: list[float] = []
    for factor in inside:
        if math.log(factor) - (math.log(kept[-1]) if kept else 0) >= reach / 5:
            kept.append(factor)
    return [*(1 / factor for factor in reversed(kept)), 1, *kept]


def _text_color(verdict: str) -> Any:
    return "#8b929e" if verdict == UNDECIDED else darker(_COLORS[verdict])


def _title(figure: Figure, title: str, subtitle: str, note: str) -> None:
    lines = [title, *textwrap.wrap(subtitle, 110)]
    figure.suptitle("\n".join(lines), fontsize=9, color=INK, x=0.01, ha="left")
    if note:
        figure.supxlabel("\n".join(textwrap.wrap(note, 120)), fontsize=7, color=HUES[5], x=0.01, ha="left")


def _members(result: Mapping[str, Any]) -> str:
    first, second = result["members"]
    pairs = f"{first:,} paired members" if result["paired"] else f"{first:,} and {second:,} members, not paired"
    return pairs


def _years(years: float) -> str:
    return "year" if years == 1 else f"{years:g} years"


def _handle(color: str, name: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, lw=1.6, label=name)
