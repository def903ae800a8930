"""Outlines as point arrays: closed splines, petals, ribbons and blobs.

Every function returns float64 [points, 2] in the unit frame of an organism: x to the right, y down, both in
-1 … 1.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

Points = Float[np.ndarray, "points 2"]


@lru_cache(maxsize=256)
def _spline_basis(controls: int, per_span: int, closed: bool) -> Float[np.ndarray, "points controls"]:
    """Catmull-Rom weights of each control point at each sample."""
    t = np.arange(per_span) / per_span
    weights = 0.5 * np.stack(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1
    )
    spans = controls if closed else controls - 1
    basis = np.zeros((spans * per_span + (not closed), controls))
    for span in range(spans):
        for k in range(4):
            index = span + k - 1
            index = index % controls if closed else min(max(index, 0), controls - 1)
            basis[span * per_span : (span + 1) * per_span, index] += weights[:, k]
    if not closed:
        basis[-1, -1] = 1.0
    return basis


def smooth(points, per_span: int = 6) -> Points:
    """Closed Catmull-Rom curve through the control points [n, 2]."""
    points = np.asarray(points, float)
    return _spline_basis(len(points), per_span, True) @ points


def path(points, per_span: int = 6) -> Points:
    """Open Catmull-Rom curve through the control points [n, 2]."""
    points = np.asarray(points, float)
    return _spline_basis(len(points), per_span, False) @ points


@lru_cache(maxsize=32)
def _circle(count: int) -> Points:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def ellipse(
    x: float, y: float, rx: float, ry: float | None = None, turn: float = 0.0, count: int = 28
) -> Points:
    """Ellipse about (x, y); `turn` in degrees, clockwise on the page."""
    return rotate(_circle(count) * (rx, rx if ry is None else ry), turn) + (x, y)


def blob(
    rng: np.random.Generator, x: float, y: float, radius: float, rough: float = 0.25, lobes: int = 7
) -> Points:
    """Irregular closed outline about (x, y) whose radius varies by `rough`."""
    reach = radius * (1 + rough * rng.uniform(-1, 1, lobes))
    return smooth(_circle(lobes) * reach[:, None] + (x, y), 5)


def rotate(points, degrees: float, about=(0.0, 0.0)) -> Points:
    """Points turned clockwise on the page about a pivot."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (np.asarray(points, float) - about) @ np.array([[c, s], [-s, c]]) + about


def mirror(points) -> Points:
    """Points reflected left to right."""
    return np.asarray(points, float) * (-1.0, 1.0)


def transform(points, origin, degrees: float, scale: float = 1.0) -> Points:
    """Points of a shape that grows along +x from the origin, scaled, turned and moved to `origin`."""
    return rotate(np.asarray(points, float) * scale, degrees) + origin


def petal(length: float, width: float, tip: float = 0.5, belly: float = 0.6, notch: float = 0.0) -> Points:
    """A petal or leaflet along +x from the origin.

    `tip` ranges from 0 (pointed) to 1 (square); `belly` is the position of the largest width, as a share of
    the length; `notch` is the depth of the notch at its end, likewise.
    """
    half = width / 2
    end = half * tip
    upper = [
        (0, 0.15 * half),
        (belly * 0.55 * length, 0.75 * half),
        (belly * length, half),
        (0.9 * length, 0.55 * half + 0.4 * end),
    ]
    nose = [(length, 0.6 * end), (length * (1 - notch), 0.0), (length, -0.6 * end)]
    return smooth([*upper, *nose, *[(x, -y) for x, y in reversed(upper)]], 4)


def ribbon(center, widths) -> Points:
    """Outline of a strip along the center line [n, 2]; `widths` is one full width or one per point."""
    center = np.asarray(center, float)
    along = np.gradient(center, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], 1) / (np.hypot(*along.T)[:, None] + 1e-9)
    half = np.broadcast_to(np.asarray(widths, float) / 2, len(center))[:, None]
    return np.concatenate([center + normal * half, (center - normal * half)[::-1]])


def between(a, b, t):
    """Point at share `t` of the way from a to b."""
    return np.asarray(a, float) + (np.asarray(b, float) - np.asarray(a, float)) * t
