"""The verb `analyze between`: correlation of species embeddings with traits and with the taxonomy."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import UserError
from bioclip_jax.files import Reads
from bioclip_jax.predict import track

from .between_report import draw_parts
from .embeddings import Species
from .report import check_arguments, write_report
from .trait_values import Traits, read_traits
from .traits import TraitAxis, project_images, trait_axis
from .tree_agreement import tree_agreement

if TYPE_CHECKING:
    from .checkpoint_series import Stage
    from .embeddings import Embeddings

_MOST_WORKERS = 4


def analyze_between(
    stages: Sequence[Stage],
    output: Path,
    *,
    species_column: str | None = None,
    traits: Path | None = None,
    trait_names: Sequence[str] = (),
    permutations: int = 9_999,
    seed: int = 0,
    reads: Reads | None = None,
) -> dict[str, Any]:
    """Correlate species means with traits (as read_traits) and the taxonomy at each stage; write a report.

    Files in `output`, created if missing: results.json, report.html, and a PNG and a CSV of each figure.

    Returns the JSON: "traits", by name {"r", "p", ...} as trait_axis, with "r_direction" (|Pearson| of the
      images' projections on the direction with their values, in-sample), "species", "images" and
      "species_left_out" (without a value); "left_out", the reason of each trait that cannot be measured;
      "unmatched" names of the table; "tree", as tree_agreement, None where ranks are unknown; "species" and
      "images". All are those of the last stage. "stages": [{"name", "position", and the same keys}].
    Errors: UserError for a wrong argument, an unusable table, and if neither a trait nor the tree can be
      measured; then nothing is written.
    """
    from threadpoolctl import threadpool_limits

    output = Path(output)
    check_arguments(stages, output, permutations, fewest=1)
    results: list[dict[str, Any]] = []
    for stage in track(stages, "between species", len(stages)):
        species = Species.of(stage.embeddings, species_column)
        known_traits = read_traits(
            stage.embeddings, species.names, species.groups,
            species_column=species_column, table=traits, names=trait_names,
        )  # fmt: skip
        # BLAS threads slow down products of a few hundred rows.
        with threadpool_limits(1):
            axes, left_out = _axes(known_traits, species, permutations, seed)
            tree = tree_agreement(species.means, species.taxa, permutations=min(permutations, 999), seed=seed)
        if not axes and (left_out or tree is None):
            source = stage.embeddings.source
            if left_out:
                name, problem = next(iter(left_out.items()))
                raise UserError(f"the trait {name} of {source} cannot be measured: {problem}")
            raise UserError(f"{source} has no ranks that distinguish its species; give traits or ranks")
        measured = {
            name: _trait_result(axis, known_traits, name, species, stage.embeddings)
            for name, axis in axes.items()
        }
        results.append(
            {
                "name": stage.name,
                "position": stage.position,
                "traits": measured,
                "left_out": left_out,
                "unmatched": {
                    "number": known_traits.unmatched_number,
                    "first": dict(known_traits.unmatched),
                },
                "tree": tree,
                "species": len(species.names),
                "images": int((species.groups >= 0).sum()),
            }
        )
    _report_skipped(results[-1])
    last = {key: value for key, value in results[-1].items() if key not in ("name", "position")}
    result = {**last, "stages": results}
    facts = [
        ("images", f"{result['images']:,}"),
        ("species", f"{result['species']:,}"),
        (
            "shuffles",
            f"{permutations:,} of the traits, {min(permutations, 999):,} of held-out predictions and the "
            "tree",
        ),
    ]
    write_report(
        output, "Between species", stages, facts, result,
        lambda folder: draw_parts(result, folder, stages[-1].embeddings, species, known_traits, axes), reads,
    )  # fmt: skip
    return result


def _axes(
    traits: Traits, species: Species, permutations: int, seed: int
) -> tuple[dict[str, TraitAxis], dict[str, str]]:
    """Measure traits in parallel; return the axes, and the reason for each trait that has none."""

    def measure(values: Float[np.ndarray, " species"]) -> TraitAxis | str:
        has = np.isfinite(values)
        try:
            return trait_axis(
                species.means[has], values[has], permutations=permutations,
                cv_permutations=min(permutations, 999), seed=seed,
            )  # fmt: skip
        except UserError as problem:
            return str(problem)

    workers = max(1, min(_MOST_WORKERS, len(os.sched_getaffinity(0)), len(traits.values)))
    with ThreadPoolExecutor(workers) as pool:
        results = dict(zip(traits.values, pool.map(measure, traits.values.values())))
    axes = {name: axis for name, axis in results.items() if isinstance(axis, TraitAxis)}
    return axes, {name: problem for name, problem in results.items() if isinstance(problem, str)}


def _trait_result(
    axis: TraitAxis, traits: Traits, name: str, species: Species, embeddings: Embeddings
) -> dict[str, Any]:
    rows, positions, values = project_images(axis, traits, name, species, embeddings)
    has = np.isfinite(values)
    return {
        "r": axis.r,
        "p": axis.p,
        "r_signed": axis.r_signed,
        "component": axis.component,
        "components": list(axis.components),
        "r_cv": axis.r_cv,
        "p_cv": axis.p_cv,
        "r_cv_null": list(axis.r_cv_null),
        "r_direction": abs(float(np.corrcoef(positions[has], values[has])[0, 1])),
        "species": len(axis.fitted),
        "species_left_out": len(species.names) - len(axis.fitted),
        "images": len(rows),
    }


def _report_skipped(result: dict[str, Any]) -> None:
    for name, problem in result["left_out"].items():
        print(f"skipped the trait {name}: {problem}", file=sys.stderr)
    if number := result["unmatched"]["number"]:
        names = [
            f"{name} (did you mean {near}?)" if near else name
            for name, near in result["unmatched"]["first"].items()
        ]
        listed = ", ".join(names[:5]) + ", …" * (number > 5)
        print(f"{number:,} rows of traits have no images: {listed}", file=sys.stderr)
