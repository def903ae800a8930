"""The verb `analyze within`: whether sex, life stage, health or cultivar come apart within species, and in which
directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.files import Reads, check_folder, json_text
from bioclip_jax.predict import track

from .factors import Factor, read_factor
from .folder import written_together
from .orthogonality import Curve, SpeciesSpace, orthogonality, species_space
from .separability import separability

if TYPE_CHECKING:
    from bioclip_jax.analyze.figures import Panel

    from .stages import Stage


def analyze_within(
    stages: Sequence[Stage],
    output: Path,
    *,
    factors: Sequence[str],
    species_column: str | None = None,
    permutations: int = 200,
    seed: int = 0,
    reads: Reads = {},
) -> dict[str, Any]:
    """Measure how each factor (a column) varies within species, at each stage, and write what was found.

    Into the folder `output`, made if missing: results.json, report.html, and of each figure a PNG and a CSV.

    Returns the JSON: "factors", for each name what separability.py and orthogonality.py figure out, beside
      "levels" (images by value), "images", "species", "nested" and "left_out"; of a single factor these stand
      at the top too. All are the last stage's. "stages": [{"name", "position", "factors"}].
    Errors: UserError for a wrong argument, an unknown column, and a factor of which no species shows two
      values; then nothing is written.
    """
    output = Path(output)
    _check(stages, output, factors, permutations)
    results, panels, curves = [], {name: [] for name in factors}, {}
    for stage, name in track(
        [(stage, name) for stage in stages for name in factors],
        "factors within species",
        len(stages) * len(factors),
    ):
        if name == factors[0]:
            vectors, species = stage.embeddings.vectors, stage.embeddings.species(species_column)
            # What can be compared is known before anything takes long.
            all_factors = {each: read_factor(stage.embeddings, each, species_column) for each in factors}
            space = species_space(vectors, species)
            if len(space.axes) < 1:
                raise UserError(
                    f"{stage.embeddings.source} has a single species; give images of at least two"
                )
            results.append({"name": stage.name, "position": stage.position, "factors": {}})
        factor = all_factors[name]
        separable, held_out = separability(factor, vectors, permutations=permutations, seed=seed)
        orthogonal, curves[name] = orthogonality(factor, vectors, space, permutations=permutations, seed=seed)
        figured = {**separable, **orthogonal, **_about(factor)}
        results[-1]["factors"][name] = figured
        panels[name].append(_panel(stage, factor, held_out, vectors, species, space, figured, seed))
    last = results[-1]["factors"]
    result = {**(last[factors[0]] if len(factors) == 1 else {}), "factors": last, "stages": results}
    _write(result, output, panels, curves, stages, permutations, reads)
    return result


def _check(stages: Sequence[Stage], output: Path, factors: Sequence[str], permutations: int) -> None:
    if not stages:
        raise UserError("there are no embeddings to analyze; name at least one file or model")
    if not factors:
        raise UserError("there is no factor to look for; name a column with --factor")
    twice = next((name for name in factors if list(factors).count(name) > 1), None)
    if twice is not None:
        raise UserError(f"the factor {twice!r} is named twice; name it once")
    if permutations < 0:
        raise UserError(f"permutations cannot be {permutations}; give 0 or more")
    check_folder(output)


def _about(factor: Factor) -> dict[str, Any]:
    return {
        "levels": factor.counts,
        "images": len(factor),
        "species": factor.species,
        "nested": factor.nested,
        "left_out": factor.left_out,
    }


def _panel(
    stage: Stage,
    factor: Factor,
    held_out: Sequence[Any],
    vectors: np.ndarray,
    species: np.ndarray,
    space: SpeciesSpace,
    figured: dict[str, Any],
    seed: int,
) -> Panel:
    from bioclip_jax.analyze.figures import make_panel

    from .pictures import thumbnail

    def picture(row: int) -> np.ndarray | None:
        content = stage.embeddings.picture(row)
        return None if content is None else thumbnail(content)

    # Species whose values are their own cannot share a picture; the one with the most images stands for them.
    largest = max(held_out, key=lambda found: len(found.group))
    name = largest.group.name
    of_all = figured["by_species"][name] if factor.nested else figured
    note = (
        f"separability {100 * of_all['separability']:.1f} %, commonest value {100 * of_all['majority']:.1f} %"
    )
    if of_all["fisher_ratio"] is not None:
        note += f", Fisher {of_all['fisher_ratio']:.2f}"
    title = f"{stage.name}: {name}" if factor.nested else stage.name
    return make_panel(title, largest, vectors, species, space, picture, note, seed)


def _write(
    result: dict[str, Any],
    output: Path,
    panels: dict[str, list[Panel]],
    curves: dict[str, Curve],
    stages: Sequence[Stage],
    permutations: int,
    reads: Reads,
) -> None:
    from .page import write_page
    from .within_report import parts_of

    about = [
        ("embeddings", ", ".join(dict.fromkeys(stage.embeddings.source for stage in stages))),
        ("images", f"{len(stages[-1].embeddings):,}"),
        ("stages", ", ".join(stage.name for stage in stages)),
        ("shuffles", f"{permutations:,} within species"),
    ]
    with written_together(output, reads) as beside:
        (beside / "results.json").write_text(json_text(result, indent=2) + "\n", encoding="utf-8")
        parts = parts_of(result, beside, panels, curves)
        write_page(beside / "report.html", "Variation within species", about, parts)
