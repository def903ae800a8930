"""Content of the page: species, links, patches, scenarios and their effects, without the place."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

import numpy as np

from bioclip_jax.twin.scenario import Run, branch_effects
from bioclip_jax.twin.world import Species, Twin, trophic_levels

from .privacy import Secrets

# Log ratios are shipped in thousandths, so that no number of the page looks like a coordinate.
_THOUSANDTHS = 1000
_KEPT_OF_EVENTS = ("kind", "factor", "change_k", "share")
_COVERS = {
    "water": ("river", "water", "lake", "swamp", "wetland", "marsh", "pond"),
    "rock": ("rock", "hill", "kopje", "bare", "stone", "mountain"),
    "wood": ("wood", "forest", "tree", "bush", "thicket", "scrub", "shrub"),
    "grass": ("grass", "meadow", "steppe", "savanna", "plain", "pasture", "field"),
}
# Columns of the species table that are shown, beside the diet.
_FACTS = (
    *("mass_g", "density_per_km2", "speed_m_per_s", "eye_height_m", "acuity_cycles_per_degree"),
    *("biomass_kg_per_km2", "growth_per_day"),
)


def page_content(run: Run, twin: Twin, secrets: Secrets, *, precise: bool) -> dict[str, Any]:
    """Return the page's JSON but for flows and scenes.

    secrets: names that are withheld from titles and sources unless `precise`.
    """
    order = patch_order(twin)
    return {
        "version": 1,
        "name": twin.name if precise else "",
        "precise": precise,
        "calibrated": bool(run.settings["parameters"]["calibrated"]),
        "members": run.biomass.shape[1],
        "years": run.settings["years"],
        "times": [day.isoformat() for day in run.times],
        "branches": [{"title": "", "events": []}] + _scenarios(run, twin, secrets, precise),
        "species": [_species(one, level, secrets) for one, level in zip(twin.species, _levels(twin))],
        "links": _links(twin),
        "patches": [
            _patch(twin, number, label, precise) for label, number in zip(patch_labels(twin, precise), order)
        ],
        "effects": [None] + [effects_of(run, branch) for branch in run.branches[1:]],
    }


def patch_order(twin: Twin) -> list[int]:
    """Return the patches from large to small, which does not tell the order of the map."""
    return sorted(range(len(twin.patches)), key=lambda number: (-twin.patches[number].area_km2, number))


def patch_labels(twin: Twin, precise: bool) -> list[str]:
    """Return letters in the order of the patches, or their names if `precise`."""
    order = patch_order(twin)
    return [twin.patches[number].name if precise else _letter(place) for place, number in enumerate(order)]


def public_texts(content: Mapping[str, Any]) -> set[str]:
    """Return the names of species, which are public whatever words they have."""
    return {one["name"] for one in content["species"]}


def _scenarios(run: Run, twin: Twin, secrets: Secrets, precise: bool) -> list[dict[str, Any]]:
    described = {one["name"]: one for one in run.settings["scenarios"]}
    scenarios = []
    for name in run.branches[1:]:
        title = name if precise or secrets.name_in(name) is None else ""
        scenarios.append({"title": title, "events": _events(described.get(name, {}).get("text", ""), twin)})
    return scenarios


def _events(text: str, twin: Twin) -> list[dict[str, Any]]:
    """Return kind, species and size of a scenario's events, which the page describes in its language."""
    try:
        events = tomllib.loads(text).get("events", [])
    except tomllib.TOMLDecodeError:
        return []
    index = {}
    for number, one in enumerate(twin.species):
        index |= {one.name.casefold(): number, one.common_name.casefold(): number}
    kept = []
    for event in events:
        one: dict[str, Any] = {key: event[key] for key in _KEPT_OF_EVENTS if key in event}
        who = event.get("species")
        who = [who] if isinstance(who, str) else who if isinstance(who, list) else []
        one["species"] = [index[str(name).casefold()] for name in who if str(name).casefold() in index]
        for key in ("date", "start", "end"):
            if key in event:
                one[key] = str(event[key])[:10]
        kept.append(one)
    return kept


