"""Pictures: the training curve, and a map of the embedding space."""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.transforms import Bbox

from bioclip_jax.text import Taxon

INK, MUTED, GRID = "#1f2430", "#6b7280", "#e5e7eb"
# Okabe and Ito's colors, which stay apart in every common color blindness; black is kept for text.
_HUES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A900")
# How far each round through the hues is mixed with white, or below zero with black.
_TINTS = (0.0, -0.35, 0.42, -0.6)
_MARKERS = ("o", "^", "s", "D", "P", "X", "v")
_HALO = [patheffects.withStroke(linewidth=2.6, foreground="white", alpha=0.9)]
_THUMBNAIL = 40  # pixels at 100 dpi
_MOST_THUMBNAILS = 28


def family_colors(families: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """A color for each family, neighbors in the given order far apart: seven hues, then the same darker and lighter."""
    colors = {}
    for number, family in enumerate(dict.fromkeys(families)):
        tint = _TINTS[number // len(_HUES) % len(_TINTS)]
        hue = np.array(to_rgb(_HUES[number % len(_HUES)]))
        colors[family] = tuple((1 - abs(tint)) * hue + max(tint, 0.0))
    return colors


def plot_training_curve(loss_axes: Axes, accuracy_axes: Axes, metrics: Iterable[Mapping[str, Any]]) -> None:
    """Loss, as logged and smoothed, over the validation accuracy at each rank, both by step.

    `metrics` are the lines of metrics.jsonl: "step" and "loss", and where the run was evaluated "val", an
    object with the accuracies by rank under "ranks".
    """
    lines = list(metrics)
    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    if losses:
        steps, values = np.array(losses, float).T
        loss_axes.plot(steps, values, color=_HUES[0], alpha=0.25, linewidth=1)
        loss_axes.plot(steps, smooth(values), color=_HUES[0], linewidth=1.8)
        loss_axes.set_ylim(bottom=0)
    _style_curve(loss_axes, "training loss")
    loss_axes.tick_params(labelbottom=False)
    accuracy_axes.sharex(loss_axes)

    scored = [(line["step"], line["val"]["ranks"]) for line in lines if (line.get("val") or {}).get("ranks")]
    ends = []
    for rank, color in (("kingdom", _HUES[2]), ("family", _HUES[1]), ("species", _HUES[0])):
        points = [(step, 100 * ranks[rank]) for step, ranks in scored if rank in ranks]
        if points:
            accuracy_axes.plot(*zip(*points), color=color, linewidth=1.8, marker="o", markersize=3.5)
            ends.append((points[-1], f"{rank} {points[-1][1]:.0f}", color))
    if not ends:
        accuracy_axes.set_visible(False)
        loss_axes.tick_params(labelbottom=True)
        loss_axes.set_xlabel("step", color=MUTED)
        return
    # Names at the ends of the curves, pushed apart where they would touch.
    ceiling = np.inf
    for (step, value), text, color in sorted(ends, key=lambda end: -end[0][1]):
        ceiling = min(value, ceiling - 9)
        accuracy_axes.annotate(
            text, (step, ceiling), xytext=(7, 0), textcoords="offset points", va="center", fontsize=8.5,
            color=_darker(color), weight="bold", annotation_clip=False,
        )  # fmt: skip
    accuracy_axes.set_ylim(0, 104)
    _style_curve(accuracy_axes, "zero-shot accuracy, validation (%)")
    accuracy_axes.set_xlabel("step", color=MUTED)


def smooth(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """A running mean over a twentieth of the curve, narrower at its ends."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    half_at = np.minimum(half, np.minimum(at, len(values) - 1 - at))
    return (sums[at + half_at + 1] - sums[at - half_at]) / (2 * half_at + 1)


def _style_curve(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=MUTED)
    axes.margins(x=0.01)


def plot_embedding_map(
    axes: Axes,
    points: Float[np.ndarray, "n 2"],
    taxa: Sequence[Taxon],
    thumbnails: Mapping[int, UInt8[np.ndarray, "height width 3"]],
) -> None:
    """A scatter of images, colored by family, with one marker a kingdom.

    A family's name stands at its cluster; `thumbnails` (row of `points` -> picture) stand at their place
    where there is room. Both are tried in the order of the families' sizes and left out where they would
    overlap.
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
    # See-through, so that names at the ends of a curve beside it are not cut.
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
    # Places are compared in pixels, so the axes must have their final position and limits.
    figure.canvas.draw()
    to_pixels, to_data = axes.transData, axes.transData.inverted()
    room = FreeRoom(axes.get_window_extent(), to_pixels.transform(points))
    unit = figure.dpi / 100

    for family, _ in Counter(families.tolist()).most_common():
        centre = to_pixels.transform(points[_densest(points, np.flatnonzero(families == family))])
        label = axes.text(
            0, 0, family or "unknown", fontsize=8, ha="center", va="center", color=_darker(colors[family]),
            weight="bold", path_effects=_HALO, zorder=5,
        )  # fmt: skip
        extent = label.get_window_extent()
        place = room.take(centre, extent.width, extent.height, reach=70 * unit)
        if place is None:
            label.remove()
        else:
            label.set_position(to_data.transform(place))

    shown = 0
    for row, picture in thumbnails.items():
        if shown == _MOST_THUMBNAILS:
            break
        side = (_THUMBNAIL + 6) * unit
        point = to_pixels.transform(points[row])
        place = room.take(point, side, side, reach=80 * unit)
        if place is None:
            continue
        shown += 1
        color = colors[families[row]]
        axes.plot(*np.array([points[row], to_data.transform(place)]).T, color=color, linewidth=0.9, zorder=3)
        image = OffsetImage(picture, zoom=_THUMBNAIL / picture.shape[0] * 72 / 100)
        frame = {"edgecolor": color, "linewidth": 1.6, "boxstyle": "square,pad=0.06"}
        axes.add_artist(AnnotationBbox(image, to_data.transform(place), bboxprops=frame, pad=0, zorder=4))


class FreeRoom:
    """The free places of a scatter, in pixels: inside the frame, clear of what was placed, over few points."""

    def __init__(self, frame: Bbox, points: Float[np.ndarray, "n 2"]) -> None:
        self._frame, self._points = frame, points
        self._centers = np.empty((0, 2))
        self._halves = np.empty((0, 2))

    def take(
        self, anchor: Float[np.ndarray, "2"], width: float, height: float, reach: float
    ) -> Float[np.ndarray, "2"] | None:
        """The center of a box near `anchor`, at most `reach` away, which is then taken; None if none is free."""
        half = np.array([width, height]) / 2
        centers = anchor + _SPIRAL * reach
        inside = ((centers - half >= self._frame.min) & (centers + half <= self._frame.max)).all(axis=1)
        gaps = np.abs(centers[:, None] - self._centers) - (self._halves + half)
        centers = centers[inside & (gaps >= 0).any(axis=2).all(axis=1)]
        if not len(centers):
            return None
        hidden = (np.abs(self._points - centers[:, None]) < half).all(axis=2).sum(axis=1)
        # Being far from its place is as bad for a box as hiding half a dozen points.
        cost = hidden + 6 * np.linalg.norm(centers - anchor, axis=1) / reach
        center = centers[cost.argmin()]
        self._centers = np.vstack([self._centers, center])
        self._halves = np.vstack([self._halves, half])
        return center


# Offsets to try, from the anchor outwards; 1 is as far as it may be.
_SPIRAL = np.array(
    [(0.0, 0.0)]
    + [
        (radius * np.cos(angle), radius * np.sin(angle))
        for radius in (0.15, 0.3, 0.45, 0.6, 0.8, 1.0)
        for angle in np.linspace(np.pi / 2, 5 * np.pi / 2, 16, endpoint=False)
    ]
)


def _densest(points: Float[np.ndarray, "n 2"], rows: np.ndarray) -> int:
    """The row whose nearer half of the family is nearest: inside a cluster even where the family has several."""
    distances = np.linalg.norm(points[rows][:, None] - points[rows][None], axis=-1)
    return int(rows[np.sort(distances, axis=1)[:, len(rows) // 2].argmin()])


def _darker(color: Any) -> tuple[float, float, float]:
    hue, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(color))
    return colorsys.hls_to_rgb(hue, min(lightness, 0.33), saturation)


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
