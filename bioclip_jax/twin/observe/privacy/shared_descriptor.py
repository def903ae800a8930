"""The descriptor of a shared package, written anew: of the private one only what cannot name a place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bioclip_jax.twin.observe.camtrap_dp import SAMPLING_DESIGNS, new_descriptor, with_all_fields

from .grid import CATEGORIES, positions
from .sensitivity import folded, taxonomic_entries

if TYPE_CHECKING:
    import polars as pl

_TITLE = "Camera-trap observations"
_TAXON = ("taxonID", "taxonRank", "kingdom", "phylum", "class", "order", "family", "genus")
_LICENSE_NAME = re.compile(r"[A-Za-z0-9.+-]{1,40}")
_LICENSE_PATH = re.compile(r"https?://(creativecommons|opendatacommons|spdx)\.org/[\w./+-]*")


def shared_descriptor(
    private: Mapping[str, Any],
    tables: Mapping[str, pl.DataFrame],
    category: int,
    *,
    precise: bool,
    reveals: Callable[[str], bool],
) -> dict[str, Any]:
    """Return a descriptor of Camtrap DP 1.0.2 for the shared tables (by name).

    Kept from the private one: known licenses, the names of rights holders and publishers, the sampling
    design, and the taxonomic entries of species that are shared. reveals: True for a text that must not be
    shared.
    """
    metadata: dict[str, Any] = {
        "title": _TITLE,
        "description": _description(category, precise),
        "contributors": _contributors(private, reveals),
        "project": {"title": _TITLE, "samplingDesign": _sampling_design(private)},
    }
    if licenses := _licenses(private):
        metadata["licenses"] = licenses
    if not precise:
        metadata["coordinatePrecision"] = CATEGORIES[category].degrees
    descriptor = new_descriptor(
        **{name: with_all_fields(table, name) for name, table in tables.items()},
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        metadata=metadata,
        taxa=_taxa(private, tables["observations"]["scientificName"].unique().to_list(), reveals),
    )
    return descriptor | {"spatial": _spatial(tables["deployments"], category, precise)}


def _description(category: int, precise: bool) -> str:
    left_out = (
        "Identifiers are replaced; observations of people and vehicles are left out, and so are those of "
        "species whose records are withheld, if there are any."
    )
    if precise:
        return f"Positions are as recorded. {left_out}"
    grid = CATEGORIES[category]
    return (
        f"Positions of all deployments are generalized to the centers of cells of {grid.degrees} degrees, "
        f"with an uncertainty of at least {grid.uncertainty_m:,} m (category {category} of Chapman 2020, "
        f"https://doi.org/10.15468/doc-5jp4-5g10). {left_out}"
    )


def _contributors(private: Mapping[str, Any], reveals: Callable[[str], bool]) -> list[dict[str, str]]:
    """Rights holders and publishers, whom licenses ask to credit, without addresses; no observers."""
    kept = []
    for entry in _mappings(private.get("contributors")):
        title, role = entry.get("title"), entry.get("role")
        if not (isinstance(title, str) and title.strip() and role in ("rightsHolder", "publisher")):
            continue
        contributor = {"title": title.strip(), "role": role}
        if contributor not in kept and not reveals(title):
            kept.append(contributor)
    return kept or [{"title": "not named", "role": "contributor"}]


def _licenses(private: Mapping[str, Any]) -> list[dict[str, str]]:
    kept = []
    for entry in _mappings(private.get("licenses")):
        license = {
            key: entry[key]
            for key, pattern in (("name", _LICENSE_NAME), ("path", _LICENSE_PATH))
            if isinstance(entry.get(key), str) and pattern.fullmatch(entry[key])
        }
        if license and entry.get("scope") in ("data", "media"):
            kept.append({**license, "scope": entry["scope"]})
    # The standard asks for one of each.
    return kept if {entry["scope"] for entry in kept} == {"data", "media"} else []


def _sampling_design(private: Mapping[str, Any]) -> str:
    project = private.get("project")
    design = project.get("samplingDesign") if isinstance(project, Mapping) else None
    return design if design in SAMPLING_DESIGNS else "opportunistic"


def _spatial(deployments: pl.DataFrame, category: int, precise: bool) -> dict[str, Any]:
    """A box around the shared positions, with their decimals; a cell wider, to hold the exact ones too."""
    latitude, longitude = positions(deployments)
    grid = CATEGORIES[4 if precise else category]

    def edge(value: float, most: float) -> float:
        return round(min(max(float(value), -most), most), grid.decimals) + 0.0

    south, north = edge(latitude.min() - grid.degrees, 90), edge(latitude.max() + grid.degrees, 90)
    west, east = edge(longitude.min() - grid.degrees, 180), edge(longitude.max() + grid.degrees, 180)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _taxa(
    private: Mapping[str, Any], names: Iterable[str], reveals: Callable[[str], bool]
) -> dict[str, dict[str, Any]]:
    """Properties of the shared taxa by scientific name."""
    entries = {folded(name): entry for name, entry in taxonomic_entries(private)}
    taxa = {}
    for name in names:
        entry = entries.get(folded(name), {})
        taxa[name] = {
            key: entry[key] for key in _TAXON if isinstance(entry.get(key), str) and not reveals(entry[key])
        }
        vernacular = entry.get("vernacularNames")
        if isinstance(vernacular, Mapping):
            vernacular = {
                str(language): text
                for language, text in vernacular.items()
                if isinstance(text, str) and not reveals(text)
            }
            if vernacular:
                taxa[name]["vernacularNames"] = vernacular
    return taxa


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
