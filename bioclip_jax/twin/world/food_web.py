"""The figure of a food web: species by trophic level, observed links solid and inferred ones dashed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from bioclip_jax.plots import GRID, HUES, INK, MUTED, darker, halo, new_figure, save_figure, style_axes

from .links import Link
from .species import KINDS, Species
from .trophic import trophic_levels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = dict(zip(KINDS, (HUES[2], HUES[1], HUES[0], HUES[3])))
_INFERRED = HUES[5]
_KIND_LABELS = {
    "producer": "producer",
    "invertebrate": "invertebrate",
    "ectotherm": "vertebrate ectotherm",
    "endotherm": "endotherm",
}
# Species whose levels differ by less are arranged in one row, so that they do not overlap.
_ROW = 0.5
_SPACING = 0.36  # inches between the species of a row
_PER_LEVEL = 2.1  # inches per trophic level
_LABEL = 1.9  # inches for labels at the right and the top


def draw_food_web(path: Path, species: Sequence[Species], links: Sequence[Link]) -> None:
    """Draw the food web of up to some 60 species as a PNG; larger nodes are larger species."""
    levels = trophic_levels(species, links)
    rows = np.floor((levels - 1) / _ROW + 1e-9).astype(int)
    x = _arrange(rows, species, links)
    width = max(6.0, _SPACING * float(np.ptp(x)) + _LABEL + 1.2)
    height = max(3.6, _PER_LEVEL * float(np.ptp(levels)) + _LABEL + 0.9)
    figure = new_figure(width, height)
    axes = figure.subplots()
    figure.subplots_adjust(
        left=0.7 / width, right=1 - _LABEL / width, bottom=0.65 / height, top=1 - _LABEL / height
    )
    _draw_links(axes, x, levels, species, links)
    sizes = _sizes(species)
    axes.scatter(
        x,
        levels,
        s=sizes,
        c=[_COLORS[one.kind] for one in species],
        edgecolors="white",
        linewidths=0.8,
        zorder=3,
    )
    for one, across, level, size in zip(species, x, levels, sizes):
        axes.annotate(
            one.common_name or one.name,
            (across, level),
            xytext=(0.30 * size**0.5, 0.36 * size**0.5 + 1),
            textcoords="offset points",
            rotation=42,
            rotation_mode="anchor",
            fontsize=7.5,
            fontstyle="normal" if one.common_name else "italic",
            color=darker(_COLORS[one.kind]),
            path_effects=halo(),
            zorder=4,
            annotation_clip=False,
        )
    style_axes(axes)
    axes.set_ylim(0.85, float(levels.max()) + 0.12)
    axes.set_xlim(float(x.min()) - 1, float(x.max()) + 1)
    axes.set_xticks([])
    axes.set_yticks(np.arange(1, int(levels.max()) + 1))
    axes.set_ylabel("trophic level", color=INK, fontsize=9)
    axes.spines["bottom"].set_visible(False)
    _legend(axes, species, links)
    save_figure(figure, path)


def _arrange(
    rows: np.ndarray, species: Sequence[Species], links: Sequence[Link]
) -> Float[np.ndarray, " species"]:
    """Horizontal positions: each row is centered, its species ordered by the mean position of their links.

    The barycenter heuristic (Sugiyama, Tagawa and Toda 1981, IEEE Trans. Syst. Man Cybern. 11:109), up and
    down until the order stays.
    """
    index = {one.name: i for i, one in enumerate(species)}
    touching = np.zeros((len(species), len(species)))
    for link in links:
        i, j = index[link.consumer], index[link.resource]
        if rows[i] != rows[j]:
            touching[i, j] = touching[j, i] = 1
    x = np.zeros(len(species))
    masses = np.array([one.mass_g for one in species])
    members = [np.flatnonzero(rows == row) for row in np.unique(rows)]
    for row in members:
        x[row[np.argsort(masses[row], kind="stable")]] = _centered(len(row), rows, members)
    for _ in range(20):
        before = x.copy()
        for row in [*members, *members[-2::-1]]:
            count = touching[row].sum(axis=1)
            middle = np.where(count > 0, touching[row] @ x / np.maximum(count, 1), x[row])
            # A step is rounded, so that sums in another order do not change the figure.
            order = np.lexsort((x[row], np.round(middle, 6)))
            x[row[order]] = _centered(len(row), rows, members)
        if np.array_equal(x, before):
            break
    return x


def _centered(count: int, rows: np.ndarray, members: Sequence[np.ndarray]) -> Float[np.ndarray, " count"]:
    """Positions of a row, spread so that rows of few species are about as wide as others, but not more."""
    widest = max(map(len, members))
    step = min(max(1.0, 0.75 * widest / max(count, 1)), 4.0)
    return step * (np.arange(count) - (count - 1) / 2)


def _sizes(species: Sequence[Species]) -> Float[np.ndarray, " species"]:
    """Areas of the nodes in points², linear in the logarithm of the body mass."""
    logs = np.log10([one.mass_g for one in species])
    return 25 + 130 * (logs - logs.min()) / max(float(np.ptp(logs)), 1e-9)


def _draw_links(
    axes: Axes, x: np.ndarray, levels: np.ndarray, species: Sequence[Species], links: Sequence[Link]
) -> None:
    from matplotlib.collections import LineCollection

    index = {one.name: i for i, one in enumerate(species)}
    for inferred in (False, True):
        ends = [
            [(x[index[name]], levels[index[name]]) for name in (link.resource, link.consumer)]
            for link in links
            if link.inferred == inferred and link.resource != link.consumer
        ]
        axes.add_collection(
            LineCollection(
                ends,
                colors=_INFERRED if inferred else MUTED,
                linewidths=0.9 if inferred else 0.6,
                linestyles=(0, (4, 3)) if inferred else "solid",
                alpha=0.8 if inferred else 0.45,
                zorder=2,
            )
        )
    own = [index[link.consumer] for link in links if link.resource == link.consumer]
    if own:
        rings = axes.scatter(x[own], levels[own], s=_sizes(species)[own] + 70, facecolors="none", zorder=2)
        rings.set(edgecolors=MUTED, linewidths=0.8)


def _legend(axes: Axes, species: Sequence[Species], links: Sequence[Link]) -> None:
    from matplotlib.lines import Line2D

    kinds = [kind for kind in KINDS if any(one.kind == kind for one in species)]
    entries = [
        Line2D([], [], marker="o", linestyle="", color=_COLORS[kind], label=_KIND_LABELS[kind])
        for kind in kinds
    ]
    entries.append(Line2D([], [], color=MUTED, linewidth=0.9, label="observed link"))
    if any(link.inferred for link in links):
        entries.append(
            Line2D([], [], color=_INFERRED, linewidth=1.1, linestyle=(0, (4, 3)), label="inferred link")
        )
    if any(link.resource == link.consumer for link in links):
        entries.append(
            Line2D(
                [],
                [],
                marker="o",
                linestyle="",
                markerfacecolor="none",
                color=MUTED,
                label="eats its own kind",
            )
        )
    axes.figure.legend(
        handles=entries,
        loc="lower center",
        ncols=len(entries),
        frameon=False,
        fontsize=7.5,
        labelcolor=INK,
        handletextpad=0.4,
        columnspacing=1.2,
    )
    axes.grid(color=GRID)
