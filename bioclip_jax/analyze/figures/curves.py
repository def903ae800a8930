"""Figures over stages: how a quantity grows with training, or with the amount of data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from .style import new_figure, save, write_csv

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "osD^vPX"
# Positions that span more than this are read better as powers.
_LOG_SPAN = 8
_GAP = 0.052  # between names at the ends of curves, as a share of the axis
_DASHES = (0, (4, 3))


def plot_curves(
    png: Path,
    csv: Path,
    stages: Sequence[tuple[str, float]],
    series: Mapping[str, Sequence[float | None]],
    *,
    title: str,
    ylabel: str,
    nulls: Mapping[str, Sequence[float | None]] | None = None,
    percent: bool = True,
    log_x: bool | None = None,
) -> None:
    """One line a series over the stages (name, position), its name at its end; `nulls` are dashed, by the same names.

    `percent`: the values are shares, shown from 0 to 100. A value that is None or NaN is a gap. `log_x`: None
    decides by what the positions span. The table has the stages as given, with the values as they are.
    """
    from bioclip_jax.analyze.plots import _HUES, GRID, INK, MUTED

    nulls = nulls or {}
    # A line must not turn back where the stages were given in another order.
    order = np.argsort([position for _, position in stages], kind="stable")
    names, at = [stages[row][0] for row in order], np.array([stages[row][1] for row in order], float)

    def values(column: Sequence[float | None]) -> Float[np.ndarray, " stages"]:
        numbers = np.array([np.nan if value is None else value for value in column], float)[order]
        return 100 * numbers if percent else numbers

    figure = new_figure(7.6, 4.3)
    axes = figure.add_axes((0.095, 0.085, 0.66, 0.775))
    figure.text(0.03, 0.93, title, fontsize=10.5, color=INK)
    ends = []
    for number, (name, column) in enumerate(series.items()):
        color, marker = _HUES[number % len(_HUES)], _MARKERS[number % len(_MARKERS)]
        y = values(column)
        axes.plot(at, y, color=color, marker=marker, linewidth=1.9, markersize=5.5, zorder=3)
        if name in nulls:
            axes.plot(at, values(nulls[name]), color=color, linewidth=1.2, linestyle=_DASHES, zorder=2)
            if len(at) == 1:
                axes.plot(at, values(nulls[name]), color=color, marker="_", markersize=12, zorder=2)
        if np.isfinite(y).any():
            ends.append((float(y[np.isfinite(y)][-1]), name, color))
    if log_x is None:
        log_x = at.min() > 0 and at.max() / at.min() > _LOG_SPAN
    if log_x:
        axes.set_xscale("log")
    axes.margins(x=0.04)
    if percent:
        low, high = axes.get_ylim()
        axes.set_ylim(min(0, low), max(100, high))
    axes.set_ylabel(ylabel + (" (%)" if percent else ""), color=MUTED, fontsize=9)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.minorticks_off()
    axes.tick_params(length=0, labelsize=8.5, labelcolor=MUTED)
    _name_stages(axes, names, at)
    _name_ends(axes, ends)
    if nulls:
        axes.plot([], [], color=MUTED, linewidth=1.2, linestyle=_DASHES, label="by chance")
        axes.legend(
            frameon=False, fontsize=8.5, labelcolor=MUTED, loc="lower left", bbox_to_anchor=(1.0, 1.035),
            borderaxespad=0, handlelength=1.8,
        )  # fmt: skip
    save(figure, png)
    head = ["stage", "position", *series, *(f"{name} by chance" for name in nulls)]
    columns = [*series.values(), *nulls.values()]
    write_csv(csv, head, [[*stage, *(column[row] for column in columns)] for row, stage in enumerate(stages)])


def _name_stages(axes: Axes, names: Sequence[str], at: Float[np.ndarray, " stages"]) -> None:
    """Ticks with the stages' names, turned where they are long, and left out where they would touch."""
    axes.set_xticks(at, names)
    axes.minorticks_off()
    figure = axes.figure
    figure.canvas.draw()
    extents = [label.get_window_extent() for label in axes.get_xticklabels()]
    touching = any(left.x1 + 4 > right.x0 for left, right in zip(extents, extents[1:]))
    if not touching:
        return
    # Turned, the names are beside each other as lines of text are, and go deeper.
    axes.set_position((0.095, 0.24, 0.66, 0.62))
    apart = 20 * figure.dpi / 72
    places = axes.transData.transform(np.column_stack([at, np.zeros(len(at))]))[:, 0]
    kept = [len(at) - 1]
    for row in range(len(at) - 2, -1, -1):
        if places[kept[-1]] - places[row] >= apart:
            kept.append(row)
    kept.reverse()
    axes.set_xticks(
        at[kept], [_short(names[row]) for row in kept], rotation=35, ha="right", rotation_mode="anchor"
    )
    axes.minorticks_off()
    # Long names need more room below, and the first one to the left.
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    left = 0.095 + max(0.0, 0.01 - min(box.x0 for box in boxes) / figure.bbox.width)
    bottom = 0.24 + max(0.0, 0.02 - min(box.y0 for box in boxes) / figure.bbox.height)
    axes.set_position((left, bottom, 0.755 - left, 0.86 - bottom))


def _name_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Names beside the last points, pushed apart where they would touch."""
    from bioclip_jax.analyze.plots import _darker

    low, high = axes.get_ylim()
    ends = sorted(ends, key=lambda end: -end[0])
    places: list[float] = []
    for value, _, _ in ends:
        places.append(min((value - low) / (high - low), places[-1] - _GAP if places else np.inf))
    # Those that were pushed below the axis push the others up again.
    floor = 0.0
    for row in range(len(places) - 1, -1, -1):
        places[row] = max(places[row], floor)
        floor = places[row] + _GAP
    for place, (_, name, color) in zip(places, ends):
        axes.text(
            1.015, place, _short(name), transform=axes.transAxes, va="center", fontsize=8.5, weight="bold",
            color=_darker(color),
        )  # fmt: skip


def _short(name: str) -> str:
    # What tells names apart stands at either end.
    return name if len(name) <= 24 else f"{name[:11]}…{name[-12:]}"
