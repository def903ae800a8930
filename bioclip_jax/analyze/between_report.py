"""What the report of `analyze between` says and shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from bioclip_jax.analyze.page import Figure, Part, Table
from bioclip_jax.analyze.trait_values import Traits, label_of
from bioclip_jax.analyze.traits import TraitAxis
from bioclip_jax.analyze.tree_agreement import MOST_SPECIES, cosine_distances, taxonomy
from bioclip_jax.text.taxon import RANKS, Taxon

if TYPE_CHECKING:
    from bioclip_jax.analyze.between import Species
    from bioclip_jax.analyze.embeddings import Embeddings

_MOST_LEAVES = 60
_MOST_GROUPS = 14
# Of a species with more images, a picture is looked for among so many.
_CANDIDATES = 200

_Series = dict[str, list[float]]


def parts_of(
    result: dict[str, Any],
    folder: Path,
    embeddings: Embeddings,
    species: Species,
    known: Traits,
    axes: Mapping[str, TraitAxis],
) -> list[Part]:
    """The report's parts; their figures are drawn into `folder`. `result`: as `between` returns it."""
    parts = []
    if len(result["stages"]) > 1:
        parts.append(
            Part("Over stages", ["The same measures at each stage."], _stage_curves(result["stages"], folder), [])
        )
    for name, stem in _stems(list(axes)).items():
        parts.append(_trait_part(name, stem, axes[name], result["traits"][name], folder, embeddings, species, known))
    if result["left_out"]:
        rows = [[name, problem] for name, problem in result["left_out"].items()]
        parts.append(Part("Traits left out", [], [], [Table("", ["trait", "why"], rows, [])]))
    if result["tree"] is not None:
        parts.append(_tree_part(result["tree"], folder, species))
    return parts


def _trait_part(
    name: str,
    stem: str,
    axis: TraitAxis,
    figured: dict[str, Any],
    folder: Path,
    embeddings: Embeddings,
    species: Species,
    known: Traits,
) -> Part:
    from bioclip_jax.analyze.between import image_places
    from bioclip_jax.analyze.figures.trait import MOST_PICTURES, LineUp, draw_components, draw_lineup, spread

    has = np.flatnonzero(np.isfinite(known.values[name]))
    values, names = known.values[name][has], [species.names[place] for place in has]
    rows, positions, own = image_places(axis, known, name, species, embeddings)
    among = np.searchsorted(has, species.groups[rows])
    pictures = {}
    for place in spread(axis.fitted, MOST_PICTURES):
        picture = _picture(embeddings, rows[among == place], species.means[has[place]])
        if picture is not None:
            pictures[place] = picture
    label, short = label_of(name), re.sub(r" \([^)]*\)$", "", label_of(name))
    counts = np.bincount(among, minlength=len(has))
    lineup = LineUp(label, names, axis.fitted, values, counts, rows, among, positions, own, pictures)
    held_out = (
        f"{short}: held-out species r = {axis.r_cv:.2f} (p = {_p(axis.p_cv)}),"
        f" PC{axis.component} |r| = {axis.r:.2f} (p = {_p(axis.p)})"
    )
    of_component = f"{short} on the principal components: PC{axis.component} r = {axis.r_signed:.2f} (p = {_p(axis.p)})"
    low, high = axis.r_cv_null
    text = (
        f"{len(names):,} species with a value, {len(rows):,} images."
        f" The {_ordinal(axis.component)} of the first {len(axis.components)} principal components of the species means"
        f" correlates with {short} at |r| = {axis.r:.3f}; as much is reached by a share p = {_p(axis.p)} of shuffles."
        f" Predicted from the other species, r = {axis.r_cv:.3f} (p = {_p(axis.p_cv)}; shuffled, 95 % lie from"
        f" {low:.2f} to {high:.2f}: predictions without skill correlate negatively)."
    )
    figures = [
        _figure(
            f"Species along {short}",
            "Species means (large dots) and their images (small) along the direction of ridge regression on all these"
            " species; that they lie along the line is in part the fit, the held-out r in the title is not. Pictures:"
            " the image nearest to its species' mean.",
            folder, f"trait-{stem}", lambda png, csv: draw_lineup(lineup, png, csv, held_out),
        ),
        _figure(
            f"Principal components and {short}",
            f"Species means on their principal components, which know nothing of the trait, colored by {short}.",
            folder, f"components-{stem}",
            lambda png, csv: draw_components(
                axis.space.scores, axis.space.shares, values, names, label, axis.component, png, csv, of_component
            ),
        ),
    ]  # fmt: skip
    table = Table(
        "Pearson correlation with the trait",
        ["principal component", "r", "share of variance"],
        [
            [f"PC{number}", f"{r:.3f}", f"{100 * share:.1f} %"]
            for number, (r, share) in enumerate(zip(axis.components, axis.space.shares), 1)
        ],
        (1, 2),
    )
    return Part(short, [text, *_left_out(figured)], figures, [table])


