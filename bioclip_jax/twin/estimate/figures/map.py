"""Map of the sites at the precision that their positions have: no more is drawn than the numbers say."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from bioclip_jax.plots import GRID, HUES, INK, MUTED, new_figure

from .names import fitted_name, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KM_PER_DEGREE = 111.195
_MOST_SPECIES = 8
_PRECISE = 4  # decimals of labels where positions are not on a grid
_NICE = (1, 2, 5)
_WIDTH, _TITLE, _LEFT, _BOTTOM, _GAP = 7.6, 0.42, 0.72, 0.62, 0.16  # inches
_LINE, _LETTERS_PER_INCH = 0.15, 18  # of the caption
# Points: a smaller cell is drawn as a dot, and the number of sites is written into larger ones.
_SMALLEST_CELL, _NUMBERED_CELL = 4.0, 11.0
# Width of the drawn area by its height, at most and at least.
_WIDEST, _NARROWEST = 1.6, 0.75
_STRIP = 0.13  # of the height, for the scale bar


@dataclass(frozen=True)
class _Cells:
    """Cells, or places where positions are precise, with what was recorded in each."""

    latitude: Float[np.ndarray, " cells"]
    longitude: Float[np.ndarray, " cells"]
    sites: Int[np.ndarray, " cells"]
    effort_days: Float[np.ndarray, " cells"]
    rates: Mapping[str, Float[np.ndarray, " cells"]]
    decimals: int | None

    @property
    def degrees(self) -> float:
        """Side of a cell, 0 for a place."""
        return 0.0 if self.decimals is None else 10.0**-self.decimals


def draw_map(sites: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Draw the cells of the sites, and events per camera day of the most frequent species in each.

    sites: rows with "latitude", "longitude" (None: not drawn), "effort_days" and "events" (by species), as
    the table of sites of `twin estimate`. Positions with at most 3 decimals are on a grid and drawn as its
    cells, labeled with as many decimals. path: a PNG, PDF or SVG. There is no base map, which would need a
    network and show more than is shared. Returns False, and writes nothing, if no site has a position.
    """
    placed = [site for site in sites if site["latitude"] is not None and site["longitude"] is not None]
    if not placed:
        return False
    cells = _cells(placed)
    species = sorted(cells.rates, key=lambda name: (-_total(placed, name), name))
    # In a single cell there is nothing to compare.
    most = _MOST_SPECIES if len(cells.sites) > 1 else 0
    species = [name for name in species if _total(placed, name) > 0][:most]
    west, east, south, north = _extent(cells)
    columns = 1 if not species else 2 if len(species) <= 3 else 3
    rows = math.ceil((1 + len(species)) / columns)
    shrink = _shrink(south, north)
    ratio = (east - west) * shrink / (north - south)
    width = (_WIDTH - _LEFT - _GAP * columns) / columns if species else 4.6
    panel_height = width / ratio
    figure_width = _LEFT + columns * (width + _GAP)
    caption = textwrap.wrap(_caption(cells, len(species)), int(figure_width * _LETTERS_PER_INCH))
    below = _BOTTOM + _LINE * (len(caption) - 1)
    height = rows * (panel_height + _TITLE) + below
    figure = new_figure(figure_width, height)
    for number, name in enumerate([None, *species]):
        row, column = divmod(number, columns)
        x = _LEFT + column * (width + _GAP)
        y = height - (row + 1) * (panel_height + _TITLE)
        axes = figure.add_axes(
            (x / figure_width, y / height, width / figure_width, panel_height / height),
            xlim=(west, east), ylim=(south, north), aspect=1 / shrink,
        )  # fmt: skip
        last = number + columns > len(species)
        _draw_graticule(axes, cells.decimals, x_labels=last, y_labels=column == 0)
        if name is None:
            _draw_effort(axes, cells)
            _draw_scale(axes, shrink)
        else:
            _draw_species(axes, cells, name)
    figure.text(0.12 / figure_width, 0.1 / height, "\n".join(caption), fontsize=7.5, color=MUTED, va="bottom")
    save(figure, path)
    return True


def _caption(cells: _Cells, shown: int) -> str:
    text = (
        "Positions as recorded."
        if cells.decimals is None
        else f"Positions are generalized to cells of {cells.degrees:g}°; several sites may share one."
    )
    if shown:
        text += " Circles: area is events per 100 camera days; +: none."
    if len(cells.rates) > shown > 0:
        text += f" Of {len(cells.rates)} species, the {shown} with the most events."
    return text


