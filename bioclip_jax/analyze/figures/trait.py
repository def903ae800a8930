"""Figures of a trait: species projected on the direction that predicts it, and their principal components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from bioclip_jax.plots import GRID, HUES, INK, MUTED, halo, new_figure, save_figure, style_axes, write_csv

from .embedding_map import LabelPlacer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PICTURES = 14
# Beyond this number, dots only hide each other.
_MOST_DOTS = 4000
_MOST_NAMES = 40
_MANY = 200  # species, drawn as small dots, with few names
_NAMES_OF_MANY = 12
_MOST_AVOIDED = 300
_STRIP = 1.15  # inches above the plot, for the pictures


@dataclass(frozen=True)
class TraitProjection:
    """Species and their images projected on a trait's direction.

    label: the trait, as the axis shows it. positions, values, images: of each species its projection, its
    trait and its number of images. image_rows: rows of the embeddings; image_species: index in `species`.
    pictures: thumbnails of some species, by index.
    """

    label: str
    species: Sequence[str]
    positions: Float[np.ndarray, " species"]
    values: Float[np.ndarray, " species"]
    images: Int[np.ndarray, " species"]
    image_rows: Int[np.ndarray, " n"]
    image_species: Int[np.ndarray, " n"]
    image_positions: Float[np.ndarray, " n"]
    image_values: Float[np.ndarray, " n"]
    pictures: Mapping[int, UInt8[np.ndarray, "side side 3"]]


def spread(positions: Float[np.ndarray, " species"], number: int) -> list[int]:
    """Return indices of at most `number` positions, spread evenly from the least to the greatest."""
    order = np.argsort(positions, kind="stable")
    if len(order) <= number:
        return order.tolist()
    wanted = np.linspace(positions.min(), positions.max(), number)
    return list(dict.fromkeys(order[np.abs(positions[order] - target).argmin()] for target in wanted))


def draw_projection(png: Path, csv: Path, projection: TraitProjection, *, title: str) -> None:
    """Scatter species means and, faintly, their images: projection against trait.

    Thumbnails are in a row above, ordered by projection, each with a line to its species.
    """
    strip = _STRIP if projection.pictures else 0.0
    height = 5.2 + strip
    figure = new_figure(9.4, height)
    axes = figure.add_axes((0.085, 0.62 / height, 0.885, (4.1) / height))
    figure.text(0.02, 1 - 0.27 / height, title, fontsize=10.5, color=INK)
    dots = np.arange(len(projection.image_rows))
    if len(dots) > _MOST_DOTS:
        dots = np.random.default_rng(0).choice(dots, _MOST_DOTS, replace=False)
    axes.scatter(
        projection.image_positions[dots],
        projection.image_values[dots],
        s=9,
        color=HUES[4],
        alpha=0.35,
        linewidths=0,
        zorder=1,
    )
    many = len(projection.species) > _MANY
    slope, intercept = np.polyfit(projection.positions, projection.values, 1)
    ends = np.array([projection.positions.min(), projection.positions.max()])
    axes.plot(ends, slope * ends + intercept, color=MUTED, linewidth=1, alpha=0.6, zorder=2)
    axes.scatter(
        projection.positions, projection.values, s=12 if many else 38, color=HUES[0], edgecolors="white",
        linewidths=0.15 if many else 0.7, zorder=4, alpha=0.7 if many else 1,
    )  # fmt: skip
    # Outlying images must not compress the species.
    low, high = np.quantile(projection.image_positions, [0.02, 0.98])
    low, high = min(low, projection.positions.min()), max(high, projection.positions.max())
    axes.set_xlim(low - 0.07 * (high - low), high + 0.07 * (high - low))
    _style(
        axes,
        "position along the direction fitted to all these species (small dots: images)",
        projection.label,
    )
    _label_species(axes, np.column_stack([projection.positions, projection.values]), projection.species)
    if projection.pictures:
        _draw_pictures(axes, projection, 1 + 0.2 / 4.1, 0.95 / 4.1)
    save_figure(figure, png)
    _write_projection(csv, projection)


def draw_components(
    png: Path,
    csv: Path,
    scores: Float[np.ndarray, "species rank"],
    shares: Float[np.ndarray, " rank"],
    values: Float[np.ndarray, " species"],
    species: Sequence[str],
    label: str,
    best: int,
    *,
    title: str,
) -> None:
    """Scatter species means, colored by the trait, on the first component and component `best` (from 1)."""
    shown = (0, best - 1) if best > 1 else (0, min(1, scores.shape[1] - 1))
    figure = new_figure(8.4, 5.6)
    axes = figure.add_axes((0.09, 0.11, 0.74, 0.77))
    figure.text(0.02, 0.95, title, fontsize=10.5, color=INK)
    points = scores[:, shown]
    drawn = axes.scatter(
        *points.T, c=values, cmap="cividis", s=16 if len(values) > _MANY else 52, edgecolors="white",
        linewidths=0.15 if len(values) > _MANY else 0.7, zorder=4,
    )  # fmt: skip
    _style(
        axes,
        *(
            f"PC{number + 1} of the species means ({100 * shares[number]:.2g} % of variance)"
            for number in shown
        ),
    )
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    bar = figure.colorbar(drawn, cax=figure.add_axes((0.87, 0.11, 0.022, 0.77)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8.5, labelcolor=MUTED)
    bar.set_label(label, color=MUTED, fontsize=9)
    _label_species(axes, points, species)
    save_figure(figure, png)
    head = ["species", label, *(f"PC{number + 1}" for number in range(min(5, scores.shape[1])))]
    write_csv(
        csv,
        head,
        [[name, value, *row[:5]] for name, value, row in zip(species, values.tolist(), scores.tolist())],
    )


def _style(axes: Axes, xlabel: str, ylabel: str) -> None:
    axes.set_xlabel(xlabel, color=MUTED, fontsize=9)
    axes.set_ylabel(ylabel, color=MUTED, fontsize=9)
    style_axes(axes)
    axes.margins(0.09)


def _label_species(axes: Axes, points: Float[np.ndarray, "species 2"], species: Sequence[str]) -> None:
    """Write species names beside their dots where they fit; of many, a selection along the first axis."""
    # Overlap is tested in pixels, so the axes must have their final position and limits.
    axes.figure.canvas.draw()
    to_pixels, to_data = axes.transData, axes.transData.inverted()
    pixels = to_pixels.transform(points)
    unit = axes.figure.dpi / 100
    # A name must not touch the rim of a dot either. Among very many dots, a sample suffices to find room.
    steps = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)) if len(pixels) <= _MOST_AVOIDED else ((0, 0),)
    avoided = pixels[:: -(-len(pixels) // _MOST_AVOIDED)]
    placer = LabelPlacer(
        axes.get_window_extent(), np.concatenate([avoided + 5 * unit * np.array(step) for step in steps])
    )
    for index in spread(points[:, 0], _MOST_NAMES if len(points) <= _MANY else _NAMES_OF_MANY):
        label = axes.text(
            0, 0, _abbreviated(species[index], 24), fontsize=7.5, ha="center", va="center", color=INK,
            path_effects=halo(), style="italic", zorder=5,
        )  # fmt: skip
        extent = label.get_window_extent()
        above = pixels[index] + (0, extent.height / 2 + 6.5 * unit)
        center = placer.place(
            above, extent.width + 4 * unit, extent.height, reach=0.7 * extent.width + 20 * unit
        )
        if center is None:
            label.remove()
            continue
        label.set_position(to_data.transform(center))
        half = np.array([extent.width, extent.height]) / 2
        gap = np.maximum(np.abs(center - pixels[index]) - half, 0)
        if np.linalg.norm(gap) > 10 * unit:
            near = to_data.transform(np.clip(pixels[index], center - half, center + half))
            axes.plot(*np.array([points[index], near]).T, color=MUTED, linewidth=0.6, zorder=3)


def _draw_pictures(axes: Axes, projection: TraitProjection, bottom: float, height: float) -> None:
    """Draw a row of thumbnails above the axes; `bottom` and `height` are shares of the axes' height.

    A line leads from each to above its species, then straight down: such lines never cross.
    """
    indices = sorted(projection.pictures, key=lambda index: projection.positions[index])
    width = axes.get_window_extent().width / axes.figure.dpi
    step = 1 / len(indices)
    side = min(0.62, width * step * 0.9)
    to_axes = axes.transData + axes.transAxes.inverted()
    for number, index in enumerate(indices):
        x = (number + 0.5) * step
        picture = projection.pictures[index]
        image = OffsetImage(picture, zoom=side * 72 / picture.shape[0])
        frame = {"edgecolor": HUES[0], "linewidth": 1.2, "boxstyle": "square,pad=0.04"}
        box = AnnotationBbox(
            image, (x, bottom + height * 0.62), xycoords="axes fraction", frameon=True, bboxprops=frame,
            pad=0, annotation_clip=False, zorder=6,
        )  # fmt: skip
        axes.add_artist(box)
        axes.text(
            x, bottom + height * 0.17, _abbreviated(projection.species[index], 16), transform=axes.transAxes,
            ha="center", va="center", fontsize=min(7.5, 1.02 * side * 72 / 5.4), style="italic", color=INK,
        )  # fmt: skip
        down = to_axes.transform((projection.positions[index], projection.values[index]))
        axes.plot(
            [x, down[0], down[0]], [bottom + height * 0.06, 0.985, down[1]], transform=axes.transAxes,
            color=HUES[0], alpha=0.4, linewidth=0.8, clip_on=False, zorder=1.5,
        )  # fmt: skip


def _abbreviated(name: str, most: int) -> str:
    """Shorten a long binomial to "G. fortis", then cut any name to `most` letters."""
    genus, _, epithet = name.partition(" ")
    if (
        len(name) > most * 0.6
        and genus[:1].isupper()
        and genus.isalpha()
        and epithet.replace("-", "").islower()
    ):
        name = f"{genus[0]}. {epithet}"
    return name if len(name) <= most else name[: most - 1] + "…"


def _write_projection(csv: Path, projection: TraitProjection) -> None:
    head = ["what", "species", "row", "images", "position", projection.label]
    rows: list[Sequence[object]] = [
        ["species", name, "", count, position, value]
        for name, count, position, value in zip(
            projection.species,
            projection.images.tolist(),
            projection.positions.tolist(),
            projection.values.tolist(),
        )
    ]
    rows += [
        ["image", projection.species[index], row, 1, position, value]
        for row, index, position, value in zip(
            projection.image_rows.tolist(),
            projection.image_species.tolist(),
            projection.image_positions.tolist(),
            projection.image_values.tolist(),
        )
    ]
    write_csv(csv, head, rows)
