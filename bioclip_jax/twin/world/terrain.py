"""Terrain of a grid: slope, distance to water, and means over patches."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from .geometry import EARTH_RADIUS_M
from .raster import Grid


def slope_degrees(
    elevation_m: Float[np.ndarray, "rows columns"], grid: Grid
) -> Float[np.ndarray, "rows columns"]:
    """Steepest slope in degrees, 0 to 90, by the weighted differences of the eight neighbors.

    Horn (1981), Hill shading and the reflectance map, Proceedings of the IEEE 69:14. Beyond the border the
    elevation goes on linearly; NaN in and beside a cell without elevation. At least 2 x 2 cells.
    """
    z = np.pad(elevation_m, 1, mode="reflect", reflect_type="odd")
    width, height = grid.cell_size_m
    west, east = z[:, :-2], z[:, 2:]
    north, south = z[:-2], z[2:]
    x = (east[:-2] + 2 * east[1:-1] + east[2:]) - (west[:-2] + 2 * west[1:-1] + west[2:])
    y = (north[:, :-2] + 2 * north[:, 1:-1] + north[:, 2:]) - (
        south[:, :-2] + 2 * south[:, 1:-1] + south[:, 2:]
    )
    slope = np.degrees(np.arctan(np.hypot(x / (8 * width[:, None]), y / (8 * height))))
    # The formula does not use the cell itself.
    return np.where(np.isnan(elevation_m), np.nan, slope)


def distance_m(where: Bool[np.ndarray, "rows columns"], grid: Grid) -> Float[np.ndarray, "rows columns"]:
    """Distance in meters from each cell's center to that of the nearest cell of `where`, 0 in it.

    Exact: Euclidean on a grid in meters, along great circles of a sphere on one in degrees. Infinite without
    any such cell.
    """
    if not where.any():
        return np.full(where.shape, np.inf)
    if not grid.is_geographic:
        from scipy.ndimage import distance_transform_edt

        width, height = grid.cell_size_m
        return distance_transform_edt(~where, sampling=(height, width[0]))
    from scipy.spatial import KDTree

    longitude, latitude = np.radians(np.meshgrid(grid.x, grid.y))
    sphere = [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)]
    points = np.stack([axis.ravel() for axis in sphere], axis=1)
    chord, _ = KDTree(points[where.ravel()]).query(points)
    return 2 * EARTH_RADIUS_M * np.arcsin(np.clip(chord / 2, 0, 1)).reshape(where.shape)


def mean_over(
    values: Float[np.ndarray, "rows columns"], cells: Bool[np.ndarray, "rows columns"], grid: Grid
) -> float:
    """Mean over cells, weighted by their area; NaN cells are left out, and NaN is returned if all are."""
    used = cells & ~np.isnan(values)
    if not used.any():
        return float("nan")
    return float(np.average(values[used], weights=grid.area_km2[used]))


def shares(
    values: Float[np.ndarray, "rows columns"], cells: Bool[np.ndarray, "rows columns"], grid: Grid
) -> dict[float, float]:
    """Share of the cells' area by value, in ascending order of values; cells without value are left out."""
    used = cells & ~np.isnan(values)
    area = grid.area_km2
    total = float(area[used].sum())
    return {
        float(value): float(area[used & (values == value)].sum()) / total for value in np.unique(values[used])
    }
