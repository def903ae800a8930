"""The parts of the report of `analyze between`: stages, traits, the tree of life."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from .report import Figure, Part, Table, draw_figure, draw_stages, file_stems, p_value
from .trait_values import Traits, label_of
from .traits import TraitAxis, project_images
from .tree_report import tree_part

if TYPE_CHECKING:
    from .embeddings import Embeddings, Species

# Number of a species' images to search for the most typical one.
_CANDIDATES = 200


def draw_parts(
    result: dict[str, Any],
    folder: Path,
    embeddings: Embeddings,
    species: Species,
    traits: Traits,
    axes: Mapping[str, TraitAxis],
) -> list[Part]:
    """Draw the figures into `folder` and return the parts. result: as analyze_between returns it."""
    parts = []
    if len(result["stages"]) > 1:
        parts.append(
            Part("Over stages", ["The same measures at each stage."], _curves(result["stages"], folder))
        )
    for name, stem in file_stems(axes, "trait").items():
        skipped = result["traits"][name]["species_left_out"]
        parts.append(_trait_part(name, stem, axes[name], skipped, folder, embeddings, species, traits))
    if result["left_out"]:
        rows = list(result["left_out"].items())
        parts.append(Part("Skipped traits", [], [], [Table("", ["trait", "reason"], rows)]))
    if result["tree"] is not None:
        parts.append(tree_part(result["tree"], folder, species))
    return parts


def _trait_part(
    name: str,
    stem: str,
    axis: TraitAxis,
    skipped: int,
    folder: Path,
    embeddings: Embeddings,
    species: Species,
    traits: Traits,
) -> Part:
    from bioclip_jax.analyze.figures import (
        MOST_PICTURES,
        TraitProjection,
        draw_components,
        draw_projection,
        spread,
    )

    has = np.flatnonzero(np.isfinite(traits.values[name]))
    values, names = traits.values[name][has], [species.names[index] for index in has]
    rows, positions, image_values = project_images(axis, traits, name, species, embeddings)
    image_species = np.searchsorted(has, species.groups[rows])
    pictures = {}
    for index in spread(axis.fitted, MOST_PICTURES):
        picture = _typical_picture(embeddings, rows[image_species == index], species.means[has[index]])
        if picture is not None:
            pictures[index] = picture
    label = label_of(name)
    short = re.sub(r" \([^)]*\)$", "", label)
    counts = np.bincount(image_species, minlength=len(has))
    projection = TraitProjection(
        label, names, axis.fitted, values, counts, rows, image_species, positions, image_values, pictures
    )
    component = f"PC{axis.component}"
    low, high = axis.r_cv_null
    text = [
        f"{len(names):,} species with a value, {len(rows):,} images. Of the first {len(axis.components)} "
        f"principal components of the species means, {component} correlates best with {short}, at |r| = "
        f"{axis.r:.3f} (p = {p_value(axis.p)}, the share of shuffles that reach it). The prediction from "
        f"other species correlates at r = {axis.r_cv:.3f} (p = {p_value(axis.p_cv)}; 95 % of shuffles are "
        f"from {low:.2f} to {high:.2f}: predictions without skill correlate negatively)."
    ]
    if skipped:
        text.append(f"{skipped:,} species with images have no value and are skipped.")
    caption = (
        "Species means (large dots) and their images (small) along the direction of a ridge regression on "
        "all these species. Because these species were fitted, their correlation here is optimistic; the "
        "held-out r in the title is not."
    )
    if pictures:
        caption += " Pictures: the image nearest to its species' mean."
    title = (
        f"{short}: held-out species r = {axis.r_cv:.2f} (p = {p_value(axis.p_cv)}), "
        f"{component} |r| = {axis.r:.2f} (p = {p_value(axis.p)})"
    )
    heading = f"Species along {short}"
    figures = [
        draw_figure(folder, f"trait-{stem}", heading, caption, draw_projection, projection, title=title)
    ]
    caption = (
        f"Species means on their principal components, which do not depend on the trait, colored by {short}."
    )
    title = (
        f"{short} on the principal components: {component} r = {axis.r_signed:.2f} (p = {p_value(axis.p)})"
    )
    space = axis.space
    figures.append(
        draw_figure(
            folder, f"components-{stem}", f"Principal components and {short}", caption, draw_components,
            space.scores, space.shares, values, names, label, axis.component, title=title,
        )
    )  # fmt: skip
    table = Table(
        "Pearson correlation with the trait",
        ["principal component", "r", "share of variance"],
        [
            [f"PC{number}", f"{r:.3f}", f"{100 * share:.1f} %"]
            for number, (r, share) in enumerate(zip(axis.components, space.shares), 1)
        ],
        (1, 2),
    )
    return Part(short, text, figures, [table])


def _typical_picture(
    embeddings: Embeddings, rows: np.ndarray, mean: Float[np.ndarray, " dim"]
) -> UInt8[np.ndarray, "side side 3"] | None:
    """Thumbnail of the image nearest to `mean`, the first readable of the three nearest."""
    rows = rows[:_CANDIDATES]
    nearest = np.argsort(-(embeddings.vectors[rows] @ mean.astype(np.float32)), kind="stable")
    pictures = (embeddings.thumbnail(int(row)) for row in rows[nearest[:3]])
    return next((picture for picture in pictures if picture is not None), None)


def _curves(stages: Sequence[dict[str, Any]], folder: Path) -> list[Figure]:
    names = [name for name in stages[-1]["traits"] if all(name in stage["traits"] for stage in stages)]
    traits = {label_of(name): [stage["traits"][name] for stage in stages] for name in names}
    figures = draw_stages(
        folder, stages, "traits-r_cv", "Traits predicted from other species", "Pearson r",
        "Correlation of each trait with its prediction from other species; dashed: 97.5 % quantile of "
        "shuffled traits.",
        {label: [row["r_cv"] for row in rows] for label, rows in traits.items()},
        {label: [row["r_cv_null"][1] for row in rows] for label, rows in traits.items()},
    )  # fmt: skip
    figures += draw_stages(
        folder, stages, "traits-r", "Traits on a principal component", "|Pearson r|",
        "Greatest correlation of each trait with one of the first principal components of the species means.",
        {label: [row["r"] for row in rows] for label, rows in traits.items()}, {},
    )  # fmt: skip
    trees = [stage["tree"] for stage in stages]
    if any(tree is None for tree in trees):
        return figures
    figures += draw_stages(
        folder, stages, "tree", "Agreement with the tree of life", "cophenetic r",
        "Correlation of the cosine distances of species means with the ranks up to the lowest common "
        "ancestor.",
        {"distances": [tree["cophenetic"] for tree in trees]}, {},
    )  # fmt: skip
    ranks = [rank for rank in trees[-1]["ranks"] if all(rank in tree["ranks"] for tree in trees)]
    figures += draw_stages(
        folder, stages, "neighbors", "Nearest species of the same taxon", "share of species",
        "Share of species whose nearest species is of the same taxon, by rank; dashed: with names shuffled.",
        {rank: [tree["ranks"][rank]["nearest_neighbor"] for tree in trees] for rank in ranks},
        {rank: [tree["ranks"][rank]["nearest_neighbor_null"] for tree in trees] for rank in ranks},
        percent=True,
    )  # fmt: skip
    return figures
