"""Distances between patches, and which of them lie apart: beside a line such as a fence, or in a polygon."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

# Mean radius of the earth (IUGG).
EARTH_RADIUS_M = 6_371_008.8


def local_meters(
    latitude: Float[np.ndarray, " n"], longitude: Float[np.ndarray, " n"], center: tuple[float, float]
) -> Float[np.ndarray, "n 2"]:
    """Meters east and north of a center (latitude, longitude in degrees).

    Equirectangular projection: for worlds up to some hundred kilometers across. Longitudes may cross 180°.
    """
    east = (np.asarray(longitude, float) - center[1] + 180) % 360 - 180
    x = np.radians(east) * np.cos(np.radians(center[0]))
    y = np.radians(np.asarray(latitude, float) - center[0])
    return EARTH_RADIUS_M * np.stack([x, y], axis=-1)


def center_of(latitude: Float[np.ndarray, " n"], longitude: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Mean position in degrees; longitudes may cross 180°."""
    first = float(longitude[0])
    east = (np.asarray(longitude, float) - first + 180) % 360 - 180
    return float(np.mean(latitude)), (first + float(east.mean()) + 180) % 360 - 180


def distances(points_m: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n n"]:
    """Distances in meters between all pairs of points."""
    return np.linalg.norm(points_m[:, None] - points_m[None], axis=-1)


def separated(
    points_m: Float[np.ndarray, "n 2"], line_m: Sequence[Sequence[float]]
) -> Bool[np.ndarray, "n n"]:
    """Pairs of points that lie on different sides of a polyline.

    The straight way between them crosses it an odd number of times: who crosses a closed fence twice could
    have walked around. A line that ends before it reaches that way does not separate them; a
    point exactly on the line is on one of its sides.
    """
    points, line = np.asarray(points_m, float), np.asarray(line_m, float)
    result = np.zeros((len(points), len(points)), bool)
    for i, a in enumerate(points):
        for j in range(i):
            result[i, j] = result[j, i] = _crossings(a, points[j], line) % 2 == 1
    return result


def inside(
    points_m: Float[np.ndarray, "n 2"], polygon_m: Float[np.ndarray, "corners 2"]
) -> Bool[np.ndarray, " n"]:
    """True for the points inside a polygon, by the crossings of a ray to the east."""
    x, y = np.moveaxis(points_m[:, None], -1, 0)
    (x0, y0), (x1, y1) = polygon_m.T, np.roll(polygon_m, -1, axis=0).T
    beside = (y0 > y) != (y1 > y)
    rise = np.where(beside, y1 - y0, 1.0)
    return (beside & (x0 + (y - y0) / rise * (x1 - x0) > x)).sum(axis=1) % 2 == 1


def _crossings(a: Float[np.ndarray, "2"], b: Float[np.ndarray, "2"], line: Float[np.ndarray, "m 2"]) -> int:
    """Number of segments of a polyline that cross the segment from a to b."""
    # A vertex exactly on the way counts as left of it, so that passing through it crosses once.
    left = _cross(b - a, line - a) >= 0
    first, second = line[:-1], line[1:]
    side_a, side_b = _cross(second - first, a - first) >= 0, _cross(second - first, b - first) >= 0
    return int(((left[:-1] != left[1:]) & (side_a != side_b)).sum())


def _cross(u: Float[np.ndarray, "*n 2"], v: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n"]:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
