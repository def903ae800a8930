"""What all figures share: a canvas without a display, and how pictures and their tables are written."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure, in inches. No display and no global state is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG."""
    with atomic_write(path) as beside:
        figure.savefig(beside, format="png")


def write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write the table behind a figure; None is an empty cell."""
    # Names that are no Unicode, as files' may be, go out as the bytes they are.
    errors = "surrogateescape"
    with (
        atomic_write(path) as beside,
        open(beside, "w", newline="", encoding="utf-8", errors=errors) as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)
