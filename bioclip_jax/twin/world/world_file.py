"""WORLD.toml: the description that a twin is built from.

name = "savanna"
start = 2020-01-01
species = "species.csv"             # paths are relative to this file
links = "links.csv"
infer = true                        # or [infer]: links of consumers that nobody saw eating

[[patches]]
name = "north"
area_km2 = 120
latitude = -2.3
longitude = 34.8
habitat = { grassland = 0.7, woodland = 0.3 }
# or, with a raster of patches, their value in it instead of area and position:
value = 1

[rasters]                           # all of one grid
patches = "patches.tif"             # a number per patch, 0 outside
elevation = "elevation.tif"         # m
habitat = "habitat.tif"
legend = { 1 = "grassland", 2 = "woodland" }
water = "water.tif"                 # above 0: water
crs = "EPSG:32736"                  # of files that do not name their own, such as .asc

[climate]
months = "climate.csv"              # month, rain_mm, temperature_c, and maybe patch
rain_cv = 0.3                       # coefficient of variation of the rain of years
rain_autocorrelation = 0.2          # from one year to the next

[[barriers]]
name = "river"
points = [[-2.0, 34.5], [-2.5, 35.0]]       # latitude, longitude
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError

from .toml_table import TomlTable, read_toml
from .twin import Barrier

_KEYS = ("name", "start", "species", "links", "infer", "patches", "rasters", "climate", "barriers")
_PATCH_KEYS = ("name", "area_km2", "latitude", "longitude", "habitat", "value")
_ROLES = ("patches", "elevation", "habitat", "water")
_CLIMATE_KEYS = ("months", "rain_cv", "rain_autocorrelation")


@dataclass(frozen=True)
class PatchEntry:
    """A patch as described; None for what its raster is to tell. `where`: for messages."""

    where: str
    name: str
    area_km2: float | None = None
    latitude: float | None = None
    longitude: float | None = None
    habitat: Mapping[str, float] = field(default_factory=dict)
    value: int | None = None


@dataclass(frozen=True)
class World:
    """The content of WORLD.toml, with paths resolved.

    infer: settings of the inference of links, None for none. rasters: paths by role. legend: habitats by
    their value in the raster. crs: of rasters without one.
    """

    path: Path
    name: str
    start: datetime.date
    species: Path
    links: Path | None
    infer: Mapping[str, Any] | None
    patches: tuple[PatchEntry, ...]
    rasters: Mapping[str, Path]
    legend: Mapping[int, str]
    crs: str | None
    months: Path
    rain_cv: float
    rain_autocorrelation: float
    barriers: tuple[Barrier, ...]

    @property
    def inputs(self) -> dict[str, Path]:
        """All files by their role, WORLD.toml included."""
        files = {"world": self.path, "species": self.species, "climate": self.months}
        if self.links is not None:
            files["links"] = self.links
        return files | {f"rasters.{role}": path for role, path in self.rasters.items()}


def read_world(path: str | os.PathLike[str]) -> World:
    """Read WORLD.toml. Raises UserError for unknown, missing and invalid keys and for missing files."""
    table = read_toml(path, "the world", _KEYS)
    folder = Path(path).parent
    rasters = table.table("rasters", (*_ROLES, "legend", "crs"))
    climate = table.table("climate", _CLIMATE_KEYS)
    infer = _infer(table)
    if "links" not in table and infer is None:
        raise table.error("links", "name the table of links, or set infer = true")
    world = World(
        path=Path(path),
        name=table.text("name"),
        start=table.date("start"),
        species=folder / table.text("species"),
        links=folder / table.text("links") if "links" in table else None,
        infer=infer,
        patches=_patches(table, has_raster="patches" in rasters),
        rasters={role: folder / rasters.text(role) for role in _ROLES if role in rasters},
        legend=_legend(rasters),
        crs=rasters.text("crs") if "crs" in rasters else None,
        months=folder / climate.text("months"),
        rain_cv=climate.number("rain_cv", 0, 3, default=0.0),
        rain_autocorrelation=climate.number("rain_autocorrelation", -0.99, 0.99, default=0.0),
        barriers=_barriers(table),
    )
    for role, file in world.inputs.items():
        if not file.is_file():
            raise UserError(f"{path}: {role} is {file}, which does not exist; correct its path")
    return world


def _infer(table: TomlTable) -> Mapping[str, Any] | None:
    """Arguments of infer_links: None for false, {} for true."""
    value = table.values.get("infer", False)
    if isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, dict):
        raise table.error("infer", "write true or false, or a table [infer]")
    settings = table.table("infer", ("threshold", "fewest"))
    given: dict[str, Any] = {}
    if "threshold" in settings:
        given["threshold"] = settings.number("threshold", 0, 1)
    if "fewest" in settings:
        given["fewest"] = int(settings.number("fewest", 1))
    return given


def _patches(table: TomlTable, has_raster: bool) -> tuple[PatchEntry, ...]:
    entries: dict[str, PatchEntry] = {}
    for patch in table.tables("patches", _PATCH_KEYS):
        name = patch.text("name")
        if name in entries:
            raise patch.error("name", "another patch has this name; give each its own")
        if "value" in patch:
            if not has_raster:
                raise patch.error("value", "there is no raster of patches; give area_km2 and a position")
            value = patch.number("value", 1)
            if value != int(value):
                raise patch.error("value", "write a whole number")
            if other := next((p.name for p in entries.values() if p.value == value), None):
                raise patch.error("value", f"the patch {other} has it too; give each its own")
            if extra := next((k for k in ("area_km2", "latitude", "longitude") if k in patch), None):
                raise patch.error(extra, "the raster of patches tells it; remove it, or the value")
            entries[name] = PatchEntry(patch.where, name, habitat=_habitat(patch), value=int(value))
            continue
        if has_raster:
            raise patch.error("value", "give the patch's number in the raster of patches")
        area = patch.number("area_km2", 0)
        if area <= 0:
            raise patch.error("area_km2", "a patch has an area above 0")
        position = patch.number("latitude", -90, 90), patch.number("longitude", -180, 180)
        entries[name] = PatchEntry(patch.where, name, area, *position, _habitat(patch))
    if not entries:
        raise UserError(f"{table.where} has no [[patches]]; give at least one")
    return tuple(entries.values())


def _habitat(patch: TomlTable) -> dict[str, float]:
    """Shares of the area by habitat, as given; {} without."""
    given = patch.values.get("habitat", {})
    if not isinstance(given, dict):
        raise patch.error("habitat", "write shares of the area, as { grassland = 0.7, woodland = 0.3 }")
    inner = TomlTable(f"{patch.where}, habitat", given)
    habitat = {name: inner.number(name, 0, 1) for name in given}
    if habitat and abs(sum(habitat.values()) - 1) > 0.01:
        raise patch.error("habitat", f"the shares sum to {sum(habitat.values()):g}; make them sum to 1")
    return habitat


def _legend(rasters: TomlTable) -> dict[int, str]:
    given = rasters.values.get("legend", {})
    if not isinstance(given, dict) or not all(isinstance(name, str) and name for name in given.values()):
        raise rasters.error("legend", 'write names by value, as { 1 = "grassland" }')
    if "habitat" in rasters and not given:
        raise rasters.error("legend", 'name the values of the habitat raster, as { 1 = "grassland" }')
    try:
        return {int(value): name for value, name in given.items()}
    except ValueError:
        raise rasters.error("legend", "the values of a legend are whole numbers") from None


def _barriers(table: TomlTable) -> tuple[Barrier, ...]:
    barriers = [
        Barrier(entry.text("name"), entry.points("points"))
        for entry in table.tables("barriers", ("name", "points"))
    ]
    return tuple(barriers)
