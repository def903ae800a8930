"""What the report of `analyze between` says and shows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from .page import Figure, Part, Table
from .trait_values import Traits, label_of
from .traits import TraitAxis, image_places
from .tree_report import drawn, p_value, tree_part

if TYPE_CHECKING:
    from .embeddings import Embeddings
    from .species import Species

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
            Part(
                "Over stages",
                ["The same measures at each stage."],
                _stage_curves(result["stages"], folder),
                [],
            )
        )
    for name, stem in _stems(list(axes)).items():
        parts.append(
            _trait_part(name, stem, axes[name], result["traits"][name], folder, embeddings, species, known)
        )
    if result["left_out"]:
        rows = [[name, problem] for name, problem in result["left_out"].items()]
        parts.append(Part("Traits left out", [], [], [Table("", ["trait", "why"], rows, [])]))
    if result["tree"] is not None:
        parts.append(tree_part(result["tree"], folder, species))
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
    from bioclip_jax.analyze.figures import MOST_PICTURES, LineUp, draw_components, draw_lineup, spread

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
        f"{short}: held-out species r = {axis.r_cv:.2f} (p = {p_value(axis.p_cv)}),"
        f" PC{axis.component} |r| = {axis.r:.2f} (p = {p_value(axis.p)})"
    )
    of_component = (
        f"{short} on the principal components: PC{axis.component} r = {axis.r_signed:.2f} (p = "
        f"{p_value(axis.p)})"
    )
    low, high = axis.r_cv_null
    text = (
        f"{len(names):,} species with a value, {len(rows):,} images."
        f" The {_ordinal(axis.component)} of the first {len(axis.components)} principal components of the "
        f"species means"
        f" correlates with {short} at |r| = {axis.r:.3f}; a share p = {p_value(axis.p)} of shuffles reaches "
        f"as much."
        f" Predicted from the other species, r = {axis.r_cv:.3f} (p = {p_value(axis.p_cv)}; shuffled, 95 % "
        f"lie from"
        f" {low:.2f} to {high:.2f}: predictions without skill correlate negatively)."
    )
    figures = [
        drawn(
            f"Species along {short}",
            "Species means (large dots) and their images (small) along the direction of ridge regression on " "all these"
            " species; that they lie along the line is in part the fit, the held-out r in the title is not."
            + (" Pictures: the image nearest to its species' mean." if pictures else ""),
            folder, f"trait-{stem}", lambda png, csv: draw_lineup(lineup, png, csv, held_out),
        ),
        drawn(
            f"Principal components and {short}",
            f"Species means on their principal components, which know nothing of the trait, colored by " f"{short}.",
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
    from .pictures import thumbnail

    rows = rows[:_CANDIDATES]
    nearest = np.argsort(-(embeddings.vectors[rows] @ mean.astype(np.float32)), kind="stable")
    for row in rows[nearest[:3]]:
        content = embeddings.picture(int(row))
        picture = None if content is None else thumbnail(content)
        if picture is not None:
            return picture
    return None


def _stage_curves(stages: Sequence[dict[str, Any]], folder: Path) -> list[Figure]:
    from bioclip_jax.analyze.figures import plot_curves

    along = [(stage["name"], stage["position"]) for stage in stages]
    found = []

    def add(
        stem: str, title: str, label: str, note: str, series: _Series, nulls: _Series, percent: bool = False
    ) -> None:
        if series:
            png, csv = folder / f"stages-{stem}.png", folder / f"stages-{stem}.csv"
            plot_curves(
                png, csv, along, series, title=title, ylabel=label, nulls=nulls or None, percent=percent
            )
            found.append(Figure(title, note, png, csv))

    names = [name for name in stages[-1]["traits"] if all(name in stage["traits"] for stage in stages)]
    traits = {label_of(name): [stage["traits"][name] for stage in stages] for name in names}
    series = {label: [figured["r_cv"] for figured in row] for label, row in traits.items()}
    nulls = {label: [figured["r_cv_null"][1] for figured in row] for label, row in traits.items()}
    note = (
        "Correlation of each trait with its prediction from other species; dashed: 97.5 % of shuffled "
        "traits lie below."
    )
    add("traits-r_cv", "Traits predicted from other species", "Pearson r", note, series, nulls)
    series = {label: [figured["r"] for figured in row] for label, row in traits.items()}
    note = (
        "The largest correlation of each trait with one of the first principal components of the species "
        "means."
    )
    add("traits-r", "Traits on a principal component", "|Pearson r|", note, series, {})
    trees = [stage["tree"] for stage in stages]
    if all(tree is not None for tree in trees):
        cophenetic = {"distances": [tree["cophenetic"] for tree in trees]}
        note = (
            "Correlation of the cosine distances of species means with the ranks up to their common ancestor."
        )
        add("tree", "Agreement with the tree of life", "cophenetic r", note, cophenetic, {})
        ranks = [rank for rank in trees[-1]["ranks"] if all(rank in tree["ranks"] for tree in trees)]
        series = {rank: [tree["ranks"][rank]["nearest_neighbor"] for tree in trees] for rank in ranks}
        nulls = {rank: [tree["ranks"][rank]["nearest_neighbor_null"] for tree in trees] for rank in ranks}
        note = (
            "Share of species whose nearest species is of the same taxon, by rank; dashed: with names "
            "shuffled."
        )
        add(
            "neighbors",
            "Nearest species of the same taxon",
            "share of species",
            note,
            series,
            nulls,
            percent=True,
        )
    return found


def _ordinal(number: int) -> str:
    return ("first", "second", "third", "fourth", "fifth")[number - 1]


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
