"""Figures of evaluation results: a suite beside the published scores, and scores against training steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bioclip_jax.evaluate.reference_scores import SYSTEMS
from bioclip_jax.plots import GRID, HUES, INK, MUTED, new_figure, save_figure, style_axes

from .rows import Row

# Step, score and its interval, in percent.
Curve = Sequence[tuple[int, float, tuple[float, float] | None]]

_WIDTH, _DPI = 7.6, 140
_ROW = 0.27  # inches
# Characters per line of a title; a longer one takes two lines, and a still longer one loses its middle.
_LINE = 30
_COLUMNS = 3
# Markers and colors of Okabe and Ito; only this model's marker is filled.
_OURS = HUES[0]
_MARKERS = {
    "BioCLIP 2": ("D", "#D55E00"),
    "BioCAP": ("v", "#E69F00"),
    "BioCLIP": ("s", "#009E73"),
    "CLIP": ("^", "#CC79A7"),
}


def draw(output: Path, rows: Sequence[Row], model: str) -> None:
    """Draw `rows` (as report_rows) as a PNG, one line each, with intervals and published scores.

    Rows without a score are skipped, and so are the members of a group with a mean. Writes no file if no row
    remains.
    """
    rows = visible_rows(rows)
    if not rows:
        return
    from matplotlib.lines import Line2D

    y_positions, headings, height = _layout(rows)
    top, bottom = 0.75, 0.6
    inches = top + bottom + _ROW * height
    figure = new_figure(_WIDTH, inches, dpi=_DPI)
    axes = figure.add_axes((0.34, bottom / inches, 0.57, 1 - (top + bottom) / inches))
    axes.set(xlim=(0, 100), ylim=(height - 0.4, -0.2))
    for row, y in zip(rows, y_positions):
        weight = "bold" if row.kind == "mean" else "normal"
        axes.axhline(y, color=GRID, linewidth=0.8, zorder=0)
        for system, score in row.published.items():
            marker, color = _MARKERS[system]
            # Drawn above ours and unfilled, so that both show if they coincide.
            axes.plot(score, y, marker, markersize=7, markerfacecolor="none", markeredgecolor=color,
                      markeredgewidth=1.3, clip_on=False, zorder=5)  # fmt: skip
        if row.interval is not None:
            axes.plot(np.clip(row.interval, 0, 100), (y, y), color=_OURS, linewidth=2.2,
                      solid_capstyle="butt", clip_on=False, zorder=3)  # fmt: skip
        axes.plot(row.ours, y, "o", markersize=6.5, color=_OURS, markeredgecolor="white", markeredgewidth=0.7,
                  clip_on=False, zorder=4)  # fmt: skip
        name = wrap_title(row.title)
        axes.annotate(name, (0, y), xytext=(-10, 0), textcoords="offset points", ha="right", va="center",
                      fontsize=7 if "\n" in name else 9, linespacing=0.95, color=INK, weight=weight,
                      annotation_clip=False, parse_math=False)  # fmt: skip
        axes.annotate(f"{row.ours:.1f}", (100, y), xytext=(36, 0), textcoords="offset points", ha="right",
                      va="center", fontsize=9, color=_OURS, weight=weight, annotation_clip=False)  # fmt: skip
    for title, y in headings:
        axes.annotate(title, (0, y), xytext=(-10, 0), textcoords="offset points", ha="right", va="center",
                      fontsize=9.5, color=MUTED, weight="bold", annotation_clip=False)  # fmt: skip
    style_axes(axes, "x")
    axes.spines["bottom"].set_visible(False)
    axes.set(yticks=[], xticks=range(0, 101, 20))
    axes.set_xlabel("score (%)", fontsize=9, color=MUTED)
    systems = [system for system in SYSTEMS if any(system in row.published for row in rows)]
    intervals = any(row.interval for row in rows)
    handles = [Line2D([], [], marker="o", color=_OURS if intervals else "none", markersize=6.5,
                      markerfacecolor=_OURS, markeredgecolor="white", linewidth=2.2)]  # fmt: skip
    for system in systems:
        marker, color = _MARKERS[system]
        handles.append(Line2D([], [], linestyle="none", marker=marker, markersize=7, markerfacecolor="none",
                              markeredgecolor=color, markeredgewidth=1.3))  # fmt: skip
    ours = "this model, 95 % interval" if intervals else "this model"
    published = [f"published: {name}" if name == systems[0] else name for name in systems]
    figure.legend(handles, [ours, *published], loc="upper center", ncols=len(handles),
                  bbox_to_anchor=(0.5, 1 - 0.32 / inches), frameon=False, fontsize=8.5, labelcolor=INK,
                  handletextpad=0.4, columnspacing=1.4)  # fmt: skip
    figure.text(0.02, 1 - 0.2 / inches, shorten(model, 76), fontsize=10.5, color=INK, weight="bold",
                va="center", parse_math=False)  # fmt: skip
    save_figure(figure, output)


def draw_curves(output: Path, curves: Mapping[str, Curve]) -> None:
    """Draw scores against training steps as a PNG, one panel for each of `curves`; no file for no curve."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    curves = {name: sorted(curve) for name, curve in curves.items() if curve}
    if not curves:
        return
    columns = min(_COLUMNS, len(curves))
    n_rows = -(-len(curves) // columns)
    figure = new_figure(0.6 + 2.9 * columns, 0.4 + 2.3 * n_rows, dpi=130, layout="constrained")
    panels = figure.subplots(n_rows, columns, squeeze=False, sharex=True).ravel()
    for axes, (name, curve) in zip(panels, curves.items()):
        steps, values = [step for step, _, _ in curve], [value for _, value, _ in curve]
        axes.plot(steps, values, color=_OURS, linewidth=1.6, marker="o", markersize=4)
        known = [(step, *interval) for step, _, interval in curve if interval is not None]
        if known:
            axes.fill_between(*zip(*known), color=_OURS, alpha=0.15, linewidth=0)
        title = f"{shorten(name, 28)}  {values[-1]:.1f}"
        axes.set_title(title, loc="left", fontsize=9.5, color=INK, parse_math=False)
        axes.set_ylim(bottom=0, top=min(100.0, max(5.0, axes.get_ylim()[1])))
        style_axes(axes)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
        axes.margins(x=0.04)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    # Shared axes label only the bottom row; label the lowest visible panel of each column.
    for number in range(max(0, len(curves) - columns), len(curves)):
        panels[number].tick_params(labelbottom=True)
    figure.supxlabel("step", fontsize=9, color=MUTED)
    figure.supylabel("score (%)", fontsize=9, color=MUTED)
    save_figure(figure, output)


def visible_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with a score of this model, without the members of a group that has a mean."""
    visible, has_mean = [], False
    for row in rows:
        if row.kind != "member":
            has_mean = row.ours is not None
        if row.ours is not None and not (row.kind == "member" and has_mean):
            visible.append(row)
    return visible


def wrap_title(title: str) -> str:
    """Wrap a title to at most two lines, between words if possible."""
    title = shorten(title, 2 * _LINE)
    if len(title) <= _LINE:
        return title
    breaks = [
        index
        for index, character in enumerate(title, 1)
        if character in " -_./" and len(title) - _LINE <= index <= _LINE
    ]
    cut = max(breaks, default=(len(title) + 1) // 2)
    return f"{title[:cut].rstrip()}\n{title[cut:]}"


def shorten(title: str, width: int) -> str:
    """Cut the middle out of a title longer than `width`, since titles differ at their ends."""
    head = (width - 1) * 2 // 3
    return title if len(title) <= width else f"{title[:head]}…{title[head + 1 - width :]}"


def _layout(rows: Sequence[Row]) -> tuple[list[float], list[tuple[str, float]], float]:
    """Return y positions of rows, titles and y positions of headings, and the total height, in rows."""
    positions, headings, y = [], [], 0.0
    heading = None
    for row in rows:
        if row.heading != heading:
            heading = row.heading
            y += 0.9 if headings else 0.3
            headings.append((heading, y))
            y += 1.05
        positions.append(y)
        y += 1
    return positions, headings, y
