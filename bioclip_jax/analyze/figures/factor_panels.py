"""Panels of a factor's separation within species, one per stage."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from bioclip_jax.plots import HUES, INK, MUTED, new_figure, save_figure, style_axes, write_csv

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bioclip_jax.analyze.orthogonality import SpeciesSpace
    from bioclip_jax.analyze.separability import HeldOut

# Beyond this number, dots only hide each other.
_MOST_DOTS = 3000
_MOST_PANELS = 4
_PICTURES_AT_AN_END = 3
_MOST_COLORED = len(HUES)
_CELL = 0.62  # inches of a picture's side


@dataclass(frozen=True)
class Panel:
    """One stage's images: x along the factor's direction, in standard deviations within levels, y across it.

    labels: indices in `levels`. pictures: thumbnails of the outermost images at the left and the right end,
    each with its label. note: a line under the panel.
    """

    title: str
    levels: tuple[str, ...]
    rows: Int[np.ndarray, " n"]
    species: Sequence[str]
    labels: Int[np.ndarray, " n"]
    x: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]
    y_name: str
    pictures: tuple[list[tuple[UInt8[np.ndarray, "p p 3"], int]], ...]
    note: str


def make_panel(
    title: str,
    held_out: HeldOut,
    vectors: Float[np.ndarray, "rows dim"],
    species: np.ndarray,
    space: SpeciesSpace,
    thumbnail: Callable[[int], UInt8[np.ndarray, "p p 3"] | None],
    note: str,
    seed: int = 0,
) -> Panel:
    """Build the panel of held-out images. `thumbnail`: the picture of a row, or None.

    y is the first principal component of the species means; of a single species, that of its images without
    their part along x.
    """
    group = held_out.group
    x = held_out.positions[:, 0]
    means = np.array([x[group.labels == level].mean() for level in range(len(group.levels))])
    # The first level is on the left at every stage.
    x = x * (-1 if means[0] > means[1:].mean() else 1)
    means = means * (-1 if means[0] > means[1:].mean() else 1)
    random = np.random.default_rng(seed)
    kept = np.sort(random.permutation(len(group))[:_MOST_DOTS])
    if int(group.species.max()):
        y, y_name = (
            (vectors[group.rows[kept]] - space.mean) @ space.axes[0],
            "first component of the species' means",
        )
    else:
        rows = vectors[group.rows[kept]] - vectors[group.rows[kept]].mean(axis=0)
        along = x[kept] - x[kept].mean()
        across = rows - np.outer(along, along @ rows / max(along @ along, 1e-30))
        y, y_name = (
            rows @ np.linalg.svd(across, full_matrices=False)[2][0],
            "first component across the factor",
        )
    ends = tuple(
        _farthest(x * side, group.labels == level, species[group.rows], group.rows, thumbnail, level)
        for side, level in ((-1, int(means.argmin())), (1, int(means.argmax())))
    )
    rows = group.rows[kept]
    return Panel(
        title, group.levels, rows, species[rows].tolist(), group.labels[kept], x[kept], y, y_name, ends, note
    )


def _farthest(
    along: np.ndarray,
    wanted: np.ndarray,
    species: np.ndarray,
    rows: np.ndarray,
    thumbnail: Callable,
    level: int,
) -> list[tuple[np.ndarray, int]]:
    """Return thumbnails of the level's outermost images, of different species if possible."""
    order = np.flatnonzero(wanted)[np.argsort(-along[wanted])]
    seen: set[str] = set()
    first, repeated = [], []
    for index in order[:200]:
        (repeated if species[index] in seen else first).append(index)
        seen.add(species[index])
    pictures = (thumbnail(int(rows[index])) for index in first + repeated)
    readable = ((picture, level) for picture in pictures if picture is not None)
    return list(itertools.islice(readable, _PICTURES_AT_AN_END))


