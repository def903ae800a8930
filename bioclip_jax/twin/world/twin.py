"""A twin: species, links, patches and climate of a world, and the folder that holds it.

twin.json       name, start, patches, climate, barriers, extent and the provenance of the inputs
species.csv     the species, as species.py reads them
links.csv       observed and inferred links, as links.py reads them
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from bioclip_jax.errors import UserError
from bioclip_jax.files import json_text, write_text
from bioclip_jax.plots import write_csv

from .climate import Climate
from .geometry import center_of, distances, inside, local_meters, separated
from .links import LINK_COLUMNS, Link, read_links
from .species import COLUMNS, FOODS, NUMBERS, TAXONOMY, Species, read_species

VERSION = 1
FILE = "twin.json"


@dataclass(frozen=True)
class Patch:
    """A part of the world in which all animals can meet.

    latitude, longitude: its center in degrees. x_m, y_m: meters east and north of the world's center.
    habitat: shares of the area by habitat. elevation_m, slope_deg, water_distance_m: means over its area,
    None without a raster.
    """

    name: str
    area_km2: float
    latitude: float
    longitude: float
    x_m: float = 0.0
    y_m: float = 0.0
    habitat: Mapping[str, float] = field(default_factory=dict)
    elevation_m: float | None = None
    slope_deg: float | None = None
    water_distance_m: float | None = None


@dataclass(frozen=True)
class Barrier:
    """A line that animals do not cross: points (latitude, longitude) in degrees."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Extent:
    """The bounds of a world in degrees; west is above east if it crosses 180°."""

    south: float
    west: float
    north: float
    east: float

    def holds(self, latitude: float, longitude: float) -> bool:
        """True for a position inside or on the bounds."""
        width = (self.east - self.west) % 360
        return self.south <= latitude <= self.north and (longitude - self.west) % 360 <= width


@dataclass(frozen=True)
class Twin:
    """The world that communities and scenarios run in; `start` is the first day of a run.

    provenance: of the inputs and settings that it was built from.
    """

    name: str
    species: tuple[Species, ...]
    links: tuple[Link, ...]
    patches: tuple[Patch, ...]
    climate: Climate
    start: datetime.date
    barriers: tuple[Barrier, ...] = ()
    extent: Extent | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def center(self) -> tuple[float, float]:
        """Latitude and longitude that x_m and y_m are relative to."""
        return center_of(
            *(np.array([getattr(p, name) for p in self.patches]) for name in ("latitude", "longitude"))
        )

    def distances_m(self) -> Float[np.ndarray, "patches patches"]:
        """Distances between the centers of the patches in meters."""
        return distances(self._positions())

    def separated_by(self, points: Sequence[tuple[float, float]]) -> Bool[np.ndarray, "patches patches"]:
        """Pairs of patches on different sides of a line of (latitude, longitude), such as a fence."""
        return separated(self._positions(), self._local_meters(points))

    def inside(self, points: Sequence[tuple[float, float]]) -> Bool[np.ndarray, " patches"]:
        """True for patches with their center in a polygon of (latitude, longitude)."""
        return inside(self._positions(), self._local_meters(points))

    def separated(self) -> Bool[np.ndarray, "patches patches"]:
        """Pairs of patches that one of the world's own barriers separates."""
        pairs = np.zeros((len(self.patches), len(self.patches)), bool)
        for barrier in self.barriers:
            pairs |= self.separated_by(barrier.points)
        return pairs

    def _local_meters(self, points: Sequence[tuple[float, float]]) -> Float[np.ndarray, "points 2"]:
        return local_meters(*np.asarray(points, float).T, self.center)

    def _positions(self) -> Float[np.ndarray, "patches 2"]:
        return np.array([[patch.x_m, patch.y_m] for patch in self.patches])


