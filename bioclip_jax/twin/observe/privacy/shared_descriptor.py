"""The descriptor of a shared package, written anew: of the private one only what cannot name a place."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bioclip_jax.twin.observe.camtrap_dp import parse_times

from .grid import CATEGORIES, positions
from .sensitivity import folded

if TYPE_CHECKING:
    import polars as pl

_SCHEMAS = "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.2"
_TITLE = "Camera-trap observations"
_SAMPLING = (
    "simpleRandom", "systematicRandom", "clusteredRandom", "experimental", "targeted", "opportunistic",
)  # fmt: skip
_TAXON = (
    "scientificName", "taxonID", "taxonRank", "kingdom", "phylum", "class", "order", "family", "genus",
)  # fmt: skip
_LICENSE_NAME = re.compile(r"[A-Za-z0-9.+-]{1,40}")
_LICENSE_PATH = re.compile(r"https?://(creativecommons|opendatacommons|spdx)\.org/[\w./+-]*")


def shared_descriptor(
    private: Mapping[str, Any],
    tables: Mapping[str, pl.DataFrame],
    category: int,
    *,
    precise: bool,
    title: str,
    reveals: Callable[[str], bool],
) -> dict[str, Any]:
    """Return a descriptor of Camtrap DP 1.0.2 for the shared tables (by name).

    Kept from the private one: known licenses, the names of rights holders and publishers, the sampling
    design, and the taxonomic entries of species that are shared. reveals: True for a text that must not be
    shared.
    """
    observations, deployments = tables["observations"], tables["deployments"]
    names = set(observations["scientificName"].unique().to_list()) - {""}
    descriptor: dict[str, Any] = {
        "resources": [
            {
                "name": name,
                "path": f"{name}.csv",
                "profile": "tabular-data-resource",
                "format": "csv",
                "mediatype": "text/csv",
                "encoding": "utf-8",
                "schema": f"{_SCHEMAS}/{name}-table-schema.json",
            }
            for name in tables
        ],
        "profile": f"{_SCHEMAS}/camtrap-dp-profile.json",
        "name": "camera-trap-observations",
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "title": title or _TITLE,
        "description": _description(category, precise),
        "contributors": _contributors(private, reveals),
        "licenses": _licenses(private),
        "project": {
            "title": title or _TITLE,
            "samplingDesign": _sampling_design(private),
            "captureMethod": _values(tables["media"], "captureMethod") or ["activityDetection"],
            "individualAnimals": False,
            "observationLevel": _values(observations, "observationLevel") or ["event"],
        },
        "spatial": _spatial(deployments, category, precise),
        "temporal": _temporal(deployments),
        "taxonomic": _taxonomic(private, names, reveals),
    }
    if not precise:
        descriptor["coordinatePrecision"] = CATEGORIES[category].degrees
    if not descriptor["licenses"]:
        del descriptor["licenses"]
    return descriptor


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
    """Whom a license asks to credit, without addresses; observers are not named."""
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
    return design if design in _SAMPLING else "opportunistic"


def _values(table: pl.DataFrame, column: str) -> list[str]:
    if column not in table.columns:
        return []
    return sorted(set(table[column].unique().to_list()) - {""})


def _spatial(deployments: pl.DataFrame, category: int, precise: bool) -> dict[str, Any]:
    """A box around the shared positions, a cell wider on each side: it has no more decimals than they."""
    latitude, longitude = positions(deployments)
    grid = CATEGORIES[4 if precise else category]

    def edge(value: float, most: float) -> float:
        return round(min(max(float(value), -most), most), grid.decimals) + 0.0

    south, north = edge(latitude.min() - grid.degrees, 90), edge(latitude.max() + grid.degrees, 90)
    west, east = edge(longitude.min() - grid.degrees, 180), edge(longitude.max() + grid.degrees, 180)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _temporal(deployments: pl.DataFrame) -> dict[str, str]:
    # The date is that of the deployment's own zone.
    starts = parse_times(deployments["deploymentStart"], "deployments")
    ends = parse_times(deployments["deploymentEnd"], "deployments")
    return {
        "start": deployments["deploymentStart"][starts.arg_min()][:10],
        "end": deployments["deploymentEnd"][ends.arg_max()][:10],
    }


def _taxonomic(
    private: Mapping[str, Any], names: Collection[str], reveals: Callable[[str], bool]
) -> list[dict[str, Any]]:
    entries = {
        folded(entry["scientificName"]): entry
        for entry in _mappings(private.get("taxonomic"))
        if isinstance(entry.get("scientificName"), str)
    }
    kept = []
    for name in sorted(names):
        entry = {**entries.get(folded(name), {}), "scientificName": name}
        taxon: dict[str, Any] = {
            key: entry[key]
            for key in _TAXON
            if isinstance(entry.get(key), str) and (key == "scientificName" or not reveals(entry[key]))
        }
        vernacular = entry.get("vernacularNames")
        if isinstance(vernacular, Mapping):
            vernacular = {
                str(language): text
                for language, text in vernacular.items()
                if isinstance(text, str) and not reveals(text)
            }
            if vernacular:
                taxon["vernacularNames"] = vernacular
        kept.append(taxon)
    return kept


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
