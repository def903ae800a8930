"""Curves: a quantity over the stages of a series of models, and the training curve of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from bioclip_jax.plots import HUES, INK, MUTED, darker, new_figure, save_figure, style_axes, write_csv

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "osD^vPX"
# Positions that span a larger factor are drawn on a log axis.
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
    """Draw each series as a line over the stages (name, position), with its name at its end.

    Args: nulls: chance levels, dashed, by the names of series. percent: values are shares, shown from 0 to
      100. log_x: by default decided by the span of the positions. A value that is None or NaN is a gap.
    The table has the stages in the given order with unchanged values.
    """
    nulls = nulls or {}
    # Sorted by position, since a line must not turn back.
    order = np.argsort([position for _, position in stages], kind="stable")
    names, x = [stages[row][0] for row in order], np.array([stages[row][1] for row in order], float)

    def values(column: Sequence[float | None]) -> Float[np.ndarray, " stages"]:
        numbers = np.array([np.nan if value is None else value for value in column], float)[order]
        return 100 * numbers if percent else numbers

    figure = new_figure(7.6, 4.3)
    axes = figure.add_axes((0.095, 0.085, 0.66, 0.775))
    figure.text(0.03, 0.93, title, fontsize=10.5, color=INK)
    ends = []
    for number, (name, column) in enumerate(series.items()):
        color, marker = HUES[number % len(HUES)], _MARKERS[number % len(_MARKERS)]
        y = values(column)
        axes.plot(x, y, color=color, marker=marker, linewidth=1.9, markersize=5.5, zorder=3)
        if name in nulls:
            axes.plot(x, values(nulls[name]), color=color, linewidth=1.2, linestyle=_DASHES, zorder=2)
            if len(x) == 1:
                axes.plot(x, values(nulls[name]), color=color, marker="_", markersize=12, zorder=2)
        if np.isfinite(y).any():
            ends.append((float(y[np.isfinite(y)][-1]), name, color))
    if log_x is None:
        log_x = x.min() > 0 and x.max() / x.min() > _LOG_SPAN
    if log_x:
        axes.set_xscale("log")
    axes.margins(x=0.04)
    if percent:
        low, high = axes.get_ylim()
        axes.set_ylim(min(0, low), max(100, high))
    axes.set_ylabel(ylabel + (" (%)" if percent else ""), color=MUTED, fontsize=9)
    style_axes(axes)
    _label_stages(axes, names, x)
    _label_ends(axes, ends)
    if nulls:
        axes.plot([], [], color=MUTED, linewidth=1.2, linestyle=_DASHES, label="by chance")
        axes.legend(
            frameon=False, fontsize=8.5, labelcolor=MUTED, loc="lower left", bbox_to_anchor=(1.0, 1.035),
            borderaxespad=0, handlelength=1.8,
        )  # fmt: skip
    save_figure(figure, png)
    head = ["stage", "position", *series, *(f"{name} by chance" for name in nulls)]
    columns = [*series.values(), *nulls.values()]
    write_csv(csv, head, [[*stage, *(column[row] for column in columns)] for row, stage in enumerate(stages)])


def _label_stages(axes: Axes, names: Sequence[str], x: Float[np.ndarray, " stages"]) -> None:
    """Label the stages; if labels touch, turn them, and drop those that would still touch."""
    axes.set_xticks(x, names)
    axes.minorticks_off()
    figure = axes.figure
    figure.canvas.draw()
    extents = [label.get_window_extent() for label in axes.get_xticklabels()]
    if not any(left.x1 + 4 > right.x0 for left, right in zip(extents, extents[1:])):
        return
    # Turned labels need less width and more height.
    axes.set_position((0.095, 0.24, 0.66, 0.62))
    least_distance = 20 * figure.dpi / 72
    pixels = axes.transData.transform(np.column_stack([x, np.zeros(len(x))]))[:, 0]
    kept = [len(x) - 1]
    for row in range(len(x) - 2, -1, -1):
        if pixels[kept[-1]] - pixels[row] >= least_distance:
            kept.append(row)
    kept.reverse()
    axes.set_xticks(
        x[kept], [_short(names[row]) for row in kept], rotation=35, ha="right", rotation_mode="anchor"
    )
    axes.minorticks_off()
    # Long labels need more room below, and the first one to the left.
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    left = 0.095 + max(0.0, 0.01 - min(box.x0 for box in boxes) / figure.bbox.width)
    bottom = 0.24 + max(0.0, 0.02 - min(box.y0 for box in boxes) / figure.bbox.height)
    axes.set_position((left, bottom, 0.755 - left, 0.86 - bottom))


def _label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write each series' name beside its last point, shifted so that names do not touch."""
    low, high = axes.get_ylim()
    ends = sorted(ends, key=lambda end: -end[0])
    heights: list[float] = []
    for value, _, _ in ends:
        heights.append(min((value - low) / (high - low), heights[-1] - _GAP if heights else np.inf))
    # Names shifted below the axis push the others up again.
    floor = 0.0
    for row in range(len(heights) - 1, -1, -1):
        heights[row] = max(heights[row], floor)
        floor = heights[row] + _GAP
    for height, (_, name, color) in zip(heights, ends):
        axes.text(
            1.015, height, _short(name), transform=axes.transAxes, va="center", fontsize=8.5, weight="bold",
            color=darker(color),
        )  # fmt: skip


