"""The part on the tree of life in the report of `analyze between`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_jax.text import RANKS, Taxon

from .report import Figure, Part, Table, draw_figure, p_value, percent
from .tree_agreement import MOST_SPECIES, cosine_distances, taxonomy

if TYPE_CHECKING:
    from .embeddings import Species

_MOST_LEAVES = 60
_MOST_GROUPS = 14


def tree_part(tree: dict[str, Any], folder: Path, species: Species) -> Part:
    """Draw the figures into `folder` and return the part. tree: as tree_agreement returns it."""
    from bioclip_jax.analyze.figures import draw_ranks

    figures, tables = [], []
    leaves = _leaves(species)
    if leaves is not None:
        figures.append(_tanglegram(*leaves, tree, folder))
    if tree["ranks"]:
        caption = (
            "The embedding's tree is cut into as many clusters as the rank has taxa. Strokes: chance level, "
            "with the species' names shuffled."
        )
        options = {"title": "Agreement of clusters and neighbors with taxa"}
        heading = "Clusters and neighbors by rank"
        figures.append(draw_figure(folder, "ranks", heading, caption, draw_ranks, tree["ranks"], **options))
        head = (
            "rank", "species", "taxa", "purity", "shuffled", "adjusted Rand", "nearest neighbor", "shuffled",
        )  # fmt: skip
        rows = [
            [
                rank, f"{row['species']:,}", f"{row['taxa']:,}", percent(row["purity"]),
                percent(row["purity_null"]), f"{row['adjusted_rand']:.3f}", percent(row["nearest_neighbor"]),
                percent(row["nearest_neighbor_null"]),
            ]
            for rank, row in tree["ranks"].items()
        ]  # fmt: skip
        tables.append(Table("Agreement by rank", head, rows, range(1, len(head))))
    sampled = f" (a sample of {MOST_SPECIES:,})" if len(species.names) > MOST_SPECIES else ""
    text = (
        f"Over all pairs of {tree['species']:,} species{sampled}, cosine distances of the means and the "
        f"ranks up to the lowest common ancestor correlate at r = {tree['cophenetic']:.3f} (Mantel p = "
        f"{p_value(tree['p'])}). The average-linkage tree preserves the cosine distances at r = "
        f"{tree['dendrogram_fit']:.3f}."
    )
    return Part("The tree of life", [text], figures, tables)


def _leaves(species: Species) -> tuple[np.ndarray, list[Taxon], list[str], str] | None:
    """Means, taxa, names and rank of the leaves: species, or taxa of the lowest rank with few enough."""
    if len(species.names) <= _MOST_LEAVES:
        return species.means, species.taxa, species.names, "species"
    for rank in reversed(RANKS[:-1]):
        members: dict[tuple[str, ...], list[int]] = {}
        for row, taxon in enumerate(species.taxa):
            if taxon.rank(rank):
                members.setdefault(taxon.lineage(rank), []).append(row)
        if 3 <= len(members) <= _MOST_LEAVES:
            means = np.stack([species.means[rows].mean(axis=0) for rows in members.values()])
            taxa = [Taxon(*lineage, *[""] * (len(RANKS) - len(lineage))) for lineage in members]
            names = [f"{lineage[-1]} ({len(rows)})" for lineage, rows in members.items()]
            return means, taxa, names, rank
    return None


def _tanglegram(
    means: np.ndarray,
    taxa: Sequence[Taxon],
    names: Sequence[str],
    rank: str,
    tree: dict[str, Any],
    folder: Path,
) -> Figure:
    from bioclip_jax.analyze.figures import draw_tanglegram

    from .dendrogram import average_linkage, tree_of_lineages, tree_of_linkage, untangle

    depth = RANKS.index(rank)
    lineages = taxonomy(taxa)[:, :depth] if depth else np.zeros((len(taxa), 1), np.int64)
    left, right = untangle(
        tree_of_linkage(average_linkage(cosine_distances(means))), tree_of_lineages(lineages)
    )
    grouped_by = _color_rank(taxa, RANKS[:depth])
    groups = [taxon.rank(grouped_by) if grouped_by else "" for taxon in taxa]
    leaves = "species" if rank == "species" else f"taxa of rank {rank} (with their number of species)"
    caption = (
        f"Average linkage of the cosine distances of the means of {len(names)} {leaves}, and the taxonomy; "
        "branches are rotated to reduce crossings."
    )
    title = f"Embedding and taxonomy: cophenetic r = {tree['cophenetic']:.2f} (p = {p_value(tree['p'])})"
    return draw_figure(
        folder, "tree", "The tree of the embedding beside the tree of life", caption, draw_tanglegram,
        left, right, names, groups, grouped_by or "group", title=title,
    )  # fmt: skip


def _color_rank(taxa: Sequence[Taxon], ranks: Sequence[str]) -> str:
    """Family if it has two to fourteen taxa, else the next rank above that has, else genus; "" for none."""
    for rank in sorted(ranks, key=lambda rank: (rank == "genus", -RANKS.index(rank))):
        if 2 <= len({taxon.rank(rank) for taxon in taxa}) <= _MOST_GROUPS:
            return rank
    return ""
