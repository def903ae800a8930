"""Merge the corrections of several reviewers or computers (`review`)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError, listing
from bioclip_jax.files import atomic_write, check_outputs
from bioclip_jax.intervals import wilson_interval

from .agreement import measure_agreement
from .apply import apply_corrections
from .complete import complete_ranks
from .corrections import (
    CONFIRMED,
    CORRECTED,
    REJECTED,
    STATUSES,
    Correction,
    corrections_csv,
    latest,
    read_corrections,
)
from .relink import relink_photographs

_MOST_LISTED = 5


def merge_corrections(
    tables: Sequence[str | os.PathLike[str]],
    output: Path | None = None,
    *,
    predictions: str | os.PathLike[str] | None = None,
    model: str | None = None,
    images: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Merge tables of corrections, of each photograph the last one, and write them, or the final names.

    output: the merged table; with `predictions`, a table that `predict` wrote, one row for each of its
    photographs, as apply_corrections; its suffix is a format of `predict`. model: fills in the ranks of typed
    names from its taxa. images: folder in which the photographs are, as relink_photographs.

    Returns {"photographs", "confirmed", "corrected", "rejected", "conflicts" (photographs with different
    corrections), "right": {"share", "interval"} of the best predictions among the reviewed, "agreement": of
    each pair of tables, "unknown_names", "missing", "unused", "verified", "output"}.
    Raises UserError for an unreadable table.
    """
    from bioclip_jax.predict.results import check_format, write_rows

    given = [os.fspath(table) for table in tables]
    if repeated := [name for name, count in Counter(map(os.path.realpath, given)).items() if count > 1]:
        raise UserError(f"{repeated[0]} is given twice; give each reviewer's table once")
    if images is not None and predictions is not None:
        raise UserError("--images sets paths of merged corrections; give it without --predictions")
    format = None
    if output is not None:
        check_outputs({"--output": output}, {"a table of corrections": given, "--predictions": predictions})
        if predictions is not None:
            format = check_format(None, output)
        elif output.suffix.lower() != ".csv":
            raise UserError(f"the corrections {output} are a CSV; end its name in .csv")
    read = {name: read_corrections(name) for name in given}
    merged, conflicts = latest(correction for rows in read.values() for correction in rows)
    result = _counts(merged) | {"conflicts": conflicts}
    result["agreement"] = [
        one._asdict() for one in measure_agreement({name: latest(rows)[0] for name, rows in read.items()})
    ]
    if model is not None:
        from bioclip_jax.predict.taxa import open_names

        merged, unknown = complete_ranks(merged, open_names(model))
        result["unknown_names"] = unknown
    if predictions is not None:
        rows, unused = apply_corrections(predictions, merged)
        result |= {
            "unused": len(unused),
            "verified": sum(bool(row["verified"]) for row in rows),
            "rows": len(rows),
        }
        if unused and len(unused) == len(merged):
            raise UserError(
                f"none of the corrections is of a photograph of {predictions} "
                f"({listing([one.filepath for one in unused], 1)}); give the table that came with the report"
            )
    if images is not None:
        merged, missing = relink_photographs(merged, images)
        result["missing"] = missing
    if output is not None:
        if predictions is not None:
            write_rows(rows, format, output)
        else:
            with atomic_write(output) as partial:
                partial.write_bytes(corrections_csv(merged))
        result["output"] = str(output)
    return result


def _counts(corrections: Sequence[Correction]) -> dict[str, Any]:
    counts = Counter(correction.status for correction in corrections)
    judged = [one for one in corrections if one.predicted]
    right = sum(one.status == CONFIRMED for one in judged)
    share = (
        {"share": right / len(judged), "interval": wilson_interval(right, len(judged))} if judged else None
    )
    return (
        {"photographs": len(corrections)} | {status: counts[status] for status in STATUSES} | {"right": share}
    )


def describe_review(result: dict[str, Any]) -> list[str]:
    """Return lines about a result of merge_corrections, for people."""
    lines = [
        f"{result['photographs']:,} photographs: {result[CONFIRMED]:,} confirmed, {result[CORRECTED]:,} "
        f"corrected, {result[REJECTED]:,} with none of the predictions"
    ]
    if result["right"]:
        low, high = result["right"]["interval"]
        share = 100 * result["right"]["share"]
        lines.append(
            f"the best prediction is right for {share:.1f} % of them (95 % interval "
            f"{100 * low:.1f} to {100 * high:.1f} %); of all photographs only if they were reviewed at "
            "random or completely"
        )
    if result["conflicts"]:
        lines.append(f"{result['conflicts']:,} photographs have different corrections; the last one counts")
    for one in result["agreement"]:
        names = " and ".join(one["reviewers"])
        if not one["photographs"]:
            lines.append(f"{names} have no photograph in common")
            continue
        low, high = one["interval"]
        text = (
            f"{names} agree on {one['same']:,} of {one['photographs']:,} photographs "
            f"({100 * one['same'] / one['photographs']:.1f} %, {100 * low:.1f} to {100 * high:.1f} %)"
        )
        if one["kappa"] is not None:
            low, high = one["kappa_interval"]
            text += f"; Cohen's kappa {one['kappa']:.2f} ({low:.2f} to {high:.2f})"
        lines.append(text)
    if unknown := result.get("unknown_names"):
        lines.append(
            f"{len(unknown):,} names are not of one taxon of the model, and have no ranks: "
            f"{listing(unknown, _MOST_LISTED)}"
        )
    if missing := result.get("missing"):
        lines.append(f"{len(missing):,} photographs are not in the folder: {listing(missing, _MOST_LISTED)}")
    if result.get("unused"):
        lines.append(f"{result['unused']:,} corrections are of photographs that the predictions lack")
    if "rows" in result:
        lines.append(f"{result['verified']:,} of the {result['rows']:,} rows are verified")
    return lines
