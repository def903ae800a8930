"""The figure of a food web: species by trophic level, observed links solid and inferred ones dashed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from bioclip_jax.plots import HUES, INK, MUTED, darker, halo, new_figure, save_figure, style_axes

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
_LABEL = 1.25  # inches that the labels need at the sides, above and below
_ANGLE = 42.0  # degrees of the labels
_LINE = 0.13  # inches between labels


def draw_food_web(path: Path, species: Sequence[Species], links: Sequence[Link]) -> None:
    """Draw the food web of up to some 60 species as a PNG; larger nodes are larger species."""
    levels = trophic_levels(species, links)
    rows = np.floor((levels - 1) / _ROW + 1e-9).astype(int)
    x = _arrange(rows, species, links)
    axes, inches = _new_axes(x, levels)
    _draw_links(axes, x, levels, species, links)
    sizes = _sizes(species)
    colors = [_COLORS[one.kind] for one in species]
    axes.scatter(x, levels, s=sizes, c=colors, edgecolors="white", linewidths=0.8, zorder=3)
    _draw_labels(axes, inches, x, levels, sizes, species)
    style_axes(axes)
    axes.set_xticks([])
    axes.set_yticks(np.arange(1, int(levels.max()) + 1))
    axes.set_ylabel("trophic level", color=INK, fontsize=9)
    axes.spines["bottom"].set_visible(False)
    _legend(axes, species, links)
    save_figure(axes.figure, path)


def _new_axes(
    x: Float[np.ndarray, " species"], levels: Float[np.ndarray, " species"]
) -> tuple[Axes, Float[np.ndarray, "species 2"]]:
    """Axes that hold all nodes and labels, and the nodes' positions in inches."""
    unit = _SPACING if np.ptp(x) * _SPACING > 4 else 4 / max(float(np.ptp(x)), 1.0)
    width = unit * (float(np.ptp(x)) + 1) + 2 * _LABEL
    span = _PER_LEVEL * float(np.ptp(levels)) + 0.4
    height = span + 2 * _LABEL + 0.6
    axes = new_figure(width, height).subplots()
    axes.figure.subplots_adjust(
        left=_LABEL / width,
        right=1 - _LABEL / width,
        bottom=(_LABEL + 0.45) / height,
        top=1 - (_LABEL - 0.1) / height,
    )
    axes.set_xlim(float(x.min()) - 0.5, float(x.max()) + 0.5)
    axes.set_ylim(1 - 0.2 / _PER_LEVEL, float(levels.max()) + 0.2 / _PER_LEVEL)
    return axes, np.stack([x * unit, levels * _PER_LEVEL], axis=1)


def _draw_labels(
    axes: Axes,
    inches: Float[np.ndarray, "species 2"],
    x: Float[np.ndarray, " species"],
    levels: Float[np.ndarray, " species"],
    sizes: Float[np.ndarray, " species"],
    species: Sequence[Species],
) -> None:
    """Label producers to the lower right, where no links are, and others to the upper right if it is free."""
    for i, one in enumerate(species):
        text = one.common_name or one.name
        up = -1 if one.kind == "producer" or _is_blocked(i, inches, text) else 1
        away = 0.36 * sizes[i] ** 0.5 + 1
        axes.annotate(
            text,
            (x[i], levels[i]),
            xytext=(away, up * away),
            textcoords="offset points",
            rotation=up * _ANGLE,
            rotation_mode="anchor",
            verticalalignment="center",
            fontsize=7.5,
            fontstyle="normal" if one.common_name else "italic",
            color=darker(_COLORS[one.kind]),
            path_effects=halo(),
            zorder=4,
            annotation_clip=False,
        )


def _is_blocked(i: int, inches: Float[np.ndarray, "species 2"], text: str) -> bool:
    """True if a label from node i to the upper right would run through another node."""
    angle = np.radians(_ANGLE)
    away = inches - inches[i]
    along = away @ (np.cos(angle), np.sin(angle))
    beside = np.abs(away @ (-np.sin(angle), np.cos(angle)))
    return bool(((along > 0.05) & (along < 0.06 * len(text) + 0.2) & (beside < _LINE)).any())


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
        ring = {"marker": "o", "linestyle": "", "markerfacecolor": "none"}
        entries.append(Line2D([], [], **ring, color=MUTED, label="eats its own kind"))
    width = axes.figure.get_figwidth()
    axes.figure.legend(
        handles=entries,
        loc="lower center",
        ncols=min(len(entries), int(width / 1.35)),
        frameon=False,
        fontsize=7.5,
        labelcolor=INK,
        handletextpad=0.4,
        columnspacing=1.2,
    )
