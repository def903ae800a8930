"""How a training run came to its accuracy: a panel an entry, its score against the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bioclip_jax.files import atomic_write

from .plot import short

# By step: the score and its interval, in percent.
Curve = Sequence[tuple[int, float, tuple[float, float] | None]]

_COLUMNS = 3


def draw_curves(output: Path, curves: Mapping[str, Curve]) -> None:
    """Write a PNG with a panel for each of `curves`, which are steps, scores and intervals in percent."""
    # The Figure is made without pyplot, so that no display and no global state is touched.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    from bioclip_jax.analyze import GRID, INK, MUTED

    curves = {name: sorted(curve) for name, curve in curves.items() if curve}
    if not curves:
        return
    columns = min(_COLUMNS, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(
        figsize=(0.6 + 2.9 * columns, 0.4 + 2.3 * rows), dpi=130, facecolor="white", layout="constrained"
    )
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    color = "#0072B2"
    for axes, (name, curve) in zip(panels, curves.items()):
        steps, values = [step for step, _, _ in curve], [value for _, value, _ in curve]
        axes.plot(steps, values, color=color, linewidth=1.6, marker="o", markersize=4)
        known = [(step, *interval) for step, _, interval in curve if interval is not None]
        if known:
            axes.fill_between(*zip(*known), color=color, alpha=0.15, linewidth=0)
        axes.set_title(
            f"{short(name, 28)}  {values[-1]:.1f}", loc="left", fontsize=9.5, color=INK, parse_math=False
        )
        axes.set_ylim(bottom=0, top=min(100.0, max(5.0, axes.get_ylim()[1])))
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(MUTED)
        axes.tick_params(length=0, labelsize=8.5, labelcolor=MUTED)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
        axes.margins(x=0.04)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    # The last panel of each column, which shares its steps with those above it.
    for number in range(max(0, len(curves) - columns), len(curves)):
        panels[number].tick_params(labelbottom=True)
    figure.supxlabel("step", fontsize=9, color=MUTED)
    figure.supylabel("score (%)", fontsize=9, color=MUTED)
    with atomic_write(output) as path:
        figure.savefig(path)
