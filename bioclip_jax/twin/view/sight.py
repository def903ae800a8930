"""Sight of an animal: acuity, photoreceptors, visual field, and what of it was measured.

The table is sight.toml. A value measured on the species itself is "measured", one from a relative or computed
from anatomy is "inferred", and one without a species is "assumed".
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from bioclip_jax.twin.world import Species

QUANTITIES = (
    *("acuity", "cones", "rods", "horizontal", "binocular", "vertical"),
    *("sensitivity", "pupil", "height"),
)
# From the lowest.
_RANKS = ("genus", "family", "order", "class", "phylum", "kingdom")
# The columns of a species table that replace the sight table's values.
_GIVEN = {"acuity": "acuity_cycles_per_degree", "height": "eye_height_m"}


def sight_of(species: Species | str) -> dict[str, Any]:
    """Return the sight of a species of a twin, or of an entry of the table such as "Homo sapiens".

    Acuity and eye height of the species' own table win over those of the sight table.

    Returns a JSON-able record: "name", "acuity" (cycles/degree), "cones" [{"peak_nm", "status"}],
    "rods" {"peak_nm", "status"}, "field" {"horizontal_deg", "binocular_deg", "vertical_deg"},
    "sensitivity" (people = 1), "pupil", "eye_height_m", and by quantity (QUANTITIES) "status", "source"
    (species that an inferred value comes from) and "citation".
    """
    name = species if isinstance(species, str) else species.name
    entries = {quantity: _entry(species, quantity) for quantity in QUANTITIES}
    status = {quantity: _status(entry, name) for quantity, entry in entries.items()}
    value = {quantity: entry["value"] for quantity, entry in entries.items()}
    return {
        "name": name,
        "acuity": value["acuity"],
        "cones": [{"peak_nm": peak, "status": status["cones"]} for peak in value["cones"]],
        "rods": {"peak_nm": value["rods"], "status": status["rods"]},
        "field": {f"{side}_deg": value[side] for side in ("horizontal", "binocular", "vertical")},
        "sensitivity": value["sensitivity"],
        "pupil": value["pupil"],
        "eye_height_m": value["height"],
        "status": status,
        "source": {key: entry["of"] for key, entry in entries.items() if status[key] == "inferred"},
        "citation": {key: entry["citation"] for key, entry in entries.items()},
    }


def _entry(species: Species | str, quantity: str) -> Mapping[str, Any]:
    """Return a quantity's entry of the lowest taxon that has one, or the value of the table of species."""
    entry = next(taxon[quantity] for taxon in _taxa(species) if quantity in taxon)
    column = _GIVEN.get(quantity)
    given = getattr(species, column) if column and isinstance(species, Species) else None
    if given is None or given == entry["value"]:
        return entry
    citation = species.citations.get(column, "the table of species, without a source")
    # The table of species does not tell measured numbers from inferred ones.
    cited = {} if "assumed" in citation or column not in species.citations else {"of": species.name}
    return {"value": given, "citation": citation, "estimated": True} | cited


def _taxa(species: Species | str) -> list[Mapping[str, Any]]:
    """Return the table's entries of a species' taxa, from the lowest."""
    if isinstance(species, str):
        names = [species]
    else:
        names = [species.name, *(species.taxonomy[rank] for rank in _RANKS if species.taxonomy.get(rank))]
    return [_table()[name] for name in (*names, "Animalia") if name in _table()]


def _status(entry: Mapping[str, Any], name: str) -> str:
    if "of" not in entry:
        return "assumed"
    own = name in entry["of"].split(", ")
    return "measured" if own and not entry.get("estimated") else "inferred"


@cache
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads((resources.files(__package__) / "sight.toml").read_text(encoding="utf-8"))