def _left_out(figured: dict[str, Any]) -> list[str]:
    number = figured["species_left_out"]
    return [f"{number:,} species with images have no value and are left out."] if number else []


def _picture(
    embeddings: Embeddings, rows: np.ndarray, mean: Float[np.ndarray, " dim"]
) -> UInt8[np.ndarray, "side side 3"] | None:
    """The readable image of `rows` nearest to `mean`, of the three nearest."""
    from bioclip_jax.analyze.pictures import thumbnail

    rows = rows[:_CANDIDATES]
    nearest = np.argsort(-(embeddings.vectors[rows] @ mean.astype(np.float32)), kind="stable")
    for row in rows[nearest[:3]]:
        content = embeddings.picture(int(row))
        picture = None if content is None else thumbnail(content)
        if picture is not None:
            return picture
    return None


def _tree_part(tree: dict[str, Any], folder: Path, species: Species) -> Part:
    from bioclip_jax.analyze.figures.tanglegram import draw_ranks

    figures = []
    leaves = _leaves(species)
    if leaves is not None:
        figures.append(_tanglegram(*leaves, tree, folder))
    tables = []
    if tree["ranks"]:
        figures.append(
            _figure(
                "Clusters and neighbors by rank",
                "The embedding's tree is cut into as many clusters as the rank has taxa. Strokes: the same with the"
                " species' names shuffled.",
                folder,
                "ranks",
                lambda png, csv: draw_ranks(tree["ranks"], png, csv, "How far clusters and neighbors are taxa"),
            )  # fmt: skip
        )
        head = ["rank", "species", "taxa", "purity", "shuffled", "adjusted Rand", "nearest neighbor", "shuffled"]
        tables.append(
            Table("Agreement by rank", head, [_rank_row(*item) for item in tree["ranks"].items()], range(1, 8))
        )
    sampled = f" (a sample of {MOST_SPECIES:,})" if len(species.names) > MOST_SPECIES else ""
    text = (
        f"Over all pairs of {tree['species']:,} species{sampled}, the cosine distance of their means and the number of"
        f" ranks up to their common ancestor correlate at r = {tree['cophenetic']:.3f} (Mantel p = {_p(tree['p'])})."
        f" The tree of average linkage keeps the cosine distances at r = {tree['dendrogram_fit']:.3f}."
    )
    return Part("The tree of life", [text], figures, tables)


def _rank_row(rank: str, found: dict[str, Any]) -> list[str]:
    shares = [found["purity"], found["purity_null"], found["nearest_neighbor"], found["nearest_neighbor_null"]]
    purity, purity_null, nearest, nearest_null = (f"{100 * share:.1f} %" for share in shares)
    rand = f"{found['adjusted_rand']:.3f}"
    return [rank, f"{found['species']:,}", f"{found['taxa']:,}", purity, purity_null, rand, nearest, nearest_null]


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
            return means, taxa, [f"{lineage[-1]} ({len(places)})" for lineage, places in members.items()], rank
    return None


def _tanglegram(
    means: np.ndarray, taxa: Sequence[Taxon], names: Sequence[str], rank: str, tree: dict[str, Any], folder: Path
) -> Figure:
    from bioclip_jax.analyze.dendrogram import average_linkage, tree_of_lineages, tree_of_linkage, untangle
    from bioclip_jax.analyze.figures.tanglegram import draw_tanglegram

    depth = RANKS.index(rank)
    lineages = taxonomy(taxa)[:, :depth] if depth else np.zeros((len(taxa), 1), np.int64)
    left, right = untangle(tree_of_linkage(average_linkage(cosine_distances(means))), tree_of_lineages(lineages))
    grouped_by = _coloring(taxa, RANKS[:depth])
    groups = [taxon.rank(grouped_by) if grouped_by else "" for taxon in taxa]
    leaves = "species" if rank == "species" else f"taxa of rank {rank} (with their number of species)"
    return _figure(
        "The tree of the embedding beside the tree of life",
        f"Average linkage of the cosine distances of the means of {len(names)} {leaves}, and the taxonomy; forks are"
        " turned so that lines cross little.",
        folder, "tree",
        lambda png, csv: draw_tanglegram(
            left, right, names, groups, grouped_by or "group", png, csv,
            f"Embedding and taxonomy: cophenetic r = {tree['cophenetic']:.2f} (p = {_p(tree['p'])})",
        ),
    )  # fmt: skip


