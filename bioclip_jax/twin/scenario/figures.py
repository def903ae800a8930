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
from bioclip_jax.twin.estimate.figures import short_name, text_width

from .effects import DECLINES, INCREASES, LITTLE, UNDECIDED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {DECLINES: HUES[5], INCREASES: HUES[0], LITTLE: INK, UNDECIDED: "#b6bcc6"}
_WITH, _WITHOUT = HUES[5], MUTED
_WIDTH, _TOP, _COLUMNS = 7.6, 0.62, 2.85  # inches; _COLUMNS: right of the effects
# The axis of effects reaches at most so far, and at least so far; longer intervals end in an arrow.
_MOST, _LEAST, _GONE = math.log(200), math.log(1.1), math.log(10)
_FACTORS = (1, 1.02, 1.05, 1.1, 1.2, 1.5, 2, 3, 5, 10, 30, 100)


def draw_effects(result: Mapping[str, Any], path: Path) -> None:
    """Draw the log ratio of each species with its 50 and 90 % interval, sorted by the median, as a PNG.

    result: of compare_runs. Where the data cannot tell, points are open and lines gray.
    """
    species = sorted(result["species"].items(), key=lambda item: item[1]["log_ratio"]["median"])
    many = len(species) > 25
    size, row = (7.5, 0.19) if many else (8.5, 0.25)
    below = 0.55 + (0.32 if result["note"] else 0)
    height = _TOP + 0.1 + below + row * len(species)
    figure = new_figure(_WIDTH, height)
    names = [short_name(name, 36) for name, _ in species]
    left = 0.25 + text_width(figure, names, fontsize=size, style="italic")
    width = _WIDTH - left - _COLUMNS
    axes = figure.add_axes(
        (left / _WIDTH, below / height, width / _WIDTH, (height - _TOP - 0.1 - below) / height)
    )
    reach = _reach([one["log_ratio"] for _, one in species])
    for y, (_, one) in enumerate(species):
        _draw_interval(axes, y, one["log_ratio"], one["verdict"], reach)
        texts = (
            one["verdict"],
            f"{one['probability_of_decline']:.0%}",
            f"{one['probability_of_quasi_extinction']:.0%}",
        )
        _draw_columns(axes, y, width, texts, color=_text_color(one["verdict"]))
    _draw_columns(axes, len(species) - 0.1, width, ("", "P(decline)", "P(quasi-ext.)"), color=MUTED)
    axes.axvline(0, color=INK, lw=0.8)
    axes.set(xlim=(-reach, reach), ylim=(-0.6, len(species) - 0.4))
    axes.set_yticks(range(len(species)), names, style="italic")
    ticks = _factor_ticks(reach)
    axes.set_xticks([math.log(factor) for factor in ticks], [f"{factor:.3g}" for factor in ticks])
    style_axes(axes, "x", 8)
    axes.tick_params(axis="y", labelcolor=INK, labelsize=size)
    axes.set_xlabel(f"biomass: {result['scenario']} / {result['against']}", fontsize=8, color=MUTED)
    _write_head(
        figure,
        f"Effect on biomass: {result['scenario']}",
        f"mean of the last {_years(result['window_years'])}: median, 50 % interval (thick) and 90 % interval "
        f"of {_members(result)}",
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
    below = 0.4 + (0.32 if result["note"] else 0)
    height = _TOP + 1.3 * rows + below
    figure = new_figure(_WIDTH, height, layout="constrained")
    figure.get_layout_engine().set(rect=(0, below / height, 1, (height - _TOP - below) / height))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    years = np.array([day.toordinal() for day in times])
    years = times[0].year + (years - datetime.date(times[0].year, 1, 1).toordinal()) / 365.2425
    for number, axes in enumerate(grid.flat):
        if number >= len(names):
            axes.set_visible(False)
            continue
        _draw_trajectory(axes, years, with_[:, :, number], without[:, :, number])
        if number + columns >= len(names):
            axes.tick_params(labelbottom=True)
        name = short_name(names[number], 100 // columns)
        color = _text_color(result["species"][names[number]]["verdict"])
        axes.set_title(name, fontsize=7.5, style="italic", color=color, pad=3)
    for axes in grid[:, 0]:
        axes.set_ylabel("kg/km²", fontsize=7, color=MUTED)
    handles = [
        _handle(color, name) for color, name in ((_WITHOUT, result["against"]), (_WITH, result["scenario"]))
    ]
    figure.legend(
        handles=handles,
        loc="center",
        bbox_to_anchor=(0.5, (below - 0.18) / height),
        ncols=2,
        fontsize=8,
        frameon=False,
    )
    _write_head(
        figure,
        f"Biomass: {result['scenario']} and {result['against']}",
        f"median and 90 % of {_members(result)}; a gray name: the data cannot tell the direction",
        result["note"],
    )
    save_figure(figure, path)


def _draw_interval(axes: Axes, y: int, interval: Mapping[str, float], verdict: str, reach: float) -> None:
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
    labels = [f"{tick:,.0f}" if 1 <= tick < 1e4 else f"{tick:g}" for tick in ticks]
    axes.set_yticks(ticks, [label if tick < 1e4 else _power(tick) for tick, label in zip(ticks, labels)])
    axes.yaxis.set_minor_locator(NullLocator())


def _power(value: float) -> str:
    power = round(math.floor(math.log10(value)))
    digit = round(value / 10**power)
    return f"$10^{power}$" if digit == 1 else f"${digit}\\!\\cdot\\!10^{power}$"


def _year_ticks(years: float) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(3, integer=True, steps=[1, 2, 5, 10])


def _factor_ticks(reach: float) -> list[float]:
    """Factors up to reach and their inverses, at a distance that labels fit."""
    inside = [factor for factor in _FACTORS if 0 < math.log(factor) <= 0.97 * reach]
    kept: list[float] = []
    for factor in inside:
        if math.log(factor) - (math.log(kept[-1]) if kept else 0) >= reach / 4:
            kept.append(factor)
    return [*(1 / factor for factor in reversed(kept)), 1, *kept]


def _text_color(verdict: str) -> Any:
    return "#8b929e" if verdict == UNDECIDED else darker(_COLORS[verdict])


def _write_head(figure: Figure, title: str, subtitle: str, note: str) -> None:
    """Write a title and a line below it at the top, and a note at the bottom."""
    height = figure.get_figheight()
    x = 0.1 / _WIDTH
    figure.text(x, 1 - 0.1 / height, title, fontsize=10.5, color=INK, va="top")
    figure.text(x, 1 - 0.32 / height, subtitle, fontsize=8, color=MUTED, va="top")
    if note:
        figure.text(x, 0.08 / height, "\n".join(textwrap.wrap(note, 125)), fontsize=7, color=darker(HUES[5]))


def _draw_columns(axes: Axes, y: float, width: float, texts: Sequence[str], *, color: Any) -> None:
    """Write verdict and probabilities to the right of axes of a width in inches."""
    for x, text, align in zip((0.12, 1.95, 2.75), texts, ("left", "right", "right")):
        transform = axes.get_yaxis_transform()
        axes.text(
            1 + x / width, y, text, ha=align, va="center", fontsize=7.5, color=color, transform=transform
        )


def _reach(intervals: Sequence[Mapping[str, float]]) -> float:
    """Return the end of an axis of log ratios that shows most medians and intervals."""
    # A species that is all but gone would leave no room to tell the others apart.
    shown = [one for one in intervals if abs(one["median"]) < _GONE] or intervals
    inner = max(abs(one[key]) for one in shown for key in ("lower_50", "upper_50", "median"))
    outer = max(abs(one[key]) for one in shown for key in ("lower", "upper"))
    return min(max(_LEAST, min(1.6 * inner, outer) * 1.08), _MOST)


def _members(result: Mapping[str, Any]) -> str:
    first, second = result["members"]
    if result["paired"]:
        return f"{first:,} paired members"
    return f"{first:,} and {second:,} members, not paired"


def _years(years: float) -> str:
    return "year" if years == 1 else f"{years:g} years"


def _handle(color: str, name: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, lw=1.6, label=name)
