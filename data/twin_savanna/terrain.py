"""The land of the savanna, from a seed: elevation, habitat, water and patches on one grid."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

# The grid: UTM zone 39 south, in the open Indian Ocean, where there is no land.
CRS = "EPSG:32739"
WEST, NORTH = 300_000.0, 9_760_000.0
CELL_M = 500.0
ROWS, COLUMNS = 100, 120

HABITATS = ("short grassland", "tall grassland", "woodland", "riverine forest", "rocky hills")
PATCHES = ("plains", "tall grass", "woods", "hills", "river")
_CORRIDOR_M = 4_500.0  # half the width of the patch along the river
_FOREST_M = 900.0
_HILLS = 7
_WATER_HOLES = 14
_WAVES = 80


@dataclass(frozen=True)
class Terrain:
    """Rasters of the land, north up.

    elevation: m. habitat: 1 for the first of HABITATS, and so on. water: 1 for water. patches: 1 for the
    first of PATCHES, and so on.
    """

    elevation: Float[np.ndarray, "rows columns"]
    habitat: UInt8[np.ndarray, "rows columns"]
    water: UInt8[np.ndarray, "rows columns"]
    patches: UInt8[np.ndarray, "rows columns"]


def draw_terrain(seed: int = 0) -> Terrain:
    """Draw the land: a river flowing west, woods in the northwest, hills in the northeast."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(CELL_M * (np.arange(COLUMNS) + 0.5), CELL_M * (ROWS - np.arange(ROWS) - 0.5))
    width, height = CELL_M * COLUMNS, CELL_M * ROWS
    course = _river(rng, x[0], width, height)
    from_river = y - course[None, :]  # m north of it
    distance = np.abs(from_river)

    rough, moist = _waves(rng, x, y, width / 2), _waves(rng, x, y, width / 3)
    elevation = 1350 + 2.0e-3 * x + 0.14 * distance**0.75 + 22 * rough * np.minimum(distance / 4000, 1)
    hills = _hills(rng, x, y, width, height)
    elevation += hills

    border = 0.5 * width + 3500 * rough
    patches = np.where(
        distance < _CORRIDOR_M,
        PATCHES.index("river"),
        np.where(
            from_river > 0,
            np.where(x < border, PATCHES.index("woods"), PATCHES.index("hills")),
            np.where(x < border, PATCHES.index("tall grass"), PATCHES.index("plains")),
        ),
    )
    # Rain comes from the northwest: grass is short in the southeast, and trees stand close in the north.
    wet = moist + 2.2 * (y / height - x / width)
    habitat = np.select(
        [distance < _FOREST_M, hills > 45, wet > 0.9, wet > -0.5],
        [HABITATS.index(name) for name in ("riverine forest", "rocky hills", "woodland", "tall grassland")],
        HABITATS.index("short grassland"),
    )
    water = distance <= CELL_M / 2
    for row, column in _water_holes(rng, elevation, distance):
        water[row, column] = True
    return Terrain(
        elevation.round(1),
        (habitat + 1).astype(np.uint8),
        water.astype(np.uint8),
        (patches + 1).astype(np.uint8),
    )


def _river(rng: np.random.Generator, x: np.ndarray, width: float, height: float) -> np.ndarray:
    """Northing of the river at each easting, in meters."""
    course = np.full(len(x), 0.47 * height)
    for waves, meters in ((1.3, 2600.0), (3.1, 1100.0), (6.3, 450.0)):
        course += meters * np.sin(2 * np.pi * (waves * x / width + rng.random()))
    return course


def _waves(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, longest: float) -> np.ndarray:
    """Smooth noise of variance 1: plane waves whose amplitude is proportional to their length."""
    length = longest * rng.uniform(0.06, 1.0, _WAVES)
    direction, phase = rng.uniform(0, 2 * np.pi, (2, _WAVES))
    total = np.zeros_like(x)
    for meters, angle, start in zip(length, direction, phase):
        along = x * np.cos(angle) + y * np.sin(angle)
        total += meters * np.cos(2 * np.pi * along / meters + start)
    return total / np.sqrt((length**2).sum() / 2)


def _hills(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, width: float, height: float) -> np.ndarray:
    """Height of rocky hills above the land, in meters."""
    total = np.zeros_like(x)
    for _ in range(_HILLS):
        east, north = rng.uniform(0.58, 0.95) * width, rng.uniform(0.68, 0.95) * height
        tall, wide = rng.uniform(70, 180), rng.uniform(1000, 2200)
        total += tall * np.exp(-((x - east) ** 2 + (y - north) ** 2) / (2 * wide**2))
    return total


def _water_holes(
    rng: np.random.Generator, elevation: np.ndarray, distance: np.ndarray
) -> list[tuple[int, int]]:
    """Cells of water holes: the lowest of random squares that are away from the river."""
    size = 16
    holes = []
    while len(holes) < _WATER_HOLES:
        top, left = int(rng.integers(ROWS - size)), int(rng.integers(COLUMNS - size))
        window = np.s_[top : top + size, left : left + size]
        row, column = np.unravel_index(elevation[window].argmin(), (size, size))
        if distance[window].min() > _CORRIDOR_M:
            holes.append((top + int(row), left + int(column)))
    return holes