def write_twin(folder: Path, twin: Twin) -> None:
    """Write the three files of a twin into an existing folder; equal twins have equal bytes."""
    write_csv(folder / "species.csv", COLUMNS, [_species_row(one) for one in twin.species])
    rows = [
        (link.consumer, "eats", link.resource, link.citation, str(link.inferred).lower(), repr(link.weight))
        for link in twin.links
    ]
    write_csv(folder / "links.csv", LINK_COLUMNS, rows)
    content = {
        "version": VERSION,
        "name": twin.name,
        "start": twin.start.isoformat(),
        "patches": [dataclasses.asdict(patch) for patch in twin.patches],
        "climate": {
            key: value.tolist() if isinstance(value, np.ndarray) else value
            for key, value in dataclasses.asdict(twin.climate).items()
        },
        "barriers": [dataclasses.asdict(barrier) for barrier in twin.barriers],
        "extent": None if twin.extent is None else dataclasses.asdict(twin.extent),
        "provenance": dict(twin.provenance),
    }
    write_text(folder / FILE, json_text(content, indent=1, ensure_ascii=False) + "\n")


def read_twin(folder: str | os.PathLike[str]) -> Twin:
    """Read the folder that `twin build` wrote. Raises UserError if it is not one."""
    path = Path(folder) / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["version"]
    except FileNotFoundError:
        raise UserError(f"{folder} is not a twin (it has no {FILE}); make one with twin build") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} is not a twin's; make it with twin build") from None
    if version != VERSION:
        raise UserError(f"{path} is of version {version}, this is {VERSION}; make it again with twin build")
    species = read_species(path.with_name("species.csv"))
    # A world of producers alone has no links.
    fed = any(one.kind != "producer" for one in species)
    links = read_links(path.with_name("links.csv"), species) if fed else ()
    try:
        twin = _twin(content, species, links)
        sound = _is_sound(twin)
    except (AttributeError, KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise UserError(f"{path} is damaged; make it again with twin build")
    return twin


def _twin(content: Mapping[str, Any], species: tuple[Species, ...], links: tuple[Link, ...]) -> Twin:
    """The twin of the content of twin.json."""
    climate = content["climate"]
    return Twin(
        name=content["name"],
        species=species,
        links=links,
        patches=tuple(Patch(**patch) for patch in content["patches"]),
        climate=Climate(
            **climate | {key: np.array(climate[key], float) for key in ("rain_mm", "temperature_k")}
        ),
        start=datetime.date.fromisoformat(content["start"]),
        barriers=tuple(
            Barrier(barrier["name"], tuple(map(tuple, barrier["points"]))) for barrier in content["barriers"]
        ),
        extent=Extent(**content["extent"]) if content["extent"] else None,
        provenance=content["provenance"],
    )


def _is_sound(twin: Twin) -> bool:
    """True if names and numbers are as twin build writes them, which one that was edited may not have."""
    names = [patch.name for patch in twin.patches]
    climate = twin.climate
    places = [(one.area_km2, one.latitude, one.longitude, one.x_m, one.y_m) for one in twin.patches]
    spread = (climate.rain_cv, climate.rain_autocorrelation)
    means = (climate.rain_mm, climate.temperature_k)
    return (
        all(isinstance(name, str) for name in (twin.name, *names))
        and 0 < len(set(names)) == len(names)
        and all(np.isfinite(numbers).all() for numbers in (*places, *means, spread))
        and all(patch.area_km2 > 0 for patch in twin.patches)
        and all(values.shape == (12, len(names)) and (values >= 0).all() for values in means)
        and 0 <= climate.rain_cv
        and abs(climate.rain_autocorrelation) < 1
    )


def _species_row(one: Species) -> list[Any]:
    """Cells in the order of COLUMNS; numbers so that they are read back exactly."""
    numbers = {name: getattr(one, name) for name in NUMBERS}
    cells: dict[str, Any] = {
        "name": one.name,
        "common_name": one.common_name,
        "kind": one.kind,
        **{rank: one.taxonomy.get(rank, "") for rank in TAXONOMY},
        **{name: "" if value is None else repr(float(value)) for name, value in numbers.items()},
        **{f"diet_{food}": "" if one.diet is None else repr(float(one.diet.get(food, 0))) for food in FOODS},
        **{f"{column}_citation": text for column, text in one.citations.items()},
    }
    return [cells.get(column, "") for column in COLUMNS]
