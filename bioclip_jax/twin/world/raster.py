"""Rasters of one grid: GeoTIFF and ESRI ASCII grids (.asc) to arrays, and arrays to GeoTIFF, by rasterio."""

from __future__ import annotations

import functools
import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from bioclip_jax.errors import UserError, first_line
from bioclip_jax.files import atomic_write

from .geometry import EARTH_RADIUS_M, local_meters

if TYPE_CHECKING:
    from rasterio.crs import CRS

# Named, so that GDAL opens nothing else, such as a .vrt that refers to other files.
_DRIVERS = {".tif": "GTiff", ".tiff": "GTiff", ".asc": "AAIGrid"}
_WGS84 = "EPSG:4326"


@dataclass(frozen=True)
class Grid:
    """Cells of a raster with north up.

    west, north: outer corner, and width, height: size of a cell, in the units of the coordinate reference
    system `crs` (WKT or a code such as "EPSG:32736"): meters, or degrees of longitude and latitude.
    """

    west: float
    north: float
    width: float
    height: float
    rows: int
    columns: int
    crs: str

    @functools.cached_property
    def is_geographic(self) -> bool:
        """True for degrees of longitude and latitude."""
        return bool(_crs(self.crs).is_geographic)

    @property
    def x(self) -> Float[np.ndarray, " columns"]:
        """Centers of the columns."""
        return self.west + self.width * (np.arange(self.columns) + 0.5)

    @property
    def y(self) -> Float[np.ndarray, " rows"]:
        """Centers of the rows, the northernmost first."""
        return self.north - self.height * (np.arange(self.rows) + 0.5)

    @functools.cached_property
    def cell_size_m(self) -> tuple[Float[np.ndarray, " rows"], float]:
        """Width of the cells of each row, and height of all cells, in meters; degrees are on a sphere."""
        if self.is_geographic:
            degree = math.radians(1) * EARTH_RADIUS_M
            return self.width * degree * np.cos(np.radians(self.y)), self.height * degree
        factor = _crs(self.crs).linear_units_factor[1]
        return np.full(self.rows, self.width * factor), self.height * factor

    @property
    def area_km2(self) -> Float[np.ndarray, "rows columns"]:
        """Area of each cell."""
        width, height = self.cell_size_m
        return np.repeat((width * height / 1e6)[:, None], self.columns, axis=1)

    def degrees(
        self, x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Latitudes and longitudes of coordinates of the grid."""
        from rasterio.warp import transform

        longitude, latitude = transform(_crs(self.crs), _crs(_WGS84), list(x), list(y))
        return np.array(latitude), np.array(longitude)

    def within(self, latitude: float, longitude: float, radius_m: float) -> Bool[np.ndarray, "rows columns"]:
        """Cells whose center is at most so far from a position in degrees."""
        from rasterio.warp import transform

        x, y = np.meshgrid(self.x, self.y)
        if self.is_geographic:
            meters = local_meters(y.ravel(), x.ravel(), (latitude, longitude))
            return (np.hypot(*meters.T) <= radius_m).reshape(x.shape)
        (east,), (north,) = transform(_crs(_WGS84), _crs(self.crs), [longitude], [latitude])
        return np.hypot(x - east, y - north) * _crs(self.crs).linear_units_factor[1] <= radius_m


@dataclass(frozen=True)
class Raster:
    """Values on a grid, NaN where there are none; `path`: its file, for messages."""

    values: Float[np.ndarray, "rows columns"]
    grid: Grid
    path: str = ""


def read_raster(path: str | os.PathLike[str], crs: str | None = None) -> Raster:
    """Read a raster of one band. crs: coordinate reference system of a file that does not name its own.

    Raises UserError for a file that is not a readable GeoTIFF or .asc, has several bands, no georeference or
    no values, is rotated, or is neither in a unit of length nor in degrees.
    """
    import rasterio

    if not Path(path).is_file():
        raise UserError(f"the raster {path} does not exist; give a GeoTIFF or an .asc")
    driver = _DRIVERS.get(Path(path).suffix.lower())
    if driver is None:
        raise UserError(f"the raster {path} has the name of another format; give a .tif or an .asc")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path, driver=driver) as source:
                if source.count != 1:
                    raise UserError(f"the raster {path} has {source.count} bands; give one of one band")
                if np.dtype(source.dtypes[0]).kind == "c":
                    raise UserError(f"the raster {path} holds complex numbers; give real ones")
                transform, own = source.transform, source.crs
                values = source.read(1, masked=True).astype(float).filled(np.nan)
    except rasterio.errors.RasterioError as error:
        reason = first_line(error)
        raise UserError(
            f"the raster {path} is not a readable GeoTIFF or .asc ({reason}); write it again"
        ) from None
    if transform.is_identity:
        raise UserError(f"the raster {path} has no georeference; write it again with its position")
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        raise UserError(f"the raster {path} is rotated or upside down; warp it so that north is up")
    if own is None and crs is None:
        raise UserError(
            f"the raster {path} does not name its coordinate reference system; name it in [rasters], as "
            'crs = "EPSG:32736"'
        )
    reference = _crs(crs if own is None else own.to_wkt())
    if not (reference.is_geographic or reference.is_projected):
        raise UserError(f"the raster {path} is in a local system; warp it to UTM, or to degrees")
    values[~np.isfinite(values)] = np.nan
    if np.isnan(values).all():
        raise UserError(f"the raster {path} has no values, only no-data; write it again")
    rows, columns = values.shape
    grid = Grid(transform.c, transform.f, transform.a, -transform.e, rows, columns, reference.to_wkt())
    return Raster(values, grid, str(path))


def write_raster(path: Path, values: Float[np.ndarray, "rows columns"], grid: Grid) -> None:
    """Write a compressed GeoTIFF of the values' own type; equal values have equal bytes.

    NaN means no value in floating-point rasters; integers have none.
    """
    import rasterio

    if values.shape != (grid.rows, grid.columns):
        raise ValueError(f"{values.shape} values on a grid of {grid.rows} x {grid.columns} cells")
    with (
        atomic_write(path) as partial,
        rasterio.open(
            partial,
            "w",
            driver="GTiff",
            height=grid.rows,
            width=grid.columns,
            count=1,
            dtype=values.dtype,
            crs=_crs(grid.crs),
            transform=rasterio.Affine(grid.width, 0, grid.west, 0, -grid.height, grid.north),
            nodata=math.nan if values.dtype.kind == "f" else None,
            compress="deflate",
        ) as target,
    ):
        target.write(values, 1)


def check_same_grid(first: Raster, other: Raster) -> None:
    """Raise UserError if two rasters are not on one grid."""
    a, b = first.grid, other.grid
    tolerance = 1e-3 * min(a.width, a.height)
    corners = all(
        math.isclose(getattr(a, name), getattr(b, name), rel_tol=0, abs_tol=tolerance)
        for name in ("west", "north")
    )
    cells = all(
        math.isclose(getattr(a, name), getattr(b, name), rel_tol=1e-6) for name in ("width", "height")
    )
    difference = ""
    if (a.rows, a.columns) != (b.rows, b.columns):
        difference = f"{a.rows} x {a.columns} cells against {b.rows} x {b.columns}"
    elif not cells:
        difference = f"cells of {a.width:g} x {a.height:g} against {b.width:g} x {b.height:g}"
    elif not corners:
        difference = f"a corner at {a.west:g}, {a.north:g} against {b.west:g}, {b.north:g}"
    elif _crs(a.crs) != _crs(b.crs):
        difference = "another coordinate reference system"
    if difference:
        raise UserError(
            f"the rasters {first.path} and {other.path} differ in their grid ({difference}); warp them to one"
        )


@functools.lru_cache(maxsize=8)
def _crs(text: str) -> CRS:
    """rasterio's coordinate reference system. Raises UserError for a text that is none."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return CRS.from_user_input(text)
    except (CRSError, ValueError) as error:
        raise UserError(
            f"{text!r} is not a coordinate reference system ({first_line(error)}); give one, as EPSG:32736"
        ) from None
