"""The parts of the report of `analyze within`: stages, separability, orthogonality, and each factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .report import (
    Figure,
    Part,
    Table,
    decimal,
    draw_figure,
    draw_stages,
    file_stems,
    percent,
    percent_range,
)

if TYPE_CHECKING:
    from bioclip_jax.analyze.figures import Panel

    from .orthogonality import Curve

_LISTED = 30

# Result of analyze_within for one factor.
_Result = Mapping[str, Any]


def draw_parts(
    result: dict[str, Any],
    folder: Path,
    panels: Mapping[str, Sequence[Panel]],
    curves: Mapping[str, Curve],
) -> list[Part]:
    """Draw the figures into `folder` and return the parts. result: as analyze_within returns it."""
    from bioclip_jax.analyze.figures import draw_orthogonality, draw_panels, draw_separability

    factors = result["factors"]
    parts = []
    if len(result["stages"]) > 1:
        text = "Each measure at each stage, and its value for labels shuffled within species."
        parts.append(Part("Over stages", [text], _curves(result["stages"], folder)))
    figure = draw_figure(
        folder, "separability", "Separability compared with chance",
        "Share of held-out images whose value is classified correctly by linear discriminant analysis, "
        "after subtracting their species' mean: dot and 95 % interval. Gray bar: labels shuffled within "
        "species, from the mean to the 95 % quantile. Stroke: always predicting the most frequent value.",
        draw_separability, factors, title="Held-out accuracy of each factor's values",
    )  # fmt: skip
    text = _separability_text(factors)
    parts.append(Part("Separability", [text], [figure], [_separability_table(factors)]))
    figure = draw_figure(
        folder, "orthogonality", "Orthogonality to the species subspace",
        "Squared share of the direction between a factor's values that is outside the first k principal "
        "components of the species means. Bands hold 95 % of random directions and of labels shuffled "
        "within species: with k near the number of dimensions little of any direction is outside, so the "
        "share is meaningful only compared with them. Dotted: estimated from split halves, free of the "
        "noise of few images.",
        draw_orthogonality, curves, next(iter(factors.values()))["k"],
        title="Share of a factor's direction outside the species subspace",
    )  # fmt: skip
    text = _orthogonality_text(factors)
    parts.append(Part("Orthogonality", [text], [figure], [_orthogonality_table(factors)]))
    for name, stem in file_stems(panels, "factor").items():
        figure = draw_figure(
            folder, f"factor-{stem}", f"{name} within species",
            "Held-out images, minus their species' mean, along the discriminant direction of the training "
            "images; dashed: mean of each value. Pictures: the outermost images at either end.",
            draw_panels, panels[name], title=f"{name} within species",
        )  # fmt: skip
        parts.append(Part(name, [_images_text(factors[name])], [figure], _species_tables(factors[name])))
    return parts


def _curves(stages: Sequence[dict[str, Any]], folder: Path) -> list[Figure]:
    figures = []
    for key, title, label, is_share in (
        ("separability", "Separability over stages", "held-out images classified correctly", True),
        ("orthogonality", "Orthogonality over stages", "share outside the species' subspace", True),
        ("fisher_ratio", "Fisher ratio over stages", "(difference of means)² / variances", False),
    ):
        series, nulls = {}, {}
        for name in stages[0]["factors"]:
            results = [stage["factors"][name] for stage in stages]
            if all(result[key] is not None for result in results):
                series[name] = [result[key] for result in results]
                chance = [_chance(key, result) for result in results]
                if chance[0] is not None:
                    nulls[name] = chance
        caption = f"{title}, by factor" + ("; dashed: labels shuffled within species." if nulls else ".")
        figures += draw_stages(folder, stages, key, title, label, caption, series, nulls, is_share)
    return figures


def _chance(key: str, result: _Result) -> float | None:
    """Mean of a measure for shuffled labels, None where it was not computed."""
    if key == "orthogonality":
        return result["orthogonality_permuted_mean"]
    null = result["separability_null"] if key == "separability" else None
    return None if null is None else null["mean"]


def _separability_text(factors: Mapping[str, _Result]) -> str:
    clear = [name for name, result in factors.items() if (result["separability_p"] or 1) <= 0.05]
    if not clear:
        return "No factor is classified better than labels shuffled within species (p > 0.05)."
    return f"Classified better than labels shuffled within species (p ≤ 0.05): {', '.join(clear)}."


def _orthogonality_text(factors: Mapping[str, _Result]) -> str:
    first = next(iter(factors.values()))
    more, less, equal = [], [], []
    for name, result in factors.items():
        if result["orthogonality_permuted_range"] is not None:
            low, high = result["orthogonality_permuted_range"]
            share = result["orthogonality"]
            (more if share > high else less if share < low else equal).append(name)
    groups = (
        ("Higher than for 95 % of shuffled labels", more),
        ("Lower than for these", less),
        ("Within their range", equal),
    )
    return (
        f"The species subspace has {first['k']} of {first['dimensions']} dimensions, so "
        f"{percent(first['orthogonality_null_mean'])} of a random direction's square is outside."
        + "".join(f" {words}: {', '.join(names)}." for words, names in groups if names)
    )


def _images_text(result: _Result) -> str:
    skipped = result["left_out"]
    levels = ", ".join(f"{level} ({count:,})" for level, count in list(result["levels"].items())[:_LISTED])
    if len(result["levels"]) > _LISTED:
        levels += f" and {len(result['levels']) - _LISTED} more"
    reasons = []
    if skipped["unknown"]:
        reasons.append(f"{skipped['unknown']:,} images without species or value")
    if skipped["species_of_one_value"]:
        reasons.append(
            f"{skipped['species_of_one_value']:,} species without two comparable values "
            f"({skipped['images_of_species_of_one_value']:,} images)"
        )
    if skipped["rare_values"]:
        reasons.append(f"rare values: {', '.join(list(skipped['rare_values'])[:_LISTED])}")
    text = f"{result['images']:,} images of {result['species']:,} species: {levels}."
    return text + (f" Skipped: {'; '.join(reasons)}." if reasons else "")


def _separability_table(factors: Mapping[str, _Result]) -> Table:
    head = (
        "factor", "images", "separability", "95 % interval", "balanced", "most frequent", "shuffled", "p",
        "AUC", "Fisher",
    )  # fmt: skip
    rows = [
        [
            name, f"{result['images']:,}", percent(result["separability"]), percent_range(result["interval"]),
            percent(result["balanced_accuracy"]), percent(result["majority"]),
            percent(_chance("separability", result)), decimal(result["separability_p"], 3),
            decimal(result["auc"], 3), decimal(result["fisher_ratio"], 2),
        ]
        for name, result in factors.items()
    ]  # fmt: skip
    return Table("Separability within species", head, rows, range(1, len(head)))


def _orthogonality_table(factors: Mapping[str, _Result]) -> Table:
    head = ("factor", "orthogonality", "split halves", "k", "random", "95 % range", "shuffled", "95 % range")
    rows = [
        [
            name, percent(result["orthogonality"]), percent(result["orthogonality_split_half"]),
            str(result["k"]), percent(result["orthogonality_null_mean"]),
            percent_range(result["orthogonality_null_range"]), percent(result["orthogonality_permuted_mean"]),
            percent_range(result["orthogonality_permuted_range"]),
        ]
        for name, result in factors.items()
    ]  # fmt: skip
    return Table("Orthogonality to the species subspace", head, rows, range(1, len(head)))


def _species_tables(result: _Result) -> list[Table]:
    by_species = result.get("by_species")
    if not by_species:
        return []
    best = sorted(by_species.items(), key=lambda item: -item[1]["separability"])[:_LISTED]
    head = ("species", "values", "separability", "most frequent", "shuffled", "Fisher")
    rows = [
        [
            name, str(len(row["levels"])), percent(row["separability"]), percent(row["majority"]),
            percent(row["null_mean"]), decimal(row["fisher_ratio"], 2),
        ]
        for name, row in best
    ]  # fmt: skip
    best_of = f", the {_LISTED} best of {len(by_species)}" if len(by_species) > _LISTED else ""
    return [Table(f"By species{best_of}", head, rows, range(1, len(head)))]