def _total(sites: Sequence[Mapping[str, Any]], name: str) -> float:
    return sum(site["events"].get(name, 0) for site in sites)


def _seen(sites: Sequence[Mapping[str, Any]]) -> set[str]:
    return {name for site in sites for name, count in site["events"].items() if count > 0}


def _cells(sites: Sequence[Mapping[str, Any]]) -> _Cells:
    latitude = np.array([site["latitude"] for site in sites], float)
    longitude = np.array([site["longitude"] for site in sites], float)
    decimals = next(
        (
            places
            for places in (1, 2, 3)
            if np.array_equal(latitude.round(places), latitude)
            and np.array_equal(longitude.round(places), longitude)
        ),
        None,
    )
    if np.ptp(longitude) > 180:
        # Sites on both sides of the antimeridian are neighbors.
        longitude = np.where(longitude < 0, longitude + 360, longitude)
    places, index = np.unique(np.stack([latitude, longitude], 1), axis=0, return_inverse=True)
    index = index.ravel()

    def total(values: Sequence[float]) -> Float[np.ndarray, " cells"]:
        return np.bincount(index, np.asarray(values, float), len(places))

    effort = total([site["effort_days"] for site in sites])
    days = np.where(effort > 0, effort, np.nan)
    return _Cells(
        *places.T,
        np.bincount(index),
        effort,
        {
            name: 100 * total([site["events"].get(name, 0) for site in sites]) / days
            for name in sorted(_seen(sites))
        },
        decimals,
    )


def _shrink(south: float, north: float) -> float:
    """Length of a degree of longitude in degrees of latitude, in the middle of the map."""
    return max(math.cos(math.radians((south + north) / 2)), 0.05)


def _extent(cells: _Cells) -> tuple[float, float, float, float]:
    """West, east, south and north of the map, of a shape that fits a panel."""
    half = cells.degrees / 2
    south, north = cells.latitude.min() - half, cells.latitude.max() + half
    west, east = cells.longitude.min() - half, cells.longitude.max() + half
    shrink = _shrink(south, north)
    least = 2.4 * cells.degrees or 0.01
    tall = max(1.16 * (north - south), least)
    wide = max(1.16 * (east - west) * shrink, least)
    tall, wide = max(tall, wide / _WIDEST), max(wide, tall * _NARROWEST)
    y, x = (south + north) / 2, (west + east) / 2
    # Below all cells is room for the scale bar.
    bottom = y - tall / 2 - _STRIP / (1 - _STRIP) * tall
    return x - wide / shrink / 2, x + wide / shrink / 2, bottom, y + tall / 2


def _draw_graticule(axes: Axes, decimals: int | None, *, x_labels: bool, y_labels: bool) -> None:
    for axis, limits, directions, shown in (
        (axes.xaxis, axes.get_xlim(), "EW", x_labels),
        (axes.yaxis, axes.get_ylim(), "NS", y_labels),
    ):
        step = _step(limits[1] - limits[0], _PRECISE if decimals is None else decimals)
        ticks = np.arange(math.ceil(limits[0] / step), math.floor(limits[1] / step) + 1) * step
        places = max(0, -math.floor(math.log10(step) + 1e-9))
        axis.set_ticks(ticks, [_degrees(tick, places, directions) if shown else "" for tick in ticks])
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[:].set(color=MUTED, linewidth=0.6)
    axes.tick_params(length=2.5, width=0.6, color=MUTED, labelsize=7, labelcolor=MUTED)


def _step(span: float, decimals: int) -> float:
    """Distance of graticule lines: about four in a span, and not finer than the decimals."""
    least = max(span / 4.2, 10.0**-decimals * 0.999)
    power = 10.0 ** math.floor(math.log10(least))
    return next(nice * power for nice in (*_NICE, 10) if nice * power >= least)


def _degrees(value: float, places: int, directions: str) -> str:
    if directions == "EW":
        value = (value + 180) % 360 - 180
    text = f"{abs(value):.{places}f}°"
    return text if float(f"{value:.{places}f}") in (-180, 0) else f"{text} {directions[int(value < 0)]}"


