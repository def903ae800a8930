"""Figures over stages: how a quantity grows with training, or with the amount of data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bioclip_jax.analyze.figures.style import new_figure, save, write_csv
from bioclip_jax.analyze.plots import _HUES, GRID, INK, MUTED, _darker

_MARKERS = "osD^vPX"
# Positions that span more than this are read better as powers.
_LOG_SPAN = 8
_GAP = 0.055  # between names at the ends of curves, as a share of the axis


def plot_curves(
    png: Path,
    csv: Path,
    stages: Sequence[tuple[str, float]],
    series: Mapping[str, Sequence[float]],
    *,
    title: str,
    ylabel: str,
    nulls: Mapping[str, Sequence[float]] | None = None,
    percent: bool = True,
) -> None:
    """One line a series over the stages (name, position), its name at its end; `nulls` are dashed, by the same names.

    `percent`: the values are shares, shown from 0 to 100. A value that is not a number is a gap.
    """
    nulls = nulls or {}
    factor = 100 if percent else 1
    names, at = [name for name, _ in stages], np.array([position for _, position in stages], float)
    figure = new_figure(7.6, 4.3)
    axes = figure.add_axes((0.095, 0.17, 0.66, 0.69))
    figure.text(0.03, 0.93, title, fontsize=10.5, color=INK)
    ends = []
    for number, (name, values) in enumerate(series.items()):
        color, marker = _HUES[number % len(_HUES)], _MARKERS[number % len(_MARKERS)]
        y = factor * np.array([np.nan if value is None else value for value in values], float)
        axes.plot(at, y, color=color, marker=marker, linewidth=1.9, markersize=5.5, zorder=3)
        if name in nulls:
            null = factor * np.array([np.nan if value is None else value for value in nulls[name]], float)
            axes.plot(at, null, color=color, linewidth=1.1, linestyle=(0, (4, 3)), zorder=2)
        if np.isfinite(y).any():
            ends.append((float(y[np.isfinite(y)][-1]), name, color))
    if nulls:
        axes.plot([], [], color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)), label="by chance")
        axes.legend(frameon=False, fontsize=8.5, labelcolor=MUTED, loc="lower left", bbox_to_anchor=(1.01, -0.02))
    if at.min() > 0 and at.max() / at.min() > _LOG_SPAN:
        axes.set_xscale("log")
    axes.set_xticks(at, names, minor=False)
    axes.tick_params(axis="x", which="minor", length=0, labelbottom=False)
    axes.minorticks_off()
    if len(names) > 6 or max(map(len, names)) > 12:
        for label in axes.get_xticklabels():
            label.set(rotation=25, ha="right")
    if percent:
        axes.set_ylim(0, max(100, axes.get_ylim()[1]))
    axes.set_ylabel(ylabel + (" (%)" if percent else ""), color=MUTED, fontsize=9)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=MUTED)
    axes.margins(x=0.04)
    _name_ends(axes, ends)
    save(figure, png)
    head = ["stage", "position", *series, *(f"{name} by chance" for name in nulls)]
    columns = [*series.values(), *nulls.values()]
    write_csv(csv, head, [[*stage, *(column[row] for column in columns)] for row, stage in enumerate(stages)])


def _name_ends(axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Names beside the last points, the lower ones pushed down where they would touch."""
    low, high = axes.get_ylim()
    ceiling = np.inf
    for value, name, color in sorted(ends, key=lambda end: -end[0]):
        place = min((value - low) / (high - low), ceiling)
        ceiling = place - _GAP
        axes.text(
            1.015, place, name, transform=axes.transAxes, va="center", fontsize=8.5, weight="bold", color=_darker(color)
        )  # fmt: skip
