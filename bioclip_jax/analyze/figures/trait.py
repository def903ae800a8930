"""Pictures of a trait: species lined up along the direction that predicts it, and their principal components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from bioclip_jax.analyze.plots import _HALO, _HUES, GRID, INK, MUTED, FreeRoom

from .style import new_figure, save, write_csv

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PICTURES = 14
# More dots than these only hide each other.
_MOST_DOTS = 4000
_MOST_NAMES = 40
_MANY = 200  # species, of which dots are small and few are named
_NAMES_OF_MANY = 12
_MOST_AVOIDED = 300
_STRIP = 1.15  # inches above the plot, for the pictures
_DOTS_PER_INCH = 150


@dataclass(frozen=True)
class LineUp:
    """Species along a trait's direction, and the images of them.

    positions, values: of each of the `species`; images: how many each has. image_rows: of the embeddings;
    image_positions, image_values: an image an entry. pictures: by the species' place, of some.
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
    """At most `number` places whose positions are spread evenly from the least to the largest."""
    order = np.argsort(positions, kind="stable")
    if len(order) <= number:
        return order.tolist()
    wanted = np.linspace(positions.min(), positions.max(), number)
    return list(dict.fromkeys(order[np.abs(positions[order] - at).argmin()] for at in wanted))


def draw_lineup(lineup: LineUp, png: Path, csv: Path, title: str) -> None:
    """Species' means and, faint, their images: position along the direction against the trait.

    The pictures stand in a row above, in the order of the positions, each with a line to its species.
    """
    strip = _STRIP if lineup.pictures else 0.0
    height = 5.2 + strip
    figure = new_figure(9.4, height)
    axes = figure.add_axes((0.085, 0.62 / height, 0.885, (4.1) / height))
    figure.text(0.02, 1 - 0.27 / height, title, fontsize=10.5, color=INK)
    dots = np.arange(len(lineup.image_rows))
    if len(dots) > _MOST_DOTS:
        dots = np.random.default_rng(0).choice(dots, _MOST_DOTS, replace=False)
    axes.scatter(
        lineup.image_positions[dots],
        lineup.image_values[dots],
        s=9,
        color=_HUES[4],
        alpha=0.35,
        linewidths=0,
        zorder=1,
    )
    many = len(lineup.species) > _MANY
    slope, intercept = np.polyfit(lineup.positions, lineup.values, 1)
    ends = np.array([lineup.positions.min(), lineup.positions.max()])
    axes.plot(ends, slope * ends + intercept, color=MUTED, linewidth=1, alpha=0.6, zorder=2)
    axes.scatter(
        lineup.positions, lineup.values, s=12 if many else 38, color=_HUES[0], edgecolors="white",
        linewidths=0.15 if many else 0.7, zorder=4, alpha=0.7 if many else 1,
    )  # fmt: skip
    # A few images far out must not squeeze the species together.
    low, high = np.quantile(lineup.image_positions, [0.02, 0.98])
    low, high = min(low, lineup.positions.min()), max(high, lineup.positions.max())
    axes.set_xlim(low - 0.07 * (high - low), high + 0.07 * (high - low))
    _dress(
        axes, "position along the direction fitted to all these species (small dots: images)", lineup.label
    )
    _name(axes, np.column_stack([lineup.positions, lineup.values]), lineup.species)
    if lineup.pictures:
        _hang_pictures(axes, lineup, 1 + 0.2 / 4.1, 0.95 / 4.1)
    save(figure, png)
    _write_lineup(lineup, csv)


def draw_components(
    scores: Float[np.ndarray, "species rank"],
    shares: Float[np.ndarray, " rank"],
    values: Float[np.ndarray, " species"],
    species: Sequence[str],
    label: str,
    best: int,
    png: Path,
    csv: Path,
    title: str,
) -> None:
    """The species means on two principal components, colored by the trait: the first, and the one of r (from 1)."""
    across = (0, best - 1) if best > 1 else (0, min(1, scores.shape[1] - 1))
    figure = new_figure(8.4, 5.6)
    axes = figure.add_axes((0.09, 0.11, 0.74, 0.77))
    figure.text(0.02, 0.95, title, fontsize=10.5, color=INK)
    points = scores[:, across]
    drawn = axes.scatter(
        *points.T, c=values, cmap="cividis", s=16 if len(values) > _MANY else 52, edgecolors="white",
        linewidths=0.15 if len(values) > _MANY else 0.7, zorder=4,
    )  # fmt: skip
    _dress(
        axes,
        *(
            f"PC{number + 1} of the species means ({100 * shares[number]:.2g} % of variance)"
            for number in across
        ),
    )
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    bar = figure.colorbar(drawn, cax=figure.add_axes((0.87, 0.11, 0.022, 0.77)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8.5, labelcolor=MUTED)
    bar.set_label(label, color=MUTED, fontsize=9)
    _name(axes, points, species)
    save(figure, png)
    head = ["species", label, *(f"PC{number + 1}" for number in range(min(5, scores.shape[1])))]
    write_csv(
        csv,
        head,
        [[name, value, *row[:5]] for name, value, row in zip(species, values.tolist(), scores.tolist())],
    )


def _dress(axes: Axes, xlabel: str, ylabel: str) -> None:
    axes.set_xlabel(xlabel, color=MUTED, fontsize=9)
    axes.set_ylabel(ylabel, color=MUTED, fontsize=9)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=MUTED)
    axes.margins(0.09)


