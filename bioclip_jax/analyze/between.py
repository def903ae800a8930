"""The verb `analyze between`: whether species line up by a trait, and whether they lie as in the tree of life."""

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
from bioclip_jax.files import Reads, check_folder, json_text
from bioclip_jax.predict import track

from .folder import written_together
from .species import Species
from .trait_values import Traits, read_traits
from .traits import TraitAxis, image_places, trait_axis
from .tree_agreement import tree_agreement

if TYPE_CHECKING:
    from .embeddings import Embeddings
    from .stages import Stage

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
    reads: Reads = {},
) -> dict[str, Any]:
    """Measure at each stage how species lie by their traits (as read_traits) and by the taxonomy, and write it.

    Into the folder `output`, made if missing: results.json, report.html, and of each figure a PNG and a CSV.

    Returns the JSON: "traits", for each name {"r", "p", ...} as trait_axis, beside "r_direction" (|Pearson|
      of the images' places along the direction with their values, in-sample), "species", "images" and
      "species_left_out" (without a value); "left_out", for each trait that cannot be measured why;
      "unmatched" names of the table; "tree", as tree_agreement, None where ranks are unknown; "species" and
      "images". All are the last stage's.
      "stages": [{"name", "position", and these}].
    Errors: UserError for a wrong argument, a table that does not fit, and where neither a trait nor the tree
      can be measured; then nothing is written.
    """
    from threadpoolctl import threadpool_limits

    output = Path(output)
    _check(stages, output, permutations)
    results: list[dict[str, Any]] = []
    for stage in track(stages, "between species", len(stages)):
        species = Species.of(stage.embeddings, species_column)
        known = read_traits(
            stage.embeddings, species.names, species.groups,
            species_column=species_column, table=traits, names=trait_names,
        )  # fmt: skip
        # Threads that share matrices of some hundred rows wait for each other more than they work.
        with threadpool_limits(1):
            axes, left_out = _axes(known, species, permutations, seed)
            tree = tree_agreement(species.means, species.taxa, permutations=min(permutations, 999), seed=seed)
        if not axes and (left_out or tree is None):
            name, problem = next(iter(left_out.items()), ("", ""))
            raise UserError(
                f"the trait {name} of {stage.embeddings.source} cannot be measured: {problem}" if left_out
                else f"{stage.embeddings.source} has no ranks that tell its species apart; give traits or " f"ranks"
            )  # fmt: skip
        figured = {
            name: _figures(axis, known, name, species, stage.embeddings) for name, axis in axes.items()
        }
        results.append(
            {
                "name": stage.name,
                "position": stage.position,
                "traits": figured,
                "left_out": left_out,
                "unmatched": {"number": known.unmatched_number, "first": dict(known.unmatched)},
                "tree": tree,
                "species": len(species.names),
                "images": int((species.groups >= 0).sum()),
            }  # fmt: skip
        )
    _tell(results[-1])
    last = {key: value for key, value in results[-1].items() if key not in ("name", "position")}
    result = {**last, "stages": results}
    _write(result, output, stages, species, known, axes, permutations, reads)
    return result


def _axes(
    known: Traits, species: Species, permutations: int, seed: int
) -> tuple[dict[str, TraitAxis], dict[str, str]]:
    """The axis of every trait that can be measured, each in a thread, and why another cannot."""

    def measure(values: Float[np.ndarray, " species"]) -> TraitAxis | str:
        has = np.isfinite(values)
        try:
            return trait_axis(
                species.means[has], values[has], permutations=permutations, cv_permutations=min(permutations, 999),
                seed=seed,
            )  # fmt: skip
        except UserError as problem:
            return str(problem)

    workers = max(1, min(_MOST_WORKERS, len(os.sched_getaffinity(0)), len(known.values)))
    with ThreadPoolExecutor(workers) as pool:
        found = dict(zip(known.values, pool.map(measure, known.values.values())))
    axes = {name: axis for name, axis in found.items() if isinstance(axis, TraitAxis)}
    return axes, {name: axis for name, axis in found.items() if isinstance(axis, str)}


def _figures(
    axis: TraitAxis, known: Traits, name: str, species: Species, embeddings: Embeddings
) -> dict[str, Any]:
    rows, places, values = image_places(axis, known, name, species, embeddings)
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
        "r_direction": abs(float(np.corrcoef(places[has], values[has])[0, 1])),
        "species": len(axis.fitted),
        "species_left_out": len(species.names) - len(axis.fitted),
        "images": len(rows),
    }


def _check(stages: Sequence[Stage], output: Path, permutations: int) -> None:
    if not stages:
        raise UserError("there are no embeddings to analyze; name at least one file or model")
    if permutations < 1:
        raise UserError(f"permutations cannot be {permutations}; give 1 or more")
    check_folder(output)


def _tell(result: dict[str, Any]) -> None:
    for name, problem in result["left_out"].items():
        print(f"left out: the trait {name}: {problem}", file=sys.stderr)
    if number := result["unmatched"]["number"]:
        first = [
            f"{name} (did you mean {near}?)" if near else name
            for name, near in result["unmatched"]["first"].items()
        ]
        print(
            f"{number:,} rows of traits have no images: {', '.join(first[:5])}{', …' * (number > 5)}",
            file=sys.stderr,
        )


def _write(
    result: dict[str, Any],
    output: Path,
    stages: Sequence[Stage],
    species: Species,
    known: Traits,
    axes: dict[str, TraitAxis],
    permutations: int,
    reads: Reads,
) -> None:
    from .between_report import parts_of
    from .page import write_page

    about = [
        ("embeddings", ", ".join(dict.fromkeys(stage.embeddings.source for stage in stages))),
        ("images", f"{result['images']:,}"),
        ("species", f"{result['species']:,}"),
        ("stages", ", ".join(stage.name for stage in stages)),
        (
            "shuffles",
            f"{permutations:,} of the traits, {min(permutations, 999):,} of held-out predictions and the tree",
        ),
    ]
    with written_together(output, reads) as beside:
        (beside / "results.json").write_text(json_text(result, indent=2) + "\n", encoding="utf-8")
        parts = parts_of(result, beside, stages[-1].embeddings, species, known, axes)
        write_page(beside / "report.html", "Between species", about, parts)
