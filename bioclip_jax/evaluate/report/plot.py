"""A suite's results as a picture: a line a set, ours with its interval among the published figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bioclip_jax.evaluate.published import SYSTEMS
from bioclip_jax.files import atomic_write

from .rows import Row

_WIDTH, _DPI = 7.6, 140
_ROW = 0.27  # inches
# Characters of a name on one line; a longer one takes two, and what is longer still loses its middle.
_LINE = 30
# Shape and color, by Okabe and Ito; ours is the one that is filled.
_OURS = "#0072B2"
_MARKS = {
    "BioCLIP 2": ("D", "#D55E00"),
    "BioCAP": ("v", "#E69F00"),
    "BioCLIP": ("s", "#009E73"),
    "CLIP": ("^", "#CC79A7"),
}


def draw(output: Path, rows: Sequence[Row], model: str) -> None:
    """Write the picture of `rows` (as report_rows) as a PNG. Rows without a figure of ours, and the entries of a group
    whose mean is there, are left out; without any row there is no picture.
    """
    rows = shown(rows)
    if not rows:
        return
    # The Figure is made without pyplot, so that no display and no global state is touched.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from bioclip_jax.analyze import GRID, INK, MUTED

    places, headings, height = _places(rows)
    top, bottom = 0.75, 0.6
    inches = top + bottom + _ROW * height
    figure = Figure(figsize=(_WIDTH, inches), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.34, bottom / inches, 0.57, 1 - (top + bottom) / inches))
    axes.set(xlim=(0, 100), ylim=(height - 0.4, -0.2))
    for row, place in zip(rows, places):
        mean = row.kind == "mean"
        axes.axhline(place, color=GRID, linewidth=0.8, zorder=0)
        for system, figure_ in row.published.items():
            marker, color = _MARKS[system]
            # Over ours and empty, so that both are seen where they agree.
            axes.plot(figure_, place, marker, markersize=7, markerfacecolor="none", markeredgecolor=color,
                      markeredgewidth=1.3, clip_on=False, zorder=5)  # fmt: skip
        if row.interval is not None:
            between = np.clip(row.interval, 0, 100)
            axes.plot(
                between,
                (place, place),
                color=_OURS,
                linewidth=2.2,
                solid_capstyle="butt",
                clip_on=False,
                zorder=3,
            )
        axes.plot(row.ours, place, "o", markersize=6.5, color=_OURS, markeredgecolor="white", markeredgewidth=0.7,
                  clip_on=False, zorder=4)  # fmt: skip
        name = folded(row.title)
        axes.annotate(name, (0, place), xytext=(-10, 0), textcoords="offset points", ha="right", va="center",
                      fontsize=7 if "\n" in name else 9, linespacing=0.95, color=INK,
                      weight="bold" if mean else "normal", annotation_clip=False, parse_math=False)  # fmt: skip
        axes.annotate(f"{row.ours:.1f}", (100, place), xytext=(36, 0), textcoords="offset points", ha="right",
                      va="center", fontsize=9, color=_OURS, weight="bold" if mean else "normal",
                      annotation_clip=False)  # fmt: skip
    for title, place in headings:
        axes.annotate(title, (0, place), xytext=(-10, 0), textcoords="offset points", ha="right", va="center",
                      fontsize=9.5, color=MUTED, weight="bold", annotation_clip=False)  # fmt: skip
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=MUTED)
    axes.set(yticks=[], xticks=range(0, 101, 20))
    axes.set_xlabel("score (%)", fontsize=9, color=MUTED)
    there = [system for system in SYSTEMS if any(system in row.published for row in rows)]
    handles = [Line2D([], [], marker="o", color=_OURS if any(row.interval for row in rows) else "none", markersize=6.5,
                      markerfacecolor=_OURS, markeredgecolor="white", linewidth=2.2)]  # fmt: skip
    handles += [Line2D([], [], linestyle="none", marker=_MARKS[name][0], markersize=7, markerfacecolor="none",
                       markeredgecolor=_MARKS[name][1], markeredgewidth=1.3) for name in there]  # fmt: skip
    ours = "this model, 95 % interval" if any(row.interval for row in rows) else "this model"
    published = [f"published: {name}" if name == there[0] else name for name in there]
    figure.legend(handles, [ours, *published], loc="upper center", ncols=len(handles),
                  bbox_to_anchor=(0.5, 1 - 0.32 / inches), frameon=False, fontsize=8.5, labelcolor=INK,
                  handletextpad=0.4, columnspacing=1.4)  # fmt: skip
    figure.text(
        0.02,
        1 - 0.2 / inches,
        short(model, 76),
        fontsize=10.5,
        color=INK,
        weight="bold",
        va="center",
        parse_math=False,
    )
    with atomic_write(output) as path:
        figure.savefig(path)


def shown(rows: Sequence[Row]) -> list[Row]:
    """The rows that have a figure of ours, without the entries of groups whose mean is among them."""
    kept, mean_there = [], False
    for row in rows:
        if row.kind != "member":
            mean_there = row.ours is not None
        if row.ours is not None and not (row.kind == "member" and mean_there):
            kept.append(row)
    return kept


def folded(title: str) -> str:
    """A name on one line or two, the second begun where a word ends if there is such a place."""
    title = short(title, 2 * _LINE)
    if len(title) <= _LINE:
        return title
    at = [
        place + 1
        for place, character in enumerate(title)
        if character in " -_./" and len(title) - _LINE <= place + 1 <= _LINE
    ]
    cut = max(at, default=(len(title) + 1) // 2)
    return f"{title[:cut].rstrip()}\n{title[cut:]}"


def short(title: str, most: int) -> str:
    """A long name without its middle, since names differ at their ends."""
    head = (most - 1) * 2 // 3
    return title if len(title) <= most else f"{title[:head]}…{title[head + 1 - most :]}"


def _places(rows: Sequence[Row]) -> tuple[list[float], list[tuple[str, float]], float]:
    """Where each row stands, where each heading, and how many rows high all of it is."""
    places, headings, place = [], [], 0.0
    heading = None
    for row in rows:
        if row.heading != heading:
            heading = row.heading
            place += 0.9 if headings else 0.3
            headings.append((heading, place))
            place += 1.05
        places.append(place)
        place += 1
    return places, headings, place
