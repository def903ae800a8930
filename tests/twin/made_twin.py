"""A small twin for tests: two grasses, three grazers, a predator, in three patches on a line."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import numpy as np

from bioclip_jax.twin.world import Climate, Extent, Link, Patch, Species, Twin, write_twin

START = datetime.date(2030, 1, 1)
PATCHES = ("west", "middle", "east")
LION, ZEBRA, HARE, GRASS = "Panthera leo", "Equus quagga", "Lepus capensis", "Themeda triandra"


def made_twin(**changes: object) -> Twin:
    """The twin; changes: of its fields."""
    grass = {"kind": "producer", "mass_g": 10.0}
    animal = {"kind": "endotherm"}
    species = (
        Species(GRASS, **grass, biomass_kg_per_km2=200_000, growth_per_day=0.02, common_name="red grass"),
        Species("Cynodon dactylon", **grass, biomass_kg_per_km2=100_000, growth_per_day=0.03),
        Species(
            ZEBRA, **animal, mass_g=250e3, density_per_km2=8, dispersal_per_day=0.01, common_name="zebra"
        ),
        Species("Connochaetes taurinus", **animal, mass_g=180e3, density_per_km2=12, dispersal_per_day=0.01),
        Species(HARE, **animal, mass_g=2e3, density_per_km2=60, dispersal_per_day=0.002),
        Species(LION, **animal, mass_g=150e3, density_per_km2=0.1, dispersal_per_day=0.02),
    )
    eaten = {
        ZEBRA: (GRASS, "Cynodon dactylon"),
        "Connochaetes taurinus": (GRASS, "Cynodon dactylon"),
        HARE: ("Cynodon dactylon",),
        LION: (ZEBRA, "Connochaetes taurinus"),
    }
    patches = tuple(
        Patch(name, 100.0, -2.0, 34.8 + 0.1 * i, x_m=11_100.0 * (i - 1), y_m=0.0)
        for i, name in enumerate(PATCHES)
    )
    months = np.array([90, 95, 120, 140, 70, 20, 10, 15, 25, 30, 70, 85], float)
    twin = Twin(
        name="plain",
        species=species,
        links=tuple(Link(resource, consumer) for consumer, all_ in eaten.items() for resource in all_),
        patches=patches,
        climate=Climate(np.repeat(months[:, None], 3, 1), np.full((12, 3), 295.0), rain_cv=0.3),
        start=START,
        extent=Extent(-2.2, 34.7, -1.8, 35.1),
    )
    return replace(twin, **changes)


def without_species(twin: Twin, name: str) -> Twin:
    """The twin without a species and its links."""
    return replace(
        twin,
        species=tuple(one for one in twin.species if one.name != name),
        links=tuple(link for link in twin.links if name not in (link.resource, link.consumer)),
    )


def written_twin(folder: Path, **changes: object) -> Path:
    """The folder of the twin."""
    folder.mkdir()
    write_twin(folder, made_twin(**changes))
    return folder
