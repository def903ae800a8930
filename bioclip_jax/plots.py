"""The style that all figures share: colors, canvas, axes, and atomic writing of a figure and its table."""

from __future__ import annotations

import colorsys
import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2430", "#6b7280", "#e5e7eb"
# Okabe and Ito's colors, distinguishable in every common color blindness; black is kept for text.
HUES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A900")


def new_figure(width: float, height: float, *, dpi: float = 150, **options: Any) -> Figure:
    """Return an empty white figure of a size in inches, without pyplot: no display, no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white", **options)
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes, grid: str = "y", label_size: float = 8.5) -> None:
    """Grid lines along one axis, below the data; no frame but the bottom line; small gray tick labels."""
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(length=0, labelsize=label_size, labelcolor=MUTED)


def darker(color: Any) -> tuple[float, float, float]:
    """The color, darkened until it is readable as text on white."""
    from matplotlib.colors import to_rgb

    hue, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(color))
    return colorsys.hls_to_rgb(hue, min(lightness, 0.33), saturation)


def halo() -> list[Any]:
    """Path effects that keep text readable over points."""
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=2.6, foreground="white", alpha=0.9)]


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG."""
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png")


def write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write the table of a figure; None becomes an empty cell."""
    with (
        atomic_write(path) as partial,
        # Text that is not valid Unicode, such as some file names, is written as its bytes.
        open(partial, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)
