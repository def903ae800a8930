"""Patches of a world: positions, areas and means of rasters over them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from bioclip_jax.errors import UserError

from .geometry import EARTH_RADIUS_M, center_of, local_meters
from .raster import Grid, Raster, check_same_grid, read_raster
from .terrain import distance_m, mean_over, shares, slope_degrees
from .twin import Extent, Patch
from .world_file import PatchEntry, World


def read_rasters(world: World) -> dict[str, Raster]:
    """The rasters of a world by role. Raises UserError if they differ in their grid."""
    rasters = {role: read_raster(path, world.crs) for role, path in world.rasters.items()}
    first, *others = rasters.values() or [None]
    for other in others:
        check_same_grid(first, other)
    return rasters


def terrain_layers(rasters: Mapping[str, Raster]) -> dict[str, Float[np.ndarray, "rows columns"]]:
    """Slope in degrees and distance to water in meters, of those rasters that a world has.

    Raises UserError for elevations of less than 2 x 2 cells, and for water nowhere.
    """
    layers = {}
    if elevation := rasters.get("elevation"):
        if min(elevation.values.shape) < 2:
            raise UserError(f"the raster {elevation.path} has less than 2 x 2 cells; a slope needs more")
        layers["slope"] = slope_degrees(elevation.values, elevation.grid)
    if water := rasters.get("water"):
        if not (water.values > 0).any():
            raise UserError(f"the raster {water.path} has no water (no value above 0); correct or remove it")
        layers["water_distance"] = distance_m(water.values > 0, water.grid)
    return layers


def make_patches(
    world: World, rasters: Mapping[str, Raster], layers: Mapping[str, Float[np.ndarray, "rows columns"]]
) -> tuple[Patch, ...]:
    """The patches of a world, with means over their cells; layers: of terrain_layers.

    Without a raster of patches, a patch's cells are those whose center lies within the circle of its area
    around its center.

    Raises UserError for a patch without cells, or of cells without values in a raster.
    """
    grid = next((raster.grid for raster in rasters.values()), None)
    cells = {entry.name: _cells(entry, rasters, grid) for entry in world.patches} if grid else {}
    patches = []
    for entry in world.patches:
        area, latitude, longitude = entry.area_km2, entry.latitude, entry.longitude
        fields: dict[str, object] = {"habitat": entry.habitat}
        if grid is not None:
            inside = cells[entry.name]
            if entry.value is not None:
                area = float(grid.area_km2[inside].sum())
                latitude, longitude = _middle(inside, grid)
            fields |= _means(entry, inside, rasters, layers, world.legend, grid)
        patches.append(Patch(entry.name, area, latitude, longitude, **fields))
    return _with_meters(patches)


def _with_meters(patches: Sequence[Patch]) -> tuple[Patch, ...]:
    latitude = np.array([patch.latitude for patch in patches])
    longitude = np.array([patch.longitude for patch in patches])
    meters = local_meters(latitude, longitude, center_of(latitude, longitude))
    return tuple(replace(patch, x_m=float(x), y_m=float(y)) for patch, (x, y) in zip(patches, meters))


def world_extent(patches: Sequence[Patch], grid: Grid | None = None) -> Extent:
    """The bounds of the rasters, or without any those of the circles of the patches' areas."""
    if grid is not None:
        x = grid.west + grid.width * np.linspace(0, grid.columns, 21)
        y = grid.north - grid.height * np.linspace(0, grid.rows, 21)
        x, y = (axis.ravel() for axis in np.meshgrid(x, y))
        latitude, longitude = grid.degrees(x, y)
        return _bounds(latitude, longitude)
    corners = []
    for patch in patches:
        radius = math.degrees(math.sqrt(patch.area_km2 * 1e6 / math.pi) / EARTH_RADIUS_M)
        wide = radius / max(math.cos(math.radians(patch.latitude)), 1e-6)
        corners += [
            (patch.latitude + a * radius, patch.longitude + b * wide) for a in (-1, 1) for b in (-1, 1)
        ]
    latitude, longitude = np.array(corners).T
    return _bounds(latitude, longitude)


