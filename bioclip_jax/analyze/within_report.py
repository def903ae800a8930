"""What the report of `analyze within` says and shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .page import Figure, Part, Table

if TYPE_CHECKING:
    from bioclip_jax.analyze.figures import Panel

    from .orthogonality import Curve

_LISTED = 30


def parts_of(
    result: dict[str, Any], folder: Path, panels: dict[str, list[Panel]], curves: dict[str, Curve]
) -> list[Part]:
    """The report's parts; their figures are drawn into `folder`. `result`: as `within` returns it."""
    from bioclip_jax.analyze.figures import draw_orthogonality, draw_panels, draw_separability

    last = result["factors"]

    def figure(title: str, caption: str, stem: str, draw: Callable[[Path, Path], None]) -> Figure:
        png, csv = folder / f"{stem}.png", folder / f"{stem}.csv"
        draw(png, csv)
        return Figure(title, caption, png, csv)

    separable = figure(
        "Separability beside chance",
        "Share of held-out images whose value linear discriminant analysis names, after their species' mean "
        "is taken"
        " off: dot and 95 % interval. Grey bar: the same for labels shuffled within species, from the mean "
        "to the 95 %"
        " quantile. Stroke: always answering the commonest value.",
        "separability",
        lambda png, csv: draw_separability(
            last, png, csv, "How often a held-out image's value is named right"
        ),
    )
    size = next(iter(last.values()))["k"]
    orthogonal = figure(
        "Orthogonality against the species' subspace",
        "Squared share of the direction between a factor's values that lies outside the first k principal "
        "components"
        " of the species' means. Bands hold 95 % of directions at random and of labels shuffled within "
        "species: with k"
        " near the number of dimensions little of any direction is outside, so the figure means something "
        "only beside"
        " them. Dotted: from split halves, where the noise of few images has no part.",
        "orthogonality",
        lambda png, csv: draw_orthogonality(
            curves, size, png, csv, "How much of a factor's direction lies outside the species' subspace"
        ),
    )
    parts = [
        Part("Separability", [_separability_text(last)], [separable], [_separability_table(last)]),
        Part("Orthogonality", [_orthogonality_text(last)], [orthogonal], [_orthogonality_table(last)]),
    ]
    if len(result["stages"]) > 1:
        parts.insert(0, Part("Over stages", [_STAGES_TEXT], _stage_curves(result["stages"], folder), []))
    stems = _stems(panels)
    for name, row in panels.items():
        pulled = figure(
            f"{name} within species",
            "Held-out images along the discriminant direction of the others, their species' mean taken off; "
            "dashed:"
            " mean of each value. Pictures: the farthest images at either end.",
            stems[name],
            lambda png, csv, row=row, name=name: draw_panels(row, png, csv, f"{name} within species"),
        )
        parts.append(Part(name, [_left_out_text(last[name])], [pulled], _species_tables(last[name])))
    return parts


_STAGES_TEXT = "Each measure at each stage, and what labels shuffled within species give there."


def _stage_curves(stages: Sequence[dict[str, Any]], folder: Path) -> list[Figure]:
    from bioclip_jax.analyze.figures import plot_curves

    along = [(stage["name"], stage["position"]) for stage in stages]
    found = []
    for key, title, label, chance, percent in (
        (
            "separability",
            "Separability over stages",
            "held-out images named right",
            "separability_null",
            True,
        ),
        (
            "orthogonality",
            "Orthogonality over stages",
            "share outside the species' subspace",
            "permuted",
            True,
        ),
        ("fisher_ratio", "Fisher ratio over stages", "(difference of means)² / variances", None, False),
    ):
        series, nulls = {}, {}
        for name in stages[0]["factors"]:
            values = [stage["factors"][name] for stage in stages]
            if any(value[key] is None for value in values):
                continue
            series[name] = [value[key] for value in values]
            if chance == "permuted" and values[0]["orthogonality_permuted_mean"] is not None:
                nulls[name] = [value["orthogonality_permuted_mean"] for value in values]
            elif chance == "separability_null" and values[0][chance] is not None:
                nulls[name] = [value[chance]["mean"] for value in values]
        if series:
            png, csv = folder / f"stages-{_plain(key)}.png", folder / f"stages-{_plain(key)}.csv"
            plot_curves(
                png, csv, along, series, title=title, ylabel=label, nulls=nulls or None, percent=percent
            )
            caption = f"{title}, by factor" + ("; dashed: labels shuffled within species." if nulls else ".")
            found.append(Figure(title, caption, png, csv))
    return found


def _separability_text(last: dict[str, Any]) -> str:
    clear = [name for name, figured in last.items() if (figured["separability_p"] or 1) <= 0.05]
    if not clear:
        return "No factor is named right more often than labels shuffled within species would be (p > 0.05)."
    return f"Named right more often than labels shuffled within species (p ≤ 0.05): {', '.join(clear)}."


