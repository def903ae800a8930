"""Figures of the tree of life: a tanglegram of the embedding and the taxonomy, and agreement by rank."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bioclip_jax.analyze.dendrogram import Node
from bioclip_jax.plots import GRID, HUES, INK, MUTED, new_figure, save_figure, write_csv

from .embedding_map import family_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW = 0.185  # inches per leaf


def draw_tanglegram(
    png: Path,
    csv: Path,
    embedding: Node,
    taxonomy: Node,
    names: Sequence[str],
    groups: Sequence[str],
    grouped_by: str,
    *,
    title: str,
) -> None:
    """Draw both trees face to face, with a line between equal leaves.

    names, groups: by leaf number; groups, of rank `grouped_by`, decide the color.
    """
    order = taxonomy.leaves()
    colors = family_colors([groups[leaf] for leaf in order])
    height = 1.35 + _ROW * len(names)
    figure = new_figure(10.6, height)
    bottom, tall = 0.5 / height, _ROW * len(names) / height
    left = figure.add_axes((0.02, bottom, 0.2, tall))
    middle = figure.add_axes((0.22, bottom, 0.42, tall), sharey=left)
    right = figure.add_axes((0.64, bottom, 0.17, tall), sharey=left)
    figure.text(0.02, 1 - 0.27 / height, title, fontsize=10.5, color=INK)
    heads = 1 - 0.58 / height
    figure.text(0.02, heads, "tree of the embedding", fontsize=9, color=MUTED, weight="bold")
    figure.text(0.81, heads, "tree of life", fontsize=9, color=MUTED, weight="bold", ha="right")

    left_rows = _draw_tree(left, embedding, root_on_left=True)
    right_rows = _draw_tree(right, taxonomy, root_on_left=False)
    left.set_xlabel("cosine distance", fontsize=8, color=MUTED)
    right.set_xlabel("ranks up to the common ancestor", fontsize=8, color=MUTED)
    for axes in (left, right):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(MUTED)
        axes.tick_params(length=0, labelsize=7.5, labelcolor=MUTED)
    right.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    size = 7.5 if len(names) <= 45 else 7
    middle.set_xlim(0, 1)
    middle.axis("off")
    widths = []
    for leaf, name in enumerate(names):
        shown = name if len(name) <= 27 else name[:26] + "…"
        middle.text(0.01, left_rows[leaf], shown, fontsize=size, va="center", color=INK, style="italic")
        text = middle.text(
            0.99, right_rows[leaf], shown, fontsize=size, va="center", ha="right", color=INK, style="italic"
        )
        widths.append(text.get_window_extent().width / middle.get_window_extent().width)
    wide = max(widths) + 0.03
    for leaf in range(len(names)):
        color = colors[groups[leaf]]
        middle.plot(
            [wide, wide + 0.03, 0.97 - wide, 1 - wide], [left_rows[leaf]] * 2 + [right_rows[leaf]] * 2,
            color=color, linewidth=1.6, alpha=0.85,
        )  # fmt: skip
    left.set(ylim=(len(names) - 0.4, -0.6), yticks=[])
    handles = [Line2D([], [], color=color, linewidth=2.4) for color in colors.values()]
    figure.legend(
        handles, [group or "unknown" for group in colors], title=grouped_by, loc="upper left", frameon=False,
        bbox_to_anchor=(0.825, bottom + tall), labelcolor=INK, alignment="left", title_fontsize=8.5,
        fontsize=8, borderaxespad=0, handlelength=1.2, labelspacing=0.35,
    )  # fmt: skip
    save_figure(figure, png)
    rows = [
        [names[leaf], groups[leaf], left_rows[leaf] + 1, right_rows[leaf] + 1] for leaf in range(len(names))
    ]
    write_csv(
        csv,
        ["leaf", grouped_by, "place_in_embedding", "place_in_taxonomy"],
        sorted(rows, key=lambda row: row[3]),
    )


def _draw_tree(axes: Axes, tree: Node, *, root_on_left: bool) -> dict[int, int]:
    """Draw the tree, and return the row of each leaf."""
    rows = {leaf: row for row, leaf in enumerate(tree.leaves())}
    lines: list[list[tuple[float, float]]] = []

    def draw(node: Node) -> float:
        if not node.children:
            return rows[node.leaf]
        y = [draw(child) for child in node.children]
        lines.extend([[(child.height, row), (node.height, row)] for child, row in zip(node.children, y)])
        lines.append([(node.height, min(y)), (node.height, max(y))])
        return (min(y) + max(y)) / 2

    root = draw(tree)
    top = tree.height or 1.0
    lines.append([(top, root), (1.04 * top, root)])
    axes.add_collection(LineCollection(lines, colors=INK, linewidths=1, capstyle="projecting"))
    axes.set_xlim((1.06 * top, 0) if root_on_left else (0, 1.06 * top))
    return rows


def draw_ranks(png: Path, csv: Path, ranks: dict[str, dict[str, float]], *, title: str) -> None:
    """Draw purity and nearest-neighbor agreement of each rank as bars, with marks at chance level."""
    figure = new_figure(7.6, 1.55 + 0.62 * len(ranks))
    height = figure.get_figheight()
    axes = figure.add_axes((0.12, 0.95 / height, 0.84, 0.62 * len(ranks) / height))
    figure.text(0.02, 1 - 0.3 / height, title, fontsize=10.5, color=INK)
    for row, result in enumerate(ranks.values()):
        for shift, key, color, text in (
            (-0.19, "purity", HUES[0], "clusters: share of species of their cluster's most frequent taxon"),
            (0.19, "nearest_neighbor", HUES[1], "nearest species is of the same taxon"),
        ):
            y = row + shift
            axes.barh(y, result[key], 0.34, color=color, label=None if row else text, zorder=2)
            null = result[f"{key}_null"]
            axes.plot(
                [null, null], [y - 0.2, y + 0.2], color=INK, linewidth=2.2, zorder=3, solid_capstyle="butt",
                label="with names shuffled" if not row and shift > 0 else None,
            )  # fmt: skip
            axes.text(
                max(result[key], null) + 0.012, y, f"{100 * result[key]:.0f} %", va="center", fontsize=8.5,
                color=INK, zorder=4,
            )  # fmt: skip
    axes.set_yticks(range(len(ranks)), list(ranks), fontsize=9.5, color=INK)
    axes.set(xlim=(0, 1.07), ylim=(len(ranks) - 0.5, -0.5), xticks=np.linspace(0, 1, 6))
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=MUTED, labelsize=8.5)
    for label in axes.get_yticklabels():
        label.set(color=INK, fontsize=9.5)
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda row: ("shuffled" in labels[row], "nearest" in labels[row]))
    figure.legend(
        [handles[row] for row in order], [labels[row] for row in order], loc="lower left",
        bbox_to_anchor=(0.11, 0.05 / height), ncols=1, frameon=False, fontsize=8, labelcolor=INK,
        labelspacing=0.3,
    )  # fmt: skip
    save_figure(figure, png)
    columns = list(next(iter(ranks.values())))
    write_csv(
        csv,
        ["rank", *columns],
        [[rank, *(result[name] for name in columns)] for rank, result in ranks.items()],
    )