def _short(name: str) -> str:
    # Names differ mostly at their beginning or end.
    return name if len(name) <= 24 else f"{name[:11]}…{name[-12:]}"


def plot_training_curve(loss_axes: Axes, accuracy_axes: Axes, metrics: Iterable[Mapping[str, Any]]) -> None:
    """Plot the loss, raw and smoothed, and below it the validation accuracy by rank, both by step.

    metrics: lines of metrics.jsonl with "step" and "loss", and at evaluations "val", whose "ranks" are
    accuracies by rank. Without evaluations the lower axes are hidden.
    """
    lines = list(metrics)
    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    if losses:
        steps, values = np.array(losses, float).T
        loss_axes.plot(steps, values, color=HUES[0], alpha=0.25, linewidth=1)
        loss_axes.plot(steps, smooth(values), color=HUES[0], linewidth=1.8)
        loss_axes.set_ylim(bottom=0)
    _style_panel(loss_axes, "training loss")
    loss_axes.tick_params(labelbottom=False)
    accuracy_axes.sharex(loss_axes)

    scored = [(line["step"], line["val"]["ranks"]) for line in lines if (line.get("val") or {}).get("ranks")]
    ends = []
    for rank, color in (("kingdom", HUES[2]), ("family", HUES[1]), ("species", HUES[0])):
        points = [(step, 100 * ranks[rank]) for step, ranks in scored if rank in ranks]
        if points:
            accuracy_axes.plot(*zip(*points), color=color, linewidth=1.8, marker="o", markersize=3.5)
            ends.append((points[-1], f"{rank} {points[-1][1]:.0f}", color))
    if not ends:
        accuracy_axes.set_visible(False)
        loss_axes.tick_params(labelbottom=True)
        loss_axes.set_xlabel("step", color=MUTED)
        return
    # Labels at the ends of the curves, at least 9 points apart.
    height = np.inf
    for (step, value), text, color in sorted(ends, key=lambda end: -end[0][1]):
        height = min(value, height - 9)
        accuracy_axes.annotate(
            text, (step, height), xytext=(7, 0), textcoords="offset points", va="center", fontsize=8.5,
            color=darker(color), weight="bold", annotation_clip=False,
        )  # fmt: skip
    accuracy_axes.set_ylim(0, 104)
    _style_panel(accuracy_axes, "zero-shot accuracy, validation (%)")
    accuracy_axes.set_xlabel("step", color=MUTED)


def smooth(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Running mean over a twentieth of the curve, narrower at its ends."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    half = np.minimum(half, np.minimum(index, len(values) - 1 - index))
    return (sums[index + half + 1] - sums[index - half]) / (2 * half + 1)


def _style_panel(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    style_axes(axes)
    axes.margins(x=0.01)