def _levels(twin: Twin) -> list[float]:
    return [round(float(level), 2) for level in trophic_levels(twin.species, twin.links)]


def _species(one: Species, level: float, secrets: Secrets) -> dict[str, Any]:
    common = "" if secrets.name_in(one.common_name) else one.common_name
    facts = {}
    for column in _FACTS:
        value = getattr(one, column)
        if value is not None:
            facts[column] = {"value": float(f"{value:.3g}"), **_source(one, column, secrets)}
    if one.diet is not None:
        facts["diet"] = {
            "value": {food: round(100 * share) for food, share in one.diet.items()},
            **_source(one, "diet", secrets),
        }
    return {
        "name": one.name,
        "common": common,
        "kind": one.kind,
        "class": one.taxonomy.get("class", ""),
        "order": one.taxonomy.get("order", ""),
        "family": one.taxonomy.get("family", ""),
        "mass_kg": float(f"{one.mass_g / 1000:.4g}"),
        "level": level,
        "facts": facts,
    }


def _source(one: Species, column: str, secrets: Secrets) -> dict[str, str]:
    """Return the source of a number, and its status: cited, inferred, assumed or unsourced."""
    text = one.citations.get(column) or one.citations.get("citation", "")
    folded = text.casefold()
    if not text:
        status = "unsourced"
    elif folded.startswith("assumed"):
        status = "assumed"
    elif folded.startswith(("from ", "inferred", "estimated", "by allometry")):
        status = "inferred"
    else:
        status = "cited"
    return {"status": status, "source": "" if secrets.name_in(text) else text}


def _links(twin: Twin) -> list[list[int]]:
    """Return resource, consumer and 1 for an inferred link, by the species' numbers."""
    index = {one.name: number for number, one in enumerate(twin.species)}
    return [[index[link.resource], index[link.consumer], int(link.inferred)] for link in twin.links]


def _patch(twin: Twin, number: int, label: str, precise: bool) -> dict[str, Any]:
    patch = twin.patches[number]
    result: dict[str, Any] = {
        "label": label,
        "cover": _cover(patch.habitat),
        # Two digits, since an exact area may be looked up.
        "area_km2": float(f"{patch.area_km2:.2g}"),
    }
    if precise:
        result |= {"x_m": round(patch.x_m), "y_m": round(patch.y_m)}
    return result


def _letter(place: int) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return letters[place] if place < 26 else letters[place // 26 - 1] + letters[place % 26]


def _cover(habitat: Mapping[str, float]) -> dict[str, int]:
    """Return percentages of the area by cover, from the words in the names of the habitats."""
    shares: dict[str, float] = {}
    for name, share in habitat.items():
        words = name.casefold()
        cover = next((one for one, known in _COVERS.items() if any(word in words for word in known)), "other")
        shares[cover] = shares.get(cover, 0.0) + share
    return {cover: round(100 * share) for cover, share in sorted(shares.items()) if share >= 0.01}


def effects_of(run: Run, branch: str) -> list[dict[str, Any]]:
    """Return median and intervals of log ratios in thousandths, risks in percent, and the verdict."""
    effects = branch_effects(run, branch)["species"]
    quantiles = ("lower", "lower_50", "median", "upper_50", "upper")
    return [
        {
            "ratio": [round(_THOUSANDTHS * one["log_ratio"][key]) for key in quantiles],
            "declines": round(100 * one["probability_of_decline"]),
            "nearly_extinct": round(100 * one["probability_of_quasi_extinction"]),
            "verdict": one["verdict"],
        }
        for one in (effects[name] for name in run.species)
    ]


def as_numbers(values: np.ndarray) -> list[Any]:
    """Return an array as nested lists of floats with three digits."""
    if values.ndim > 1:
        return [as_numbers(row) for row in values]
    return [float(f"{value:.3g}") for value in values]
