"""What the report of `analyze between` says and shows of the tree of life."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_jax.text import RANKS, Taxon

from .page import Figure, Part, Table
from .tree_agreement import MOST_SPECIES, cosine_distances, taxonomy

if TYPE_CHECKING:
    from .species import Species

_MOST_LEAVES = 60
_MOST_GROUPS = 14


def tree_part(tree: dict[str, Any], folder: Path, species: Species) -> Part:
    """The part on the tree of life; its figures are drawn into `folder`. `tree`: as tree_agreement returns it."""
    from bioclip_jax.analyze.figures import draw_ranks

    figures = []
    leaves = _leaves(species)
    if leaves is not None:
        figures.append(_tanglegram(*leaves, tree, folder))
    tables = []
    if tree["ranks"]:
        figures.append(
            drawn(
                "Clusters and neighbors by rank",
                "The embedding's tree is cut into as many clusters as the rank has taxa. Strokes: the same "
                "with the"
                " species' names shuffled.",
                folder,
                "ranks",
                lambda png, csv: draw_ranks(
                    tree["ranks"], png, csv, "How far clusters and neighbors are taxa"
                ),
            )  # fmt: skip
        )
        head = [
            "rank",
            "species",
            "taxa",
            "purity",
            "shuffled",
            "adjusted Rand",
            "nearest neighbor",
            "shuffled",
        ]
        rows = [_rank_row(rank, found) for rank, found in tree["ranks"].items()]
        tables.append(Table("Agreement by rank", head, rows, range(1, len(head))))
    sampled = f" (a sample of {MOST_SPECIES:,})" if len(species.names) > MOST_SPECIES else ""
    text = (
        f"Over all pairs of {tree['species']:,} species{sampled}, cosine distances of the means and the "
        f"ranks up to"
        f" their common ancestor correlate at r = {tree['cophenetic']:.3f} (Mantel p = {p_value(tree['p'])})."
        f" The tree of average linkage keeps the cosine distances at r = {tree['dendrogram_fit']:.3f}."
    )
    return Part("The tree of life", [text], figures, tables)


def _rank_row(rank: str, found: dict[str, Any]) -> list[str]:
    shares = [
        found["purity"],
        found["purity_null"],
        found["nearest_neighbor"],
        found["nearest_neighbor_null"],
    ]
    purity, purity_null, nearest, nearest_null = (f"{100 * share:.1f} %" for share in shares)
    rand = f"{found['adjusted_rand']:.3f}"
    return [
        rank,
        f"{found['species']:,}",
        f"{found['taxa']:,}",
        purity,
        purity_null,
        rand,
        nearest,
        nearest_null,
    ]


def _leaves(species: Species) -> tuple[np.ndarray, list[Taxon], list[str], str] | None:
    """Means, taxa and names of the species, or of the taxa of the lowest rank that has few enough; and that rank."""
    if len(species.names) <= _MOST_LEAVES:
        return species.means, species.taxa, species.names, "species"
    for rank in reversed(RANKS[:-1]):
        lineages = [taxon.lineage(rank) for taxon in species.taxa]
        members: dict[tuple[str, ...], list[int]] = {}
        for place, lineage in enumerate(lineages):
            if lineage[-1]:
                members.setdefault(lineage, []).append(place)
        if 3 <= len(members) <= _MOST_LEAVES:
            means = np.stack([species.means[places].mean(axis=0) for places in members.values()])
            depth = RANKS.index(rank) + 1
            taxa = [Taxon(*lineage, *[""] * (len(RANKS) - depth)) for lineage in members]
            return (
                means,
                taxa,
                [f"{lineage[-1]} ({len(places)})" for lineage, places in members.items()],
                rank,
            )
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
    grouped_by = _coloring(taxa, RANKS[:depth])
    groups = [taxon.rank(grouped_by) if grouped_by else "" for taxon in taxa]
    leaves = "species" if rank == "species" else f"taxa of rank {rank} (with their number of species)"
    return drawn(
        "The tree of the embedding beside the tree of life",
        f"Average linkage of the cosine distances of the means of {len(names)} {leaves}, and the taxonomy; " f"forks are"
        " turned so that lines cross little.",
        folder, "tree",
        lambda png, csv: draw_tanglegram(
            left, right, names, groups, grouped_by or "group", png, csv,
            f"Embedding and taxonomy: cophenetic r = {tree['cophenetic']:.2f} (p = {p_value(tree['p'])})",
        ),
    )  # fmt: skip


def _coloring(taxa: Sequence[Taxon], ranks: Sequence[str]) -> str:
    """The rank to color by: family if it has between two and fourteen taxa, else one above it, else the genus."""
    for rank in sorted(ranks, key=lambda rank: (rank == "genus", -RANKS.index(rank))):
        if 2 <= len({taxon.rank(rank) for taxon in taxa}) <= _MOST_GROUPS:
            return rank
    return ""


def drawn(title: str, caption: str, folder: Path, stem: str, draw: Callable[[Path, Path], None]) -> Figure:
    """A figure of the report, which `draw` writes as a PNG and a CSV."""
    png, csv = folder / f"{stem}.png", folder / f"{stem}.csv"
    draw(png, csv)
    return Figure(title, caption, png, csv)


def p_value(p: float) -> str:
    """As many digits as tell it from a round figure: 0.0001, 0.012, 0.35."""
    return f"{p:.4f}" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
