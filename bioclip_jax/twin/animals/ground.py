"""Obstacles and cover of a landscape as grids, which a step of the fast clock looks up."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .landscape import Landscape

_CELL_M = 2.5
_TRUNK_M, _BUSH_M = 0.9, 1.3
# Slope, rise over run, that counts as a rock that nobody walks on.
_STEEP = 0.32


class Ground(NamedTuple):
    """Grids over a landscape, row 0 in the south, values at points _CELL_M apart.

    clearance: m to the nearest trunk, bush, water or rock, negative inside. cover: m to the nearest bush or
    tree.
    """

    clearance: Float[Array, "rows columns"]
    cover: Float[Array, "rows columns"]


@functools.lru_cache(maxsize=4)
def read_ground(landscape: Landscape) -> Ground:
    """Return the grids of a landscape, kept for its next scenes."""
    from scipy.ndimage import zoom
    from scipy.spatial import cKDTree

    n = round(landscape.extent_m / _CELL_M) + 1
    axis = np.linspace(0, landscape.extent_m, n)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    far = np.full(len(points), 100.0)
    clearance, cover = far, far
    bush = landscape.trees[:, 3] == 2
    for chosen, radius in ((~bush, _TRUNK_M), (bush, _BUSH_M)):
        if chosen.any():
            distance = cKDTree(landscape.trees[chosen, :2]).query(points, distance_upper_bound=100.0)[0]
            distance = np.minimum(distance, 100.0)
            clearance = np.minimum(clearance, distance - radius)
            cover = np.minimum(cover, distance)
    for x, y, radius in landscape.water:
        clearance = np.minimum(clearance, np.hypot(points[:, 0] - x, points[:, 1] - y) - radius - 0.5)
    step = landscape.extent_m / (len(landscape.height_m) - 1)
    slope = np.hypot(*np.gradient(landscape.height_m.astype(float), step))
    steep = zoom(slope, n / len(slope), order=1)[:n, :n].ravel() > _STEEP
    dry = np.all(
        [np.hypot(points[:, 0] - x, points[:, 1] - y) > 2 * r for x, y, r in landscape.water], axis=0
    )
    if (rocks := points[steep & dry]).size:
        clearance = np.minimum(clearance, cKDTree(rocks).query(points)[0] - _CELL_M)
    return Ground(*(jnp.asarray(grid.reshape(n, n), jnp.float32) for grid in (clearance, cover)))


@jax.jit
def look_up(
    grid: Float[Array, "rows columns"], position: Float[Array, "animals 2"]
) -> tuple[Float[Array, " animals"], Float[Array, "animals 2"]]:
    """Return the value and the gradient of a grid at positions, bilinear."""
    last = grid.shape[0] - 1
    place = jnp.clip(position / _CELL_M, 0, last - 1e-3)
    corner = jnp.floor(place).astype(jnp.int32)
    east, north = (place - corner).T
    column, row = corner.T
    flat = grid.ravel()
    at = row * grid.shape[1] + column
    south_west, south_east, north_west, north_east = (
        flat[at + shift] for shift in (0, 1, grid.shape[1], grid.shape[1] + 1)
    )
    south = south_west + (south_east - south_west) * east
    top = north_west + (north_east - north_west) * east
    along_x = (south_east - south_west) * (1 - north) + (north_east - north_west) * north
    return south + (top - south) * north, jnp.stack([along_x, top - south], axis=1) / _CELL_M