def draw_panels(png: Path, csv: Path, panels: Sequence[Panel], *, title: str) -> None:
    """Draw at most four panels (first, last, and evenly spaced ones between); the table has all."""
    shown = panels
    if len(panels) > _MOST_PANELS:
        shown = [panels[index] for index in np.linspace(0, len(panels) - 1, _MOST_PANELS).round().astype(int)]
    with_pictures = any(end for panel in shown for end in panel.pictures)
    wide = max(3.6, 2 * _PICTURES_AT_AN_END * _CELL + 0.5)
    width, strip = wide * len(shown) + 0.5, _CELL + 0.02
    base = 1.25 + strip if with_pictures else 0.98
    height = base + 3.75
    figure = new_figure(width, height)
    reach = np.concatenate([panel.x for panel in shown])
    low, high = np.quantile(reach, [0.002, 0.998])
    limits = low - 0.08 * (high - low), high + 0.08 * (high - low)
    tallest = 0.0
    densities = []
    for number, panel in enumerate(shown):
        left, across = (0.4 + number * wide) / width, (wide - 0.35) / width
        scatter = figure.add_axes((left, base / height, across, 2.35 / height))
        _scatter(scatter, panel, limits)
        scatter.set_ylabel(panel.y_name if number == 0 else "", color=MUTED, fontsize=8)
        top = figure.add_axes((left, (base + 2.37) / height, across, 0.62 / height))
        tallest = max(tallest, _density(top, panel, limits))
        densities.append(top)
        middle = left + across / 2
        figure.text(
            middle, (base + 3.08) / height, panel.title, ha="center", fontsize=10.5, weight="bold", color=INK
        )
        figure.text(middle, 0.42 / height, panel.note, ha="center", fontsize=8.5, color=INK)
        if with_pictures:
            _pictures(figure, panel, left, across, 0.66 / height, _CELL / width, _CELL / height)
    for top in densities:
        top.set_ylim(0, tallest * 1.08)
    figure.text(0.4 / width, (base + 3.43) / height, title, fontsize=11, color=INK)
    _legend(figure, shown[-1], width, height)
    save_figure(figure, png)
    write_csv(
        csv,
        ("stage", "row", "species", "level", "position", "across"),
        [
            (panel.title, int(row), species, panel.levels[label], float(x), float(y))
            for panel in panels
            for row, species, label, x, y in zip(panel.rows, panel.species, panel.labels, panel.x, panel.y)
        ],
    )


def _color(level: int) -> str:
    return HUES[level % _MOST_COLORED]


def _scatter(axes: Axes, panel: Panel, limits: tuple[float, float]) -> None:
    order = np.random.default_rng(0).permutation(len(panel.x))
    size = float(np.clip(9000 / max(len(order), 1), 4, 22))
    axes.scatter(
        panel.x[order], panel.y[order], s=size, c=[_color(label) for label in panel.labels[order]], alpha=0.6,
        linewidths=0, rasterized=True,
    )  # fmt: skip
    low, high = np.quantile(panel.y, [0.002, 0.998])
    margin = 0.06 * (high - low) + 1e-9
    axes.set(xlim=limits, ylim=(low - margin, high + margin), yticks=[])
    axes.set_xlabel("along the factor, in SD within values", color=MUTED, fontsize=8)
    style_axes(axes, "x", label_size=8)
    for level in np.unique(panel.labels):
        mean = panel.x[panel.labels == level].mean()
        axes.axvline(mean, color=_color(level), linewidth=1.4, linestyle=(0, (4, 2)))


def _density(axes: Axes, panel: Panel, limits: tuple[float, float]) -> float:
    from scipy.ndimage import gaussian_filter1d

    edges = np.linspace(*limits, 161)
    centers = (edges[1:] + edges[:-1]) / 2
    tallest = 0.0
    for level in np.unique(panel.labels):
        x = panel.x[panel.labels == level]
        # Silverman's rule, for a standard deviation of about 1.
        width = 0.9 * min(1.0, x.std() + 1e-9) * len(x) ** -0.2 / (edges[1] - edges[0])
        height = gaussian_filter1d(np.histogram(x, edges)[0] / len(x), max(width, 1.0), mode="constant")
        axes.fill_between(centers, height, color=_color(level), alpha=0.28, linewidth=0)
        axes.plot(centers, height, color=_color(level), linewidth=1.3)
        axes.axvline(x.mean(), color=_color(level), linewidth=1.4, linestyle=(0, (4, 2)))
        tallest = max(tallest, float(height.max()))
    axes.set_xlim(limits)
    axes.axis("off")
    return tallest


def _pictures(
    figure: Any, panel: Panel, left: float, across: float, bottom: float, width: float, height: float
) -> None:
    for end, side in zip(panel.pictures, (1, -1)):
        for number, (picture, level) in enumerate(end):
            start = left + number * width if side == 1 else left + across - (number + 1) * width
            axes = figure.add_axes((start + 0.03 * width, bottom, 0.94 * width, 0.94 * height))
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(color=_color(level), linewidth=2)


def _legend(figure: Any, panel: Panel, width: float, height: float) -> None:
    from matplotlib.lines import Line2D

    levels = np.unique(panel.labels)
    handles = [Line2D([], [], linestyle="none", marker="o", color=_color(n), markersize=6) for n in levels]
    figure.legend(
        handles, [panel.levels[level] for level in levels], loc="lower left", ncols=max(1, int(width / 1.6)),
        frameon=False, bbox_to_anchor=(0.3 / width, 0.0), fontsize=9, labelcolor=INK, handletextpad=0.1,
        borderaxespad=0.2,
    )  # fmt: skip