def _coloring(taxa: Sequence[Taxon], ranks: Sequence[str]) -> str:
    """The rank to color by: family if it has between two and fourteen taxa, else one above it, else the genus."""
    for rank in sorted(ranks, key=lambda rank: (rank == "genus", -RANKS.index(rank))):
        if 2 <= len({taxon.rank(rank) for taxon in taxa}) <= _MOST_GROUPS:
            return rank
    return ""


def _stage_curves(stages: Sequence[dict[str, Any]], folder: Path) -> list[Figure]:
    from bioclip_jax.analyze.figures.curves import plot_curves

    along = [(stage["name"], stage["position"]) for stage in stages]
    found = []

    def add(
        stem: str, title: str, label: str, note: str, series: _Series, nulls: _Series, percent: bool = False
    ) -> None:
        if series:
            png, csv = folder / f"stages-{stem}.png", folder / f"stages-{stem}.csv"
            plot_curves(png, csv, along, series, title=title, ylabel=label, nulls=nulls or None, percent=percent)
            found.append(Figure(title, note, png, csv))

    names = [name for name in stages[-1]["traits"] if all(name in stage["traits"] for stage in stages)]
    traits = {label_of(name): [stage["traits"][name] for stage in stages] for name in names}
    series = {label: [figured["r_cv"] for figured in row] for label, row in traits.items()}
    nulls = {label: [figured["r_cv_null"][1] for figured in row] for label, row in traits.items()}
    note = (
        "Correlation of each trait with its prediction from other species; dashed: 97.5 % of shuffled traits lie below."
    )
    add("traits-r_cv", "Traits predicted from other species", "Pearson r", note, series, nulls)
    series = {label: [figured["r"] for figured in row] for label, row in traits.items()}
    note = "The largest correlation of each trait with one of the first principal components of the species means."
    add("traits-r", "Traits on a principal component", "|Pearson r|", note, series, {})
    trees = [stage["tree"] for stage in stages]
    if all(tree is not None for tree in trees):
        cophenetic = {"distances": [tree["cophenetic"] for tree in trees]}
        note = "Correlation of the cosine distances of species means with the ranks up to their common ancestor."
        add("tree", "Agreement with the tree of life", "cophenetic r", note, cophenetic, {})
        ranks = [rank for rank in trees[-1]["ranks"] if all(rank in tree["ranks"] for tree in trees)]
        series = {rank: [tree["ranks"][rank]["nearest_neighbor"] for tree in trees] for rank in ranks}
        nulls = {rank: [tree["ranks"][rank]["nearest_neighbor_null"] for tree in trees] for rank in ranks}
        note = "Share of species whose nearest species is of the same taxon, by rank; dashed: with names shuffled."
        add("neighbors", "Nearest species of the same taxon", "share of species", note, series, nulls, percent=True)
    return found


def _figure(title: str, caption: str, folder: Path, stem: str, draw: Callable[[Path, Path], None]) -> Figure:
    png, csv = folder / f"{stem}.png", folder / f"{stem}.csv"
    draw(png, csv)
    return Figure(title, caption, png, csv)


def _ordinal(number: int) -> str:
    return ("first", "second", "third", "fourth", "fifth")[number - 1]


def _p(p: float) -> str:
    return f"{p:.4f}" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _stems(names: Sequence[str]) -> dict[str, str]:
    """The names as parts of files' names, of which no two are the same."""
    stems: dict[str, str] = {}
    for name in names:
        stem = plain = re.sub(r"[^\w-]+", "-", name).strip("-") or "trait"
        number = 1
        while stem.lower() in {other.lower() for other in stems.values()}:
            number += 1
            stem = f"{plain}-{number}"
        stems[name] = stem
    return stems
