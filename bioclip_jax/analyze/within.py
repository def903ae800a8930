"""The verb `analyze within`: separability and orthogonality of factors (sex, health, ...) within species."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.files import Reads
from bioclip_jax.predict import track

from .factors import Factor, read_factor
from .orthogonality import SpeciesSpace, orthogonality, species_space
from .report import check_arguments, percent, write_report
from .separability import separability
from .within_report import draw_parts

if TYPE_CHECKING:
    from bioclip_jax.analyze.figures import Panel

    from .checkpoint_series import Stage


def analyze_within(
    stages: Sequence[Stage],
    output: Path,
    *,
    factors: Sequence[str],
    species_column: str | None = None,
    permutations: int = 200,
    seed: int = 0,
    reads: Reads | None = None,
) -> dict[str, Any]:
    """Measure how each factor (a column) varies within species, at each stage, and write a report.

    Files in `output`, created if missing: results.json, report.html, and a PNG and a CSV of each figure.

    Returns the JSON: "factors", by name the results of separability and orthogonality, with "levels" (images
      by value), "images", "species", "nested" and "left_out"; those of a single factor are at the top level
      too. All are of the last stage. "stages": [{"name", "position", "factors"}].
    Errors: UserError for a wrong argument, an unknown column, and a factor for which no species has two
      values; then nothing is written.
    """
    output = Path(output)
    check_arguments(stages, output, permutations, fewest=0)
    if not factors:
        raise UserError("there is no factor to analyze; name a column with --factor")
    twice = next((name for name in factors if list(factors).count(name) > 1), None)
    if twice is not None:
        raise UserError(f"the factor {twice!r} is named twice; name it once")
    results, panels, curves = [], {name: [] for name in factors}, {}
    for stage, name in track(
        [(stage, name) for stage in stages for name in factors],
        "factors within species",
        len(stages) * len(factors),
    ):
        if name == factors[0]:
            vectors, species = stage.embeddings.vectors, stage.embeddings.species(species_column)
            # All factors are checked before the slow part.
            read = {column: read_factor(stage.embeddings, column, species_column) for column in factors}
            space = species_space(vectors, species)
            if len(space.axes) < 1:
                raise UserError(
                    f"{stage.embeddings.source} has a single species; give images of at least two"
                )
            results.append({"name": stage.name, "position": stage.position, "factors": {}})
        factor = read[name]
        separable, held_out = separability(factor, vectors, permutations=permutations, seed=seed)
        orthogonal, curves[name] = orthogonality(factor, vectors, space, permutations=permutations, seed=seed)
        measured = {
            **separable,
            **orthogonal,
            "levels": factor.counts,
            "images": len(factor),
            "species": factor.species,
            "nested": factor.nested,
            "left_out": factor.left_out,
        }
        results[-1]["factors"][name] = measured
        panels[name].append(_panel(stage, factor, held_out, vectors, species, space, measured, seed))
    last = results[-1]["factors"]
    result = {**(last[factors[0]] if len(factors) == 1 else {}), "factors": last, "stages": results}
    facts = [
        ("images", f"{len(stages[-1].embeddings):,}"),
        ("shuffles", f"{permutations:,} within species"),
    ]
    write_report(
        output, "Variation within species", stages, facts, result,
        lambda folder: draw_parts(result, folder, panels, curves), reads,
    )  # fmt: skip
    return result


def _panel(
    stage: Stage,
    factor: Factor,
    held_out: Sequence[Any],
    vectors: np.ndarray,
    species: np.ndarray,
    space: SpeciesSpace,
    measured: dict[str, Any],
    seed: int,
) -> Panel:
    from bioclip_jax.analyze.figures import make_panel

    # Species of a nested factor share no values: the panel shows the one with the most images.
    largest = max(held_out, key=lambda group: len(group.group))
    name = largest.group.name
    shown = measured["by_species"][name] if factor.nested else measured
    note = f"separability {percent(shown['separability'])}, most frequent value {percent(shown['majority'])}"
    if shown["fisher_ratio"] is not None:
        note += f", Fisher {shown['fisher_ratio']:.2f}"
    title = f"{stage.name}: {name}" if factor.nested else stage.name
    return make_panel(title, largest, vectors, species, space, stage.embeddings.thumbnail, note, seed)
