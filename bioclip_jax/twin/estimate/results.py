"""The output of `twin estimate`: estimates.json, a CSV of each table, and the figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.files import Reads, json_text, written_together
from bioclip_jax.plots import write_csv

from .figures import draw_activity, draw_map, draw_occupancy
from .survey import Survey

if TYPE_CHECKING:
    import polars as pl

# Intervals of a species that have columns in species.csv.
_INTERVALS = (
    "occupancy",
    "detection_per_visit",
    "relative_abundance_per_100_days",
    "group_size",
    "density_per_km2",
)
_FILES = {
    "estimates.json", "species.csv", "activity.csv", "overlap.csv", "classifier.csv", "sites.csv",
    "occupancy.png", "activity.png", "map.png",
}  # fmt: skip
_HOURS = tuple(f"hour_{hour:02d}" for hour in range(24))


def write_results(
    output: Path, result: Mapping[str, Any], survey: Survey, sites: pl.DataFrame, reads: Reads
) -> None:
    """Write all files into the folder `output`, or none; delete those of an earlier run.

    result: as estimate returns it. sites: public labels and positions of the package's deployments with
    effort, by public_deployments, in the order of survey.deployments.
    """
    species, public = result["species"], public_sites(result, survey, sites)
    with written_together(output, reads) as folder:
        (folder / "estimates.json").write_text(json_text(dict(result), indent=2) + "\n", encoding="utf-8")
        rows = list(_species_rows(species))
        write_csv(folder / "species.csv", list(rows[0]), (row.values() for row in rows))
        write_csv(folder / "activity.csv", ["species", *_HOURS], _hours(species))
        _write(folder / "overlap.csv", result["overlap"])
        _write(folder / "classifier.csv", result["classifier"]["classes"])
        _write(folder / "sites.csv", public)
        draw_occupancy(result, folder / "occupancy.png")
        if any(values["activity"]["solar_hour"] is not None for values in species.values()):
            draw_activity(result, folder / "activity.png")
        draw_map(public, folder / "map.png")
        written = {path.name for path in folder.iterdir()}
    # An earlier run, maybe with --precise, may have left a file that this one has no reason to write.
    for name in _FILES - written:
        (output / name).unlink(missing_ok=True)


def estimates_table(result: Mapping[str, Any]) -> str:
    """Return the estimates as a table for a terminal: occupancy, relative abundance and density."""
    rows = [("species", "occupancy", "naive", "events/100 days", "naive", "per km²")]
    for name, values in result["species"].items():
        abundance = values["relative_abundance_per_100_days"]
        rows.append(
            (
                name,
                _shown(values["occupancy"]),
                f"{values['naive_occupancy']:.2f}",
                _shown(abundance),
                f"{abundance['naive']:.3g}",
                _shown(values["density_per_km2"]),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join(lines)


def _shown(interval: Mapping[str, float] | None) -> str:
    if interval is None:
        return "-"
    mean, lower, upper = (f"{interval[limit]:.3g}" for limit in ("mean", "lower", "upper"))
    return f"{mean} ({lower} to {upper})"


def public_sites(result: Mapping[str, Any], survey: Survey, sites: pl.DataFrame) -> list[dict[str, Any]]:
    """Return a row per site, by public number: label, position, effort, and events by species."""
    species = list(result["species"])
    counts = survey.counts(species)
    rows = sites.with_columns(index=survey.deployments["site"]).unique("index", keep="first").sort("number")
    return [
        {
            "site": row["site"],
            "latitude": row["latitude"],
            "longitude": row["longitude"],
            "uncertainty_m": row["uncertainty_m"],
            "effort_days": float(survey.site_effort[row["index"]]),
            "events": {name: int(count) for name, count in zip(species, counts[row["index"]])},
        }
        for row in rows.iter_rows(named=True)
    ]


def _species_rows(species: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for name, values in species.items():
        row: dict[str, Any] = {"species": name, **{f"events_{k}": v for k, v in values["events"].items()}}
        row["naive_occupancy"] = values["naive_occupancy"]
        for key in _INTERVALS:
            row |= _columns(key, values[key])
        row["naive_relative_abundance_per_100_days"] = values["relative_abundance_per_100_days"]["naive"]
        row |= _columns("share_active", values["activity"]["share_active"])
        row["false_positive_per_visit"] = values["false_positive_per_visit"]
        yield row


def _columns(name: str, interval: Mapping[str, float] | None) -> dict[str, float | None]:
    """Return the columns of an interval: NAME, NAME_lower, NAME_upper; empty where there is none."""
    limits = interval or {}
    return {
        name: limits.get("mean"),
        f"{name}_lower": limits.get("lower"),
        f"{name}_upper": limits.get("upper"),
    }


def _hours(species: Mapping[str, Mapping[str, Any]]) -> Iterator[Sequence[Any]]:
    for name, values in species.items():
        if (hours := values["activity"]["solar_hour"]) is not None:
            yield [name, *hours]


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table, of which a dictionary in a cell becomes columns; nothing without a row."""
    flat = [dict(_cells(row)) for row in rows]
    if flat:
        write_csv(path, list(flat[0]), (row.values() for row in flat))


def _cells(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}: {key}", inner) for key, inner in value.items())
        else:
            yield name, value
