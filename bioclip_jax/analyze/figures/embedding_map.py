"""A map of the embedding space: points colored by family, with names and thumbnails where they fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.transforms import Bbox

from bioclip_jax.plots import HUES, INK, darker, halo
from bioclip_jax.text import Taxon

# Share of white mixed into the hues in each round through them; negative: of black.
_TINTS = (0.0, -0.35, 0.42, -0.6)
_MARKERS = ("o", "^", "s", "D", "P", "X", "v")
_THUMBNAIL = 40  # pixels at 100 dpi
_MOST_THUMBNAILS = 28


def family_colors(families: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """Assign each family a color: seven hues in turn, then darker and lighter shades of the same hues."""
    colors = {}
    for number, family in enumerate(dict.fromkeys(families)):
        tint = _TINTS[number // len(HUES) % len(_TINTS)]
        hue = np.array(to_rgb(HUES[number % len(HUES)]))
        colors[family] = tuple((1 - abs(tint)) * hue + max(tint, 0.0))
    return colors


def plot_embedding_map(
    axes: Axes,
    points: Float[np.ndarray, "n 2"],
    taxa: Sequence[Taxon],
    thumbnails: Mapping[int, UInt8[np.ndarray, "height width 3"]],
) -> None:
    """Scatter the images, colored by family, with one marker per kingdom and a legend.

    Families' names are placed at their clusters, largest family first, then `thumbnails` (by row of `points`,
    in that order) near their points. A name or thumbnail that does not fit without overlap is omitted.
    """
    order = sorted(range(len(taxa)), key=lambda row: taxa[row].lineage("family"))
    colors = family_colors([taxa[row].family for row in order])
    kingdoms = list(dict.fromkeys(taxa[row].kingdom for row in order))
    families = np.array([taxon.family for taxon in taxa])
    for kingdom, marker in zip(kingdoms, _MARKERS * len(kingdoms)):
        rows = [row for row, taxon in enumerate(taxa) if taxon.kingdom == kingdom]
        axes.scatter(
            *points[rows].T, c=[colors[family] for family in families[rows]], marker=marker, s=20,
            linewidths=0.35, edgecolors="white", alpha=0.9, zorder=2,
        )  # fmt: skip
    axes.set(xticks=[], yticks=[])
    # Transparent, so that labels of the curve on the left are not cut off.
    axes.patch.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.margins(0.04)
    _place_names_and_thumbnails(axes, points, families, colors, thumbnails)
    _kingdom_legend(axes, taxa, order, colors, kingdoms)


def _place_names_and_thumbnails(
    axes: Axes,
    points: Float[np.ndarray, "n 2"],
    families: np.ndarray,
    colors: Mapping[str, Any],
    thumbnails: Mapping[int, UInt8[np.ndarray, "height width 3"]],
) -> None:
    figure = axes.figure
    # Overlap is tested in pixels, so the axes must have their final position and limits.
    figure.canvas.draw()
    to_pixels, to_data = axes.transData, axes.transData.inverted()
    placer = LabelPlacer(axes.get_window_extent(), to_pixels.transform(points))
    unit = figure.dpi / 100

    for family, _ in Counter(families.tolist()).most_common():
        center = to_pixels.transform(points[_densest(points, np.flatnonzero(families == family))])
        label = axes.text(
            0, 0, family or "unknown", fontsize=8, ha="center", va="center", color=darker(colors[family]),
            weight="bold", path_effects=halo(), zorder=5,
        )  # fmt: skip
        extent = label.get_window_extent()
        position = placer.place(center, extent.width, extent.height, reach=70 * unit)
        if position is None:
            label.remove()
        else:
            label.set_position(to_data.transform(position))

    shown = 0
    for row, picture in thumbnails.items():
        if shown == _MOST_THUMBNAILS:
            break
        side = (_THUMBNAIL + 6) * unit
        point = to_pixels.transform(points[row])
        position = placer.place(point, side, side, reach=80 * unit)
        if position is None:
            continue
        shown += 1
        color = colors[families[row]]
        axes.plot(
            *np.array([points[row], to_data.transform(position)]).T, color=color, linewidth=0.9, zorder=3
        )
        image = OffsetImage(picture, zoom=_THUMBNAIL / picture.shape[0] * 72 / 100)
        frame = {"edgecolor": color, "linewidth": 1.6, "boxstyle": "square,pad=0.06"}
        axes.add_artist(AnnotationBbox(image, to_data.transform(position), bboxprops=frame, pad=0, zorder=4))


class LabelPlacer:
    """Place boxes in a scatter: inside its frame, without overlap, over as few points as possible.

    All positions are in pixels.
    """

    def __init__(self, frame: Bbox, points: Float[np.ndarray, "n 2"]) -> None:
        self._frame, self._points = frame, points
        self._centers = np.empty((0, 2))
        self._halves = np.empty((0, 2))

    def place(
        self, anchor: Float[np.ndarray, "2"], width: float, height: float, reach: float
    ) -> Float[np.ndarray, "2"] | None:
        """Place a box near `anchor`, at most `reach` away; return its center, or None if nothing is free."""
        half = np.array([width, height]) / 2
        centers = anchor + _SPIRAL * reach
        inside = ((centers - half >= self._frame.min) & (centers + half <= self._frame.max)).all(axis=1)
        gaps = np.abs(centers[:, None] - self._centers) - (self._halves + half)
        centers = centers[inside & (gaps >= 0).any(axis=2).all(axis=1)]
        if not len(centers):
            return None
        hidden = (np.abs(self._points - centers[:, None]) < half).all(axis=2).sum(axis=1)
        # A box at the full distance costs as much as one that hides six points.
        cost = hidden + 6 * np.linalg.norm(centers - anchor, axis=1) / reach
        center = centers[cost.argmin()]
        self._centers = np.vstack([self._centers, center])
        self._halves = np.vstack([self._halves, half])
        return center


# Offsets to try, from the anchor outward; 1 is the reach.
_SPIRAL = np.array(
    [(0.0, 0.0)]
    + [
        (radius * np.cos(angle), radius * np.sin(angle))
        for radius in (0.15, 0.3, 0.45, 0.6, 0.8, 1.0)
        for angle in np.linspace(np.pi / 2, 5 * np.pi / 2, 16, endpoint=False)
    ]
)


def _densest(points: Float[np.ndarray, "n 2"], rows: np.ndarray) -> int:
    """Return the row with the least median distance to its family, which is inside one of its clusters."""
    distances = np.linalg.norm(points[rows][:, None] - points[rows][None], axis=-1)
    return int(rows[np.sort(distances, axis=1)[:, len(rows) // 2].argmin()])


def _kingdom_legend(
    axes: Axes,
    taxa: Sequence[Taxon],
    order: Sequence[int],
    colors: Mapping[str, Any],
    kingdoms: Sequence[str],
) -> None:
    handles, labels, headings = [], [], []
    for kingdom, marker in zip(kingdoms, _MARKERS * len(kingdoms)):
        headings.append(len(labels))
        handles.append(Line2D([], [], linestyle="none"))
        labels.append(kingdom or "unknown")
        for family in dict.fromkeys(taxa[row].family for row in order if taxa[row].kingdom == kingdom):
            handles.append(
                Line2D([], [], linestyle="none", marker=marker, color=colors[family], markersize=5)
            )
            labels.append(family or "unknown")
    legend = axes.legend(
        handles, labels, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=7.5,
        labelcolor=INK, handletextpad=0.1, labelspacing=0.28, borderaxespad=0,
    )  # fmt: skip
    for number in headings:
        legend.get_texts()[number].set(weight="bold", x=-12)