def _name(axes: Axes, points: Float[np.ndarray, "species 2"], species: Sequence[str]) -> None:
    """The species' names beside their dots, those that find room; of many species, some along the first axis."""
    # Places are compared in pixels, so the axes must have their final position and limits.
    axes.figure.canvas.draw()
    to_pixels, to_data = axes.transData, axes.transData.inverted()
    pixels = to_pixels.transform(points)
    unit = axes.figure.dpi / 100
    # A dot has a rim: a name must not even touch another's. Among very many dots, a sample tells where room
    # is.
    steps = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)) if len(pixels) <= _MOST_AVOIDED else ((0, 0),)
    avoided = pixels[:: -(-len(pixels) // _MOST_AVOIDED)]
    room = FreeRoom(
        axes.get_window_extent(), np.concatenate([avoided + 5 * unit * np.array(step) for step in steps])
    )
    for place in spread(points[:, 0], _MOST_NAMES if len(points) <= _MANY else _NAMES_OF_MANY):
        label = axes.text(
            0, 0, _abbreviated(species[place], 24), fontsize=7.5, ha="center", va="center", color=INK,
            path_effects=_HALO, style="italic", zorder=5,
        )  # fmt: skip
        extent = label.get_window_extent()
        above = pixels[place] + (0, extent.height / 2 + 6.5 * unit)
        center = room.take(
            above, extent.width + 4 * unit, extent.height, reach=0.7 * extent.width + 20 * unit
        )
        if center is None:
            label.remove()
            continue
        label.set_position(to_data.transform(center))
        half = np.array([extent.width, extent.height]) / 2
        gap = np.maximum(np.abs(center - pixels[place]) - half, 0)
        if np.linalg.norm(gap) > 10 * unit:
            near = to_data.transform(np.clip(pixels[place], center - half, center + half))
            axes.plot(*np.array([points[place], near]).T, color=MUTED, linewidth=0.6, zorder=3)


def _hang_pictures(axes: Axes, lineup: LineUp, bottom: float, height: float) -> None:
    """A row of pictures above the axes; `bottom` and `height` in shares of the axes' height.

    From each a line goes to above its species, then straight down to it: such lines never cross.
    """
    places = sorted(lineup.pictures, key=lambda place: lineup.positions[place])
    width = axes.get_window_extent().width / axes.figure.dpi
    step = 1 / len(places)
    side = min(0.62, width * step * 0.9)
    to_axes = axes.transData + axes.transAxes.inverted()
    for number, place in enumerate(places):
        x = (number + 0.5) * step
        picture = lineup.pictures[place]
        image = OffsetImage(picture, zoom=side * 72 / picture.shape[0])
        frame = {"edgecolor": _HUES[0], "linewidth": 1.2, "boxstyle": "square,pad=0.04"}
        axes.add_artist(
            AnnotationBbox(
                image, (x, bottom + height * 0.62), xycoords="axes fraction", frameon=True, bboxprops=frame, pad=0,
                annotation_clip=False, zorder=6,
            )
        )  # fmt: skip
        axes.text(
            x, bottom + height * 0.17, _abbreviated(lineup.species[place], 16), transform=axes.transAxes, ha="center",
            va="center", fontsize=min(7.5, 1.02 * side * 72 / 5.4), style="italic", color=INK,
        )  # fmt: skip
        down = to_axes.transform((lineup.positions[place], lineup.values[place]))
        axes.plot(
            [x, down[0], down[0]], [bottom + height * 0.06, 0.985, down[1]], transform=axes.transAxes, color=_HUES[0],
            alpha=0.4, linewidth=0.8, clip_on=False, zorder=1.5,
        )  # fmt: skip


def _abbreviated(name: str, most: int) -> str:
    """ "G. fortis" for Geospiza fortis, and no name longer than `most` letters."""
    genus, _, epithet = name.partition(" ")
    if (
        len(name) > most * 0.6
        and genus[:1].isupper()
        and genus.isalpha()
        and epithet.replace("-", "").islower()
    ):
        name = f"{genus[0]}. {epithet}"
    return name if len(name) <= most else name[: most - 1] + "…"


def _write_lineup(lineup: LineUp, csv: Path) -> None:
    head = ["what", "species", "row", "images", "position", lineup.label]
    rows: list[Sequence[object]] = [
        ["species", name, "", count, position, value]
        for name, count, position, value in zip(
            lineup.species, lineup.images.tolist(), lineup.positions.tolist(), lineup.values.tolist()
        )
    ]
    rows += [
        ["image", lineup.species[place], row, 1, position, value]
        for row, place, position, value in zip(
            lineup.image_rows.tolist(),
            lineup.image_species.tolist(),
            lineup.image_positions.tolist(),
            lineup.image_values.tolist(),
        )
    ]
    write_csv(csv, head, rows)
