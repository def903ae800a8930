"""Occupancy, relative abundance and density of all species, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_jax.plots import GRID, HUES, INK, MUTED, new_figure, style_axes

from .names import save, short_name, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ESTIMATE, _NAIVE = HUES[0], HUES[5]
_WIDTH, _TOP, _BOTTOM, _GAP, _RIGHT = 7.6, 0.7, 0.56, 0.22, 0.2  # inches
_TICK = 0.44  # width of a tick's label on a log axis, with the space around it
_MANY = 25  # species, whose rows are lower
# A log axis reaches this far beyond the estimates; longer intervals end in an arrow.
_REACH = 30.0
_NICE = np.array([1.0, 2.0, 5.0])


def draw_occupancy(result: Mapping[str, Any], path: Path) -> None:
    """Draw each species' occupancy beside its naive value, its relative abundance and, where given, density.

    result: as `twin estimate` returns it. path: a PNG, PDF or SVG. Species are sorted by occupancy. Relative
    abundance and density are on log axes; an interval that leaves the axis, as one from 0 does, ends in an
    arrow.
    """
    species = sorted(
        result["species"].items(), key=lambda item: (-(item[1]["occupancy"] or {}).get("mean", -1), item[0])
    )
    values = [value for _, value in species]
    rows = [0.25 if len(species) <= _MANY else 0.19] * len(species)
    height = _TOP + _BOTTOM + max(sum(rows), 0.6)
    figure = new_figure(_WIDTH, height)
    size = 8.5 if len(species) <= _MANY else 7.5
    has_density = any(value.get("density_per_km2") for value in values)
    names = [short_name(name, 30 if has_density else 38) for name, _ in species]
    left = 0.3 + text_width(figure, names, fontsize=size, style="italic")
    panels: list[tuple[str, str, list[Any], list[float | None]]] = [
        (
            "occupancy",
            "share of sites occupied",
            [value["occupancy"] for value in values],
            [value["naive_occupancy"] for value in values],
        ),
        (
            "relative abundance",
            "events per 100 days",
            [value["relative_abundance_per_100_days"] for value in values],
            [(value["relative_abundance_per_100_days"] or {}).get("naive") for value in values],
        ),
    ]
    if has_density:
        densities = [value.get("density_per_km2") for value in values]
        panels.append(("density", "animals per km²", densities, [None] * len(values)))

    width = (_WIDTH - left - _RIGHT - _GAP * (len(panels) - 1)) / len(panels)
    for number, (title, unit, intervals, naive) in enumerate(panels):
        x = left + number * (width + _GAP)
        axes = figure.add_axes(
            (x / _WIDTH, _BOTTOM / height, width / _WIDTH, (height - _TOP - _BOTTOM) / height)
        )
        _draw_panel(axes, intervals, naive, log=number > 0)
        axes.set_title(title, loc="left", fontsize=9.5, color=INK, pad=5)
        axes.set_xlabel(unit, fontsize=8.5, color=MUTED, labelpad=4)
        axes.set_yticks(range(len(names)), names if number == 0 else [""] * len(names))
        for label in axes.get_yticklabels():
            label.set(style="italic", fontsize=size, color=INK)
    _draw_legend(figure, height, float(result.get("level", 0.90)))
    save(figure, path)


def _draw_panel(
    axes: Axes, intervals: Sequence[Mapping[str, float] | None], naive: Sequence[float | None], *, log: bool
) -> None:
    style_axes(axes, "x", 8)
    low, high = _log_limits(intervals, naive) if log else (0.0, 1.0)
    if log:
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        inches = axes.get_window_extent().width / axes.figure.dpi
        ticks = _log_ticks(low, high, int(inches / _TICK))
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    else:
        # Room for points at 0 and 1.
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_ylim(len(intervals) - 0.5, -0.5)
    axes.hlines(np.arange(len(intervals)), 0, 1, transform=axes.get_yaxis_transform(), color=GRID, lw=0.5)
    for row, (interval, simple) in enumerate(zip(intervals, naive, strict=True)):
        if simple is not None and (not log or simple > 0):
            axes.plot(
                simple, row, "D", markersize=4.6, markerfacecolor="white", markeredgecolor=_NAIVE, zorder=3,
                markeredgewidth=1.1, clip_on=False,
            )  # fmt: skip
        if interval is None:
            _write_missing(axes, row, "–")
            continue
        mean, lower, upper = interval["mean"], interval["lower"], interval["upper"]
        if log and upper <= 0:
            _write_missing(axes, row, "0")
            continue
        axes.hlines(row, max(lower, low), min(upper, high), color=_ESTIMATE, lw=1.7, zorder=4)
        for limit, edge, marker in ((lower, low, "<"), (-upper, -high, ">")):
            if log and limit < edge:
                axes.plot(abs(edge), row, marker, color=_ESTIMATE, markersize=4.5, clip_on=False, zorder=4)
        if not log or mean >= low:
            axes.plot(mean, row, "o", color=_ESTIMATE, markersize=4.6, zorder=5, clip_on=False)


def _write_missing(axes: Axes, row: int, text: str) -> None:
    axes.text(
        0.015, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=7.5, color=MUTED,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )  # fmt: skip


def _log_limits(
    intervals: Sequence[Mapping[str, float] | None], naive: Sequence[float | None]
) -> tuple[float, float]:
    """Limits that show all estimates and the intervals within a reach of them."""
    limits = [interval for interval in intervals if interval and interval["upper"] > 0]
    means = [interval["mean"] for interval in limits if interval["mean"] > 0]
    means += [value for value in naive if value]
    if not means:
        means = [interval["upper"] for interval in limits] or [1.0]
    lowest, highest = min(means), max(means)
    low = min([lowest, *(max(interval["lower"], lowest / _REACH) for interval in limits)])
    high = max([highest, *(min(interval["upper"], highest * _REACH) for interval in limits)])
    # At least a decade, so that two ticks have labels.
    middle = np.sqrt(low * high)
    return min(low / 1.25, middle / 3.3), max(high * 1.25, middle * 3.3)


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` ticks: powers of ten times 1, 2 and 5, or 1 and 3, or alone, or some of them."""
    decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    choices = [np.outer(10.0**decades, factors).ravel() for factors in (_NICE, (1, 3))]
    choices += [10.0 ** decades[decades % every == 0] for every in (1, 2, 3, 4)]
    ticks: list[float] = []
    for choice in choices:
        # Multiplied powers, whose last digits are noise.
        ticks = [float(f"{tick:.6g}") for tick in choice if low <= tick <= high]
        if len(ticks) <= most:
            break
    return ticks


def _draw_legend(figure: Figure, height: float, level: float) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=_ESTIMATE, marker="o", markersize=4.6, lw=1.7),
        Line2D([], [], color=_NAIVE, marker="D", markersize=4.6, lw=0, markerfacecolor="white"),
    ]
    labels = [f"estimate and {100 * level:g} % interval", "naive: as observed, without correction"]
    figure.legend(
        handles, labels, ncols=2, frameon=False, fontsize=8, labelcolor=MUTED, loc="upper left",
        bbox_to_anchor=(0.02, 1 - 0.08 / height), borderaxespad=0, handlelength=1.8, columnspacing=1.8,
    )  # fmt: skip