def _orthogonality_text(last: dict[str, Any]) -> str:
    first = next(iter(last.values()))
    sides: dict[str, list[str]] = {
        "More outside than 95 % of shuffled labels": [],
        "Less outside than those": [],
        "As much as those": [],
    }
    for name, figured in last.items():
        if figured["orthogonality_permuted_range"] is not None:
            low, high = figured["orthogonality_permuted_range"]
            more, less, alike = sides.values()
            share = figured["orthogonality"]
            (more if share > high else less if share < low else alike).append(name)
    return (
        f"The species' subspace has {first['k']} of {first['dimensions']} dimensions, so a random direction "
        f"has"
        f" {_share(first['orthogonality_null_mean'])} of its square outside."
        + "".join(f" {words}: {', '.join(names)}." for words, names in sides.items() if names)
    )


def _left_out_text(figured: dict[str, Any]) -> str:
    out = figured["left_out"]
    levels = ", ".join(f"{level} ({count:,})" for level, count in list(figured["levels"].items())[:_LISTED])
    if len(figured["levels"]) > _LISTED:
        levels += f" and {len(figured['levels']) - _LISTED} more"
    text = f"{figured['images']:,} images of {figured['species']:,} species: {levels}."
    told = [
        (out["unknown"], f"{out['unknown']:,} images without species or value"),
        (out["species_of_one_value"], f"{out['species_of_one_value']:,} species of which no two values can " f"be compared"
         f" ({out['images_of_species_of_one_value']:,} images)"),
        (out["rare_values"], f"rare values: {', '.join(list(out['rare_values'])[:_LISTED])}"),
    ]  # fmt: skip
    told = [line for count, line in told if count]
    return text + (f" Left out: {'; '.join(told)}." if told else "")


def _separability_table(last: dict[str, Any]) -> Table:
    rows = []
    for name, figured in last.items():
        null = figured["separability_null"]
        rows.append(
            [name, f"{figured['images']:,}", _share(figured["separability"]), _range(figured["interval"]),
             _share(figured["balanced_accuracy"]), _share(figured["majority"]), _share(null and null["mean"]),
             _number(figured["separability_p"], 3), _number(figured["auc"], 3), _number(figured["fisher_ratio"], 2)]
        )  # fmt: skip
    head = [
        "factor", "images", "separability", "95 % interval", "balanced", "commonest", "shuffled", "p", "AUC", "Fisher",
    ]  # fmt: skip
    return Table("Separability within species", head, rows, range(1, len(head)))


def _orthogonality_table(last: dict[str, Any]) -> Table:
    rows = [
        [name, _share(figured["orthogonality"]), _share(figured["orthogonality_split_half"]), str(figured["k"]),
         _share(figured["orthogonality_null_mean"]), _range(figured["orthogonality_null_range"]),
         _share(figured["orthogonality_permuted_mean"]), _range(figured["orthogonality_permuted_range"])]
        for name, figured in last.items()
    ]  # fmt: skip
    head = ["factor", "orthogonality", "split halves", "k", "random", "95 % range", "shuffled", "95 % range"]
    return Table("Orthogonality to the species' subspace", head, rows, range(1, len(head)))


def _species_tables(figured: dict[str, Any]) -> list[Table]:
    by_species = figured.get("by_species")
    if not by_species:
        return []
    best = sorted(by_species.items(), key=lambda item: -item[1]["separability"])[:_LISTED]
    rows = [
        [name, str(len(own["levels"])), _share(own["separability"]), _share(own["majority"]), _share(own["null_mean"]),
         _number(own["fisher_ratio"], 2)]
        for name, own in best
    ]  # fmt: skip
    more = f", the {_LISTED} best of {len(by_species)}" if len(by_species) > _LISTED else ""
    head = ["species", "values", "separability", "commonest", "shuffled", "Fisher"]
    return [Table(f"By species{more}", head, rows, range(1, len(head)))]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _range(values: Sequence[float] | None) -> str:
    return "–" if values is None else f"{_share(values[0])} – {_share(values[1])}"


def _stems(names: Iterable[str]) -> dict[str, str]:
    """Of each factor the name of its figure's files, no two the same on any file system."""
    found: dict[str, str] = {}
    for name in names:
        stem, number = f"factor-{_plain(name)}", 2
        while stem.lower() in (other.lower() for other in found.values()):
            stem, number = f"factor-{_plain(name)}-{number}", number + 1
        found[name] = stem
    return found


def _plain(name: str) -> str:
    """The name as a part of a file's name."""
    return re.sub(r"[^\w-]+", "-", name).strip("-") or "factor"