def _bounds(latitude: Float[np.ndarray, " n"], longitude: Float[np.ndarray, " n"]) -> Extent:
    middle = center_of(latitude, longitude)[1]
    east = (longitude - middle + 180) % 360 - 180
    bounds = [(middle + end + 180) % 360 - 180 for end in (float(east.min()), float(east.max()))]
    return Extent(float(max(latitude.min(), -90)), bounds[0], float(min(latitude.max(), 90)), bounds[1])


def _cells(entry: PatchEntry, rasters: Mapping[str, Raster], grid: Grid) -> Bool[np.ndarray, "rows columns"]:
    """The cells of a patch, at least one."""
    if entry.value is not None:
        cells = rasters["patches"].values == entry.value
        if not cells.any():
            raise UserError(
                f"{entry.where}: the raster {rasters['patches'].path} has no cell of value {entry.value} for "
                f"the patch {entry.name}; correct the value"
            )
        return cells
    cells = grid.within(entry.latitude, entry.longitude, math.sqrt(entry.area_km2 * 1e6 / math.pi))
    if not cells.any():
        extent = world_extent((), grid)
        path = next(iter(rasters.values())).path
        raise UserError(
            f"{entry.where}: the patch {entry.name} has no cell in the raster {path}, which covers latitudes "
            f"{extent.south:.4f} to {extent.north:.4f} and longitudes {extent.west:.4f} to "
            f"{extent.east:.4f}; correct the position, or the raster"
        )
    return cells


def _middle(cells: Bool[np.ndarray, "rows columns"], grid: Grid) -> tuple[float, float]:
    """Latitude and longitude of the middle of cells."""
    row, column = np.nonzero(cells)
    weights = grid.area_km2[cells]
    x, y = np.average(grid.x[column], weights=weights), np.average(grid.y[row], weights=weights)
    latitude, longitude = grid.degrees(np.array([x]), np.array([y]))
    return float(latitude[0]), float(longitude[0])


def _means(
    entry: PatchEntry,
    cells: Bool[np.ndarray, "rows columns"],
    rasters: Mapping[str, Raster],
    layers: Mapping[str, Float[np.ndarray, "rows columns"]],
    legend: Mapping[int, str],
    grid: Grid,
) -> dict[str, object]:
    fields: dict[str, object] = {}
    sources = {
        "elevation_m": ("elevation", rasters["elevation"].values if "elevation" in rasters else None),
        "slope_deg": ("elevation", layers.get("slope")),
        "water_distance_m": ("water", layers.get("water_distance")),
    }
    for name, (role, values) in sources.items():
        if values is not None:
            fields[name] = mean_over(values, cells, grid)
            if not math.isfinite(fields[name]):
                raise UserError(
                    f"{entry.where}: the raster {rasters[role].path} has no values in {entry.name}; "
                    "fill them, or leave the patch out"
                )
    if "habitat" in rasters:
        fields["habitat"] = _habitat(entry, cells, rasters["habitat"], legend)
    return fields


def _habitat(
    entry: PatchEntry, cells: Bool[np.ndarray, "rows columns"], raster: Raster, legend: Mapping[int, str]
) -> dict[str, float]:
    if entry.habitat:
        raise UserError(f"{entry.where}: habitat is given, and a raster of habitat too; keep one")
    by_value = shares(raster.values, cells, raster.grid) if not np.isnan(raster.values[cells]).all() else {}
    if not by_value:
        raise UserError(
            f"{entry.where}: the raster {raster.path} has no values in the patch {entry.name}; fill them, or "
            "leave the patch out"
        )
    unknown = [value for value in by_value if value not in legend]
    if unknown:
        raise UserError(
            f"the legend has no name for the value {unknown[0]:g} of {raster.path}; add it to legend"
        )
    habitat: dict[str, float] = {}
    for value, share in by_value.items():
        habitat[legend[int(value)]] = habitat.get(legend[int(value)], 0.0) + share
    return habitat