def _draw_effort(axes: Axes, cells: _Cells) -> None:
    """Cells shaded by camera days, with the number of sites in each where there is room."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    axes.set_title("sites and camera days", loc="left", fontsize=8.5, color=INK, pad=13)
    most = max(cells.effort_days.max(), 1e-9)
    shades = colormaps["Blues"](0.15 + 0.65 * cells.effort_days / most)
    pixels = axes.transData.transform([[0, 0], [cells.degrees, cells.degrees]])
    side = min(np.diff(pixels, axis=0)[0]) / axes.figure.dpi * 72
    if side < _SMALLEST_CELL:
        axes.scatter(
            cells.longitude, cells.latitude, s=26, c=shades, edgecolors=INK, linewidths=0.6, zorder=3
        )
    for row in range(len(cells.sites) if side >= _SMALLEST_CELL else 0):
        corner = cells.longitude[row] - cells.degrees / 2, cells.latitude[row] - cells.degrees / 2
        axes.add_patch(
            Rectangle(
                corner,
                cells.degrees,
                cells.degrees,
                facecolor=shades[row],
                edgecolor="white",
                lw=0.5,
                zorder=2,
            )
        )
        if side > _NUMBERED_CELL:
            dark = cells.effort_days[row] / most > 0.6
            axes.text(
                cells.longitude[row], cells.latitude[row], f"{cells.sites[row]}", fontsize=min(8, side * 0.5),
                color="white" if dark else INK, ha="center", va="center", zorder=3,
            )  # fmt: skip
    number = "number: sites; shade" if side > _NUMBERED_CELL else "shade"
    days = f"{cells.effort_days.min():,.0f} to {most:,.0f}" if len(cells.sites) > 1 else f"{most:,.0f}"
    _write_below_title(axes, f"{number}: {days} camera days")


def _draw_species(axes: Axes, cells: _Cells, name: str) -> None:
    """Circles whose area is events per 100 camera days; crosses where there was no event."""
    style: dict[str, Any] = {"fontsize": 8.5, "style": "italic"}
    width = axes.get_window_extent().width / axes.figure.dpi
    text = fitted_name(axes.figure, name, width, **style)
    axes.set_title(text, loc="left", color=INK, pad=13, **style)
    rates = cells.rates[name]
    detected, absent = rates > 0, rates == 0
    axes.plot(cells.longitude[absent], cells.latitude[absent], "+", color=MUTED, ms=4, mew=0.7, zorder=2)
    most = np.nanmax(rates)
    axes.scatter(
        cells.longitude[detected], cells.latitude[detected], s=4 + 150 * rates[detected] / most,
        color=HUES[1], alpha=0.75, edgecolors=INK, linewidths=0.5, zorder=3,
    )  # fmt: skip
    _write_below_title(axes, f"largest circle: {most:.3g} per 100 days")


def _write_below_title(axes: Axes, text: str) -> None:
    axes.annotate(
        text, (0, 1), xytext=(0, 4), xycoords="axes fraction", textcoords="offset points", fontsize=6.5,
        color=MUTED, va="bottom",
    )  # fmt: skip


def _draw_scale(axes: Axes, shrink: float) -> None:
    """A scale bar, right at the latitude in the middle of the map, and an arrow to the north."""
    from bioclip_jax.plots import halo

    west, east = axes.get_xlim()
    width_km = (east - west) * shrink * _KM_PER_DEGREE
    power = 10.0 ** math.floor(math.log10(width_km / 4))
    length = max(nice * power for nice in _NICE if nice * power <= width_km / 4)
    share = length / width_km
    axes.plot(
        [0.04, 0.04 + share], [0.035, 0.035], transform=axes.transAxes, color=INK, lw=1.6, zorder=6,
        solid_capstyle="butt", path_effects=halo(),
    )  # fmt: skip
    text = f"{length:g} km" if length >= 1 else f"{1000 * length:g} m"
    axes.text(
        0.04 + share / 2, 0.05, text, transform=axes.transAxes, ha="center", va="bottom", fontsize=7,
        color=INK, zorder=6, path_effects=halo(),
    )  # fmt: skip
    axes.annotate(
        "N", (0.94, 0.13), xytext=(0.94, 0.015), xycoords="axes fraction", fontsize=8, color=INK, ha="center",
        va="bottom", arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 0.9}, zorder=6,
    )  # fmt: skip
