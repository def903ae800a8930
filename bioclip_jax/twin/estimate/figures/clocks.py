"""Activity over the day: a 24-hour clock for each species."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import listing
from bioclip_jax.plots import GRID, HUES, INK, MUTED, darker, new_figure

from .names import fitted_name, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DAY, _NIGHT = HUES[0], "#dfe3ec"
_WIDTH, _MARGIN, _TITLE, _HOUR = 7.6, 0.12, 0.42, 0.17  # inches
_CAPTION, _LINE = 0.34, 0.15
_POINTS = 240  # of a curve


def draw_activity(result: Mapping[str, Any], path: Path) -> None:
    """Draw the activity curve of each species on a clock of true solar time, midnight on top, clockwise.

    result: as `twin estimate` returns it. path: a PNG, PDF or SVG. Each curve is scaled to its peak; the
    dashed circle is the density of an animal that is equally active all day; the night is shaded. Species
    with too few events for a curve are named below.
    """
    activities = {name: values["activity"] for name, values in sorted(result["species"].items())}
    drawn = {name: values for name, values in activities.items() if values and values["solar_hour"]}
    columns = min(max(len(drawn), 1), 3 if len(drawn) <= 3 else 4 if len(drawn) <= 16 else 5)
    side = min((_WIDTH - 2 * _MARGIN) / columns, 2.6)
    rows = math.ceil(len(drawn) / columns)
    night = tuple(result["daylight"][end] for end in ("sunset", "sunrise"))
    caption = _caption([name for name in activities if name not in drawn], night)
    below = _CAPTION + _LINE * len(caption)
    height = 2 * _MARGIN + rows * (side + _TITLE - 0.1) + below
    figure = new_figure(_WIDTH, height)
    # One pair of axes in inches: polar axes take a tenth of a second each.
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, _WIDTH), ylim=(0, height))
    axes.axis("off")
    left = (_WIDTH - columns * side) / 2
    radius = side / 2 - _HOUR - 0.06
    for number, (name, activity) in enumerate(drawn.items()):
        row, column = divmod(number, columns)
        x = left + (column + 0.5) * side
        top = height - _MARGIN - row * (side + _TITLE - 0.1)
        y = top - _TITLE - side / 2 + 0.1
        _draw_clock(axes, x, y, radius, np.asarray(activity["solar_hour"], float), night)
        _draw_title(axes, x, top, name, activity["events"], side)
    for number, line in enumerate(caption):
        axes.text(_MARGIN + 0.05, below - 0.12 - _LINE * number, line, fontsize=7.5, color=MUTED, va="top")
    save(figure, path)


def _draw_clock(
    axes: Axes,
    x: float,
    y: float,
    radius: float,
    hours: Float[np.ndarray, "24"],
    night: tuple[float, float],
) -> None:
    from matplotlib.patches import Circle, Polygon, Wedge

    # Degrees count counterclockwise from the right, which is 6 h; night is from sunset to sunrise.
    sunset, sunrise = (90 - 15 * hour for hour in night)
    if sunrise > sunset - 360:
        axes.add_patch(Wedge((x, y), radius, sunrise, sunset, facecolor=_NIGHT, edgecolor="none"))
    axes.add_patch(Circle((x, y), radius, facecolor="none", edgecolor=MUTED, lw=0.7))
    for hour in range(0, 24, 3):
        end = radius * np.array(_direction(hour))
        dark = not night[1] < hour < night[0]
        axes.plot([x, x + end[0]], [y, y + end[1]], color="white" if dark else GRID, lw=0.7)
    curve = density_curve(hours)
    peak = curve.max()
    angles = np.arange(_POINTS) * (24 / _POINTS)
    points = (curve / peak * radius * 0.97)[:, None] * np.array(_direction(angles)).T + (x, y)
    axes.add_patch(Polygon(points, facecolor=(*_rgb(_DAY), 0.35), edgecolor=darker(_DAY), lw=1.2, zorder=3))
    even = radius * 0.97 / (24 * peak)
    axes.add_patch(
        Circle((x, y), even, facecolor="none", edgecolor=HUES[5], lw=0.9, ls=(0, (3, 2)), zorder=4)
    )
    for hour in (0, 6, 12, 18):
        dx, dy = (radius + 0.11) * np.array(_direction(hour))
        axes.text(x + dx, y + dy, f"{hour}", fontsize=7, color=MUTED, ha="center", va="center")


def _draw_title(axes: Axes, x: float, top: float, name: str, events: float, side: float) -> None:
    style: dict[str, Any] = {"fontsize": 8.5 if side > 1.6 else 7, "style": "italic"}
    text = fitted_name(axes.figure, name, side - 0.06, **style)
    axes.text(x, top - 0.08, text, color=INK, ha="center", va="top", **style)
    # Events are weighted by the probability that they are of the species.
    axes.text(x, top - 0.24, f"{events:,.0f} events", fontsize=7, color=MUTED, ha="center", va="top")


def density_curve(hours: Float[np.ndarray, "24"], points: int = _POINTS) -> Float[np.ndarray, " points"]:
    """Return density per hour at even times from midnight on, from the shares of 24 hours.

    It is a periodic spline whose integral over each hour is that hour's share.
    """
    from scipy.interpolate import CubicSpline

    total = hours.sum()
    cumulative = np.concatenate([[0.0], np.cumsum(hours / total)])
    # The cumulative density less its mean rise is periodic.
    spline = CubicSpline(np.arange(25), cumulative - np.arange(25) / 24, bc_type="periodic")
    return np.maximum(spline(np.arange(points) * (24 / points), 1) + 1 / 24, 0.0)


def _direction(hour: Any) -> tuple[Any, Any]:
    """Unit vector of an hour: midnight is up, and time runs clockwise."""
    angle = 2 * np.pi * np.asarray(hour) / 24
    return np.sin(angle), np.cos(angle)


def _rgb(color: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(color)


def _caption(missing: list[str], night: tuple[float, float]) -> list[str]:
    sunset, sunrise = (f"{minutes // 60}:{minutes % 60:02d}" for minutes in (round(60 * t) for t in night))
    lines = [
        f"Activity density in true solar time, midnight on top; night, {sunset} to {sunrise} on average, is "
        "shaded. Each curve is scaled to its peak; dashed: equally active all day."
    ]
    if missing:
        lines.append(f"Too few events for a curve: {listing(missing, 20)}.")
    return [part for line in lines for part in textwrap.wrap(line, 138)]
