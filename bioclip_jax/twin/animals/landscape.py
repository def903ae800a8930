"""A savanna that does not exist, for scenes: relief, kopjes, water holes, trees in clumps, grass.

Never from real terrain: a skyline gives a place away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

TREE_KINDS = ("umbrella thorn", "round-crowned tree", "bush")
_POINTS = 129
# Radius of the open plain in the middle, where few trees grow and the herds begin.
_PLAIN_M = 170.0
_WATER_DEPTH_M = 1.0
# Relief, rocks and vegetation are assumed: they are to look like a savanna, not to be one.
_RELIEF_M = (7.0, 1.2)
_RELIEF_SCALE_M = (210.0, 70.0)
_CLUMPS, _SINGLES, _BUSHES = 13, 46, 90


@dataclass(frozen=True, eq=False)
class Landscape:
    """A square of land; x east, y north, in meters from the south-west corner.

    height_m: of the ground at points that are equally spaced from edge to edge, row 0 in the south.
    grass: height and density of the grass there, 0 bare to 1. trees: x, y, height in meters, and an index of
    TREE_KINDS. water: x, y, radius of round water holes.
    """

    extent_m: float
    height_m: Float[np.ndarray, "points points"]
    grass: Float[np.ndarray, "points points"]
    trees: Float[np.ndarray, "trees 4"]
    water: Float[np.ndarray, "holes 3"]


def generate_landscape(seed: int, extent_m: float = 1000.0) -> Landscape:
    """Return the savanna of a seed, with three or four kopjes and one or two water holes."""
    random = np.random.default_rng([seed, 0x5A7A])
    axis = np.linspace(0, extent_m, _POINTS)
    x, y = np.meshgrid(axis, axis)
    step = axis[1]
    height = sum(
        amplitude * _smooth_noise(random, scale / step)
        for amplitude, scale in zip(_RELIEF_M, _RELIEF_SCALE_M, strict=True)
    )
    kopjes = _places(random, int(random.integers(3, 5)), extent_m, (0.30, 0.46), 160.0)
    for center in kopjes:
        radius, top = random.uniform(22, 40), random.uniform(6, 13)
        distance = np.hypot(x - center[0], y - center[1]) / radius
        rocks = 1 + 0.35 * _smooth_noise(random, 1.2)
        height = height + top * np.exp(-(distance**2.5)) * rocks
    water = _water(random, extent_m, kopjes)
    for hole_x, hole_y, radius in water:
        distance = np.hypot(x - hole_x, y - hole_y)
        level = height[distance < radius].min()
        # A level shore, so that the water's surface meets the ground all around.
        shore = _ease((distance - 1.3 * radius) / (1.6 * radius))
        height = level + (height - level) * shore
        height = height - _WATER_DEPTH_M * _ease((1.05 * radius - distance) / (0.5 * radius))
    height = height - height.min()
    trees = _trees(random, extent_m, kopjes, water)
    patchy = 0.3 * _smooth_noise(random, 70 / step) + 0.12 * _smooth_noise(random, 18 / step)
    grass = np.clip(0.62 + patchy, 0, 1)
    for hole_x, hole_y, radius in water:
        distance = np.hypot(x - hole_x, y - hole_y)
        grass = grass * (0.15 + 0.85 * _ease((distance - radius) / 70))
    for center in kopjes:
        grass = grass * (0.2 + 0.8 * _ease((np.hypot(x - center[0], y - center[1]) - 20) / 30))
    return Landscape(extent_m, *(a.astype(np.float32) for a in (height, grass, trees, water)))


def _smooth_noise(random: np.random.Generator, scale: float) -> Float[np.ndarray, "points points"]:
    """Gaussian noise smoothed over `scale` grid steps, with mean 0 and standard deviation 1."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(random.standard_normal((_POINTS, _POINTS)), scale, mode="reflect")
    return (noise - noise.mean()) / noise.std()


def _ease(t: np.ndarray) -> np.ndarray:
    """Rise smoothly from 0 at t <= 0 to 1 at t >= 1."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def _places(
    random: np.random.Generator, n: int, extent_m: float, ring: tuple[float, float], apart_m: float
) -> Float[np.ndarray, "places 2"]:
    """Return places whose distance from the middle is in `ring`, in extents, some way apart."""
    places: list[np.ndarray] = []
    for _ in range(200):
        angle, distance = random.uniform(0, 2 * np.pi), random.uniform(*ring) * extent_m
        place = extent_m / 2 + distance * np.array([np.cos(angle), np.sin(angle)])
        if len(places) < n and all(np.hypot(*(place - other)) >= apart_m for other in places):
            places.append(place)
    return np.array(places)


def _water(
    random: np.random.Generator, extent_m: float, kopjes: Float[np.ndarray, "kopjes 2"]
) -> Float[np.ndarray, "holes 3"]:
    n = int(random.integers(1, 3))
    clear = [
        place
        for place in _places(random, 12, extent_m, (0.2, 0.34), 120.0)
        if np.hypot(*(kopjes - place).T).min() > 110
    ]
    holes: list[np.ndarray] = []
    for place in clear:
        if len(holes) < n and all(np.hypot(*(place - other)) > 330 for other in holes):
            holes.append(place)
    return np.array([(*place, random.uniform(15, 25)) for place in holes]).reshape(-1, 3)


def _trees(
    random: np.random.Generator,
    extent_m: float,
    kopjes: Float[np.ndarray, "kopjes 2"],
    water: Float[np.ndarray, "holes 3"],
) -> Float[np.ndarray, "trees 4"]:
    """Return trees in clumps, by the water and alone, and bushes about them; few on the plain."""
    middle = extent_m / 2
    spots: list[tuple[np.ndarray, int]] = []
    for center in _places(random, _CLUMPS, extent_m, (0.2, 0.5), 90.0):
        kind = int(random.random() < 0.3)
        spread = random.uniform(11, 24)
        spots += [(center + spread * random.standard_normal(2), kind) for _ in range(random.integers(4, 10))]
        spread *= 1.5
        spots += [(center + spread * random.standard_normal(2), 2) for _ in range(random.integers(2, 6))]
    for hole_x, hole_y, radius in water:
        for angle in random.uniform(0, 2 * np.pi, 5):
            away = radius + random.uniform(6, 20)
            spots.append((np.array([hole_x + away * np.cos(angle), hole_y + away * np.sin(angle)]), 1))
    spots += [(random.uniform(0, extent_m, 2), 0) for _ in range(_SINGLES)]
    spots += [(random.uniform(0, extent_m, 2), 2) for _ in range(_BUSHES)]
    trees: list[tuple[float, float, float, int]] = []
    for place, kind in spots:
        on_plain = np.hypot(*(place - middle)) < _PLAIN_M
        keep = random.random() < ((0.55 if kind == 2 else 0.2) if on_plain else 1.0)
        height = random.uniform(*((5.0, 9.0), (4.0, 7.5), (1.0, 2.4))[kind])
        inside = np.all((place > 6) & (place < extent_m - 6))
        dry = all(np.hypot(*(place - hole[:2])) > hole[2] + 5 for hole in water)
        off_rocks = all(np.hypot(*(place - kopje)) > 14 for kopje in kopjes)
        apart = all(np.hypot(place[0] - tree[0], place[1] - tree[1]) > 5 for tree in trees)
        if keep and inside and dry and off_rocks and apart:
            trees.append((*place, height, kind))
    return np.array(trees).reshape(-1, 4)
