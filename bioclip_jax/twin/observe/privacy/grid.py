"""Coordinates generalized to the grid of a sensitivity category.

Source: Chapman 2020, Current best practices for generalizing sensitive species occurrence data, GBIF
(https://doi.org/10.15468/doc-5jp4-5g10): a grid, never jitter, since the mean of a place's jittered records
converges to that place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import UserError
from bioclip_jax.twin.observe.camtrap_dp import MISSING

if TYPE_CHECKING:
    import polars as pl

# Meters of a degree, at most: along a meridian at a pole.
_METERS_PER_DEGREE = 111_700


@dataclass(frozen=True)
class Category:
    """Decimals of a generalized coordinate, and the least radius in meters that is stated for it."""

    decimals: int
    uncertainty_m: int

    @property
    def degrees(self) -> float:
        """Side of a cell."""
        return round(10.0**-self.decimals, self.decimals)

    @property
    def half_diagonal_m(self) -> int:
        """The farthest that a place is from the center of its cell, which is at the equator."""
        return math.ceil(self.degrees / math.sqrt(2) * _METERS_PER_DEGREE)


# Category 1 is withheld, so it has no grid. The radii are the diagonals of the cells at the equator, which
# would cover a place even from a corner of its cell.
CATEGORIES = {2: Category(1, 15_700), 3: Category(2, 1_570), 4: Category(3, 157)}


def coarsen(
    latitude: Float[np.ndarray, " n"], longitude: Float[np.ndarray, " n"], category: int
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return the centers of the cells in which places are, in degrees; NaN stays NaN.

    Cells are centered on the multiples of 0.1, 0.01 or 0.001 degrees (categories 2, 3, 4), so a center is its
    coordinate rounded: it has no more decimals than the grid, is the point of its cell that is the least far
    from any other, and stays in place if coarsened again. The meridian of 180 degrees is -180.
    """
    latitude_cell, longitude_cell = _cells(latitude, longitude, category)
    scale = 10 ** CATEGORIES[category].decimals
    return latitude_cell / scale, longitude_cell / scale


def _cells(
    latitude: Float[np.ndarray, " n"], longitude: Float[np.ndarray, " n"], category: int
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return indices of cells as whole floats, which may be NaN; 0.0 is added so that none is -0.0."""
    scale = 10 ** _grid(category).decimals
    north = np.rint(np.asarray(latitude, np.float64) * scale) + 0.0
    east = np.rint(np.asarray(longitude, np.float64) * scale) + 0.0
    return north, np.where(east == 180 * scale, -east, east)


def _grid(category: int) -> Category:
    if category not in CATEGORIES:
        raise UserError(
            f"sensitivity category {category} has no grid; coordinates are generalized to category 2 (0.1 "
            "degrees), 3 (0.01) or 4 (0.001)"
        )
    return CATEGORIES[category]


def coarsen_deployments(deployments: pl.DataFrame, category: int) -> pl.DataFrame:
    """Return deployments of a Camtrap DP with the centers of their cells and the uncertainty raised.

    All columns are text; an empty coordinate stays empty. coordinateUncertainty is a category's figure, or
    the given uncertainty and half a cell's diagonal together where that is more; deployments that are all on
    the grid already are not moved, so nothing is added to theirs. Raises UserError for a coordinate or
    uncertainty that is not a number in its range.
    """
    import polars as pl

    grid = _grid(category)
    latitude, longitude = positions(deployments)
    scale, decimals = 10**grid.decimals, grid.decimals
    cells = _cells(latitude, longitude, category)
    moved = any(
        not np.array_equal(values, cell / scale, equal_nan=True)
        for values, cell in zip((latitude, np.where(longitude == 180, -180.0, longitude)), cells, strict=True)
    )
    given = _numbers(deployments, "coordinateUncertainty", 0, np.inf)
    stated = given + (grid.half_diagonal_m if moved else 0)
    uncertainty = np.fmax(np.ceil(stated), grid.uncertainty_m).astype(np.int64)
    texts: dict[str, list[str]] = {
        name: ["" if np.isnan(cell) else f"{cell / scale:.{decimals}f}" for cell in cell_indices]
        for name, cell_indices in zip(("latitude", "longitude"), cells, strict=True)
    }
    texts["coordinateUncertainty"] = [
        "" if np.isnan(place) else str(radius) for place, radius in zip(latitude, uncertainty, strict=True)
    ]
    return deployments.with_columns(pl.Series(name, values, pl.String) for name, values in texts.items())


def positions(
    deployments: pl.DataFrame,
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return latitude and longitude of deployments in degrees, NaN where both are empty.

    Raises UserError for a coordinate that is not a number, is out of range or is without its other half.
    """
    latitude = _numbers(deployments, "latitude", -90, 90)
    longitude = _numbers(deployments, "longitude", -180, 180)
    half = np.isnan(latitude) != np.isnan(longitude)
    if half.any():
        row = int(half.argmax())
        raise UserError(
            f"deployments, row {row + 2:,}: latitude is {_cell(deployments, 'latitude', row)!r} and "
            f"longitude {_cell(deployments, 'longitude', row)!r}; give both"
        )
    return latitude, longitude


def _cell(deployments: pl.DataFrame, name: str, row: int) -> str:
    return deployments[name][row] if name in deployments.columns else ""


def _numbers(deployments: pl.DataFrame, name: str, least: float, most: float) -> Float[np.ndarray, " n"]:
    """Return a text column as numbers, NaN for an empty cell or a missing column."""
    import polars as pl

    if name not in deployments.columns:
        return np.full(deployments.height, np.nan)
    texts = deployments[name].str.strip_chars().replace(list(MISSING), None)
    numbers = texts.cast(pl.Float64, strict=False)
    bad = texts.is_not_null() & ~numbers.is_between(least, most).fill_null(False)
    if bad.any():
        row = bad.arg_true()[0]
        limits = f"from {least} to {most}" if np.isfinite(most) else f"of at least {least}"
        raise UserError(f"deployments, row {row + 2:,}: {name} is {texts[row]!r}; give a number {limits}")
    return numbers.fill_null(np.nan).to_numpy()
