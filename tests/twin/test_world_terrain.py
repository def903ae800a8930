"""Rasters, slope, distance to water and daylight of a twin's world."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from bioclip_jax.errors import UserError
from bioclip_jax.twin.world import (
    Grid,
    Patch,
    daylight_hours,
    distance_m,
    read_raster,
    slope_degrees,
    write_raster,
)

UTM = Grid(720_000, 9_750_000, 30, 20, 25, 40, "EPSG:32736")
DEGREES = Grid(34.0, 61.0, 0.02, 0.01, 30, 20, "EPSG:4326")


def test_raster_round_trip_and_equal_bytes(tmp_path):
    values = np.random.default_rng(0).normal(size=(25, 40)).astype("float32")
    values[3, 4] = np.nan
    for name in ("a.tif", "b.tif"):
        write_raster(tmp_path / name, values, UTM)
    raster = read_raster(tmp_path / "a.tif")
    np.testing.assert_array_equal(raster.values, values.astype(float))
    assert (raster.grid.west, raster.grid.north) == (720_000, 9_750_000)
    assert (raster.grid.width, raster.grid.height) == (30, 20)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_ascii_grid_with_a_named_crs(tmp_path):
    path = tmp_path / "a.asc"
    path.write_text(
        "ncols 3\nnrows 2\nxllcorner 720000\nyllcorner 9750000\ncellsize 100\nNODATA_value -9999\n"
        "1 2 3\n4 -9999 6\n"
    )
    with pytest.raises(UserError, match='crs = "EPSG:32736"'):
        read_raster(path)
    raster = read_raster(path, "EPSG:32736")
    np.testing.assert_array_equal(raster.values, [[1, 2, 3], [4, np.nan, 6]])
    np.testing.assert_array_equal(raster.grid.x, [720_050, 720_150, 720_250])
    np.testing.assert_array_equal(raster.grid.y, [9_750_150, 9_750_050])


def test_positions_of_cells_in_degrees():
    """UTM: the central meridian of zone 36 is 33° east, false easting 500 km, false northing 10,000 km."""
    latitude, longitude = UTM.degrees(np.array([500_000.0]), np.array([10_000_000.0]))
    assert latitude[0] == pytest.approx(0, abs=1e-9)
    assert longitude[0] == pytest.approx(33, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"count": 2}, "2 bands"),
        ({"transform": rasterio.Affine.identity()}, "no georeference"),
        ({"transform": rasterio.Affine(30, 5, 720_000, 5, -30, 9_750_000)}, "rotated"),
        ({"transform": rasterio.Affine(30, 0, 720_000, 0, 30, 9_750_000)}, "upside down"),
        ({"crs": None}, "coordinate reference system"),
        ({"nodata": 1.0}, "only no-data"),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_unusable_rasters_are_one_line(tmp_path, change, part):
    path = tmp_path / "a.tif"
    options = {
        "driver": "GTiff",
        "height": 4,
        "width": 5,
        "count": 1,
        "dtype": "float32",
        "crs": "EPSG:32736",
        "transform": rasterio.Affine(30, 0, 720_000, 0, -30, 9_750_000),
    }
    with rasterio.open(path, "w", **options | change) as target:
        target.write(np.ones((change.get("count", 1), 4, 5), "float32"))
    with pytest.raises(UserError) as error:
        read_raster(path)
    assert part in str(error.value) and str(path) in str(error.value)


def test_files_that_are_no_rasters(tmp_path):
    (tmp_path / "a.tif").write_text("elevation")
    (tmp_path / "a.asc").write_text("")
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    for name, part in {
        "a.tif": "not a readable",
        "a.asc": "not a readable",
        "a.png": "another format",
    }.items():
        with pytest.raises(UserError, match=part):
            read_raster(tmp_path / name)
    with pytest.raises(UserError, match="does not exist"):
        read_raster(tmp_path / "b.tif")
    with pytest.raises(UserError, match="EPSG:nonsense"):
        (tmp_path / "a.asc").write_text("ncols 1\nnrows 1\nxllcorner 5\nyllcorner 5\ncellsize 1\n1\n")
        read_raster(tmp_path / "a.asc", "EPSG:nonsense")


def test_slope_of_a_plane_is_exact_to_the_border():
    x, y = np.meshgrid(UTM.x, UTM.y)
    plane = 0.3 * (x - UTM.west) - 0.4 * (y - UTM.y[0])
    np.testing.assert_allclose(slope_degrees(plane, UTM), np.degrees(np.arctan(0.5)), rtol=1e-9)


def test_slope_is_horns():
    """Horn's weights are those of Sobel's operator, whose sum of absolute weights on a side is 4."""
    elevation = np.random.default_rng(1).normal(scale=30, size=(25, 40))
    x = ndimage.sobel(elevation, axis=1) / (8 * 30)
    y = ndimage.sobel(elevation, axis=0) / (8 * 20)
    expected = np.degrees(np.arctan(np.sqrt(x**2 + y**2)))
    np.testing.assert_allclose(slope_degrees(elevation, UTM)[1:-1, 1:-1], expected[1:-1, 1:-1], rtol=1e-12)


def test_slope_beside_missing_elevation_is_missing():
    elevation = np.zeros((5, 6))
    elevation[2, 2] = np.nan
    missing = np.isnan(slope_degrees(elevation, Grid(0, 100, 10, 10, 5, 6, "EPSG:32736")))
    expected = np.zeros((5, 6), bool)
    expected[1:4, 1:4] = True
    np.testing.assert_array_equal(missing, expected)


def test_slope_in_degrees_uses_the_width_of_each_row():
    """1 m per 0.02° of longitude at 60.9° and 60.7° north."""
    eastward = np.tile(np.arange(20.0), (30, 1))
    slope = slope_degrees(eastward, DEGREES)
    for row in (10, 29):
        width = 6_371_008.8 * np.radians(0.02) * np.cos(np.radians(DEGREES.y[row]))
        np.testing.assert_allclose(slope[row], np.degrees(np.arctan(1 / width)), rtol=1e-9)


def test_distance_is_that_of_the_nearest_of_all_cells():
    water = np.random.default_rng(2).random((25, 40)) < 0.01
    assert water.any()
    x, y = np.meshgrid(UTM.x, UTM.y)
    expected = np.hypot(x[..., None] - x[water], y[..., None] - y[water]).min(axis=-1)
    np.testing.assert_allclose(distance_m(water, UTM), expected, rtol=1e-12)


def test_distance_in_degrees_is_along_great_circles():
    water = np.zeros((30, 20), bool)
    water[4, 3] = True
    longitude, latitude = np.radians(np.meshgrid(DEGREES.x, DEGREES.y))
    a = np.sin((latitude - latitude[4, 3]) / 2) ** 2
    a += np.cos(latitude) * np.cos(latitude[4, 3]) * np.sin((longitude - longitude[4, 3]) / 2) ** 2
    haversine = 2 * 6_371_008.8 * np.arcsin(np.sqrt(a))
    np.testing.assert_allclose(distance_m(water, DEGREES), haversine, rtol=1e-6, atol=1e-3)


def test_distance_without_water_is_infinite():
    assert np.isinf(distance_m(np.zeros((25, 40), bool), UTM)).all()


def test_area_of_cells():
    assert UTM.area_km2.sum() == pytest.approx(25 * 40 * 30 * 20 / 1e6)
    # A spherical rectangle has the area R² Δλ (sin φ1 − sin φ2).
    south, north = np.radians([60.7, 61.0])
    expected = 6371.0088**2 * np.radians(0.4) * (np.sin(north) - np.sin(south))
    assert DEGREES.area_km2.sum() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("grid", [UTM, DEGREES, Grid(500_000, 7_000_000, 100, 100, 200, 200, "EPSG:32636")])
def test_cells_of_a_circle_have_its_area(grid):
    row, column = grid.rows // 2, grid.columns // 2
    latitude, longitude = grid.degrees(grid.x[[column]], grid.y[[row]])
    radius = 0.35 * min(grid.rows * grid.cell_size_m[1], grid.columns * grid.cell_size_m[0].min())
    inside = grid.within(float(latitude[0]), float(longitude[0]), radius)
    assert inside[row, column]
    assert grid.area_km2[inside].sum() == pytest.approx(np.pi * radius**2 / 1e6, rel=0.06)


def test_daylight_by_the_sunrise_equation():
    """cos ω = (sin −0.833° − sin φ sin δ) / (cos φ cos δ); δ = ±23.44° at the solstices, 0 at equinoxes."""
    patches = [Patch("north", 1, 52.0, 5.0), Patch("equator", 1, 0.0, 35.0), Patch("polar", 1, 75.0, 20.0)]
    days = np.array(["2021-06-21", "2021-12-21", "2021-03-20"], "datetime64[D]")
    expected = np.empty((3, 3))
    for i, declination in enumerate(np.radians([23.44, -23.44, 0.0])):
        for j, latitude in enumerate(np.radians([52.0, 0.0, 75.0])):
            cosine = np.sin(np.radians(-0.833)) - np.sin(latitude) * np.sin(declination)
            cosine /= np.cos(latitude) * np.cos(declination)
            expected[i, j] = 24 / np.pi * np.arccos(np.clip(cosine, -1, 1))
    assert expected[0, 2] == 24 and expected[1, 2] == 0
    # The equinox is at 09:37 UTC, so that the declination is not quite 0 at sunset.
    np.testing.assert_allclose(daylight_hours(patches, days), expected, atol=0.05)
