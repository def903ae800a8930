"""Distances, barriers, extents and climate series of a twin's world."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.twin.world import Barrier, Climate, Extent, Patch, Twin, climate_series, geometry
from bioclip_jax.twin.world.climate_table import read_climate
from bioclip_jax.twin.world.geometry import local_meters, separated

SQUARE = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
MONTHS = [(month, 10 * month, 20) for month in range(1, 13)]


def _pairs(line) -> set[tuple[int, int]]:
    matrix = separated(SQUARE, line)
    assert (matrix == matrix.T).all() and not matrix.diagonal().any()
    return {(int(i), int(j)) for i, j in np.argwhere(matrix) if i < j}


@pytest.mark.parametrize(
    ("name", "line", "expected"),
    [
        ("a fence between west and east", [(5, -5), (5, 15)], {(0, 1), (0, 3), (1, 2), (2, 3)}),
        ("a fence that ends before the northern pair", [(5, -5), (5, 3)], {(0, 1)}),
        (
            "a closed fence around one",
            [(-3, -3), (3, -3), (3, 3), (-3, 3), (-3, -3)],
            {(0, 1), (0, 2), (0, 3)},
        ),
        ("a closed fence around none", [(4, -1), (6, -1), (6, 1), (4, 1), (4, -1)], set()),
        ("a vertex exactly on the way", [(5, -5), (5, 0), (5, 4)], {(0, 1)}),
        ("elsewhere", [(50, -5), (50, 15)], set()),
    ],
)
def test_pairs_that_a_line_separates(name, line, expected):
    assert _pairs(line) == expected, name


def test_any_closed_fence_separates_inside_from_outside():
    """Against matplotlib's test for points in polygons."""
    from matplotlib.path import Path

    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (30, 2))
    angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
    radii = rng.uniform(0.1, 0.5, 12)
    polygon = 0.5 + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    inside = Path(polygon).contains_points(points)
    assert 2 < inside.sum() < 28
    np.testing.assert_array_equal(geometry.inside(points, polygon), inside)
    np.testing.assert_array_equal(
        separated(points, [*polygon, polygon[0]]), inside[:, None] != inside[None], "inside against outside"
    )


def _twin(patches, barriers=(), extent=None) -> Twin:
    climate = Climate(np.ones((12, len(patches))), np.full((12, len(patches)), 300.0))
    return Twin("t", (), (), patches, climate, datetime.date(2020, 1, 1), barriers, extent)


def _patches(*positions) -> tuple[Patch, ...]:
    latitude, longitude = np.array(positions, float).T
    bare = _twin(tuple(Patch(str(i), 1.0, *position) for i, position in enumerate(positions)))
    meters = local_meters(latitude, longitude, bare.center)
    return tuple(
        Patch(str(i), 1.0, *position, x, y) for i, (position, (x, y)) in enumerate(zip(positions, meters))
    )


def test_distances_are_those_of_the_sphere_within_a_thousandth():
    positions = [(-2.3, 34.8), (-2.9, 35.6), (-1.7, 35.1)]
    latitude, longitude = np.radians(positions).T
    a = np.sin((latitude[:, None] - latitude) / 2) ** 2
    a += np.cos(latitude[:, None]) * np.cos(latitude) * np.sin((longitude[:, None] - longitude) / 2) ** 2
    haversine = 2 * 6_371_008.8 * np.arcsin(np.sqrt(a))
    np.testing.assert_allclose(_twin(_patches(*positions)).distances_m(), haversine, rtol=1e-3)


def test_worlds_may_cross_180_degrees():
    twin = _twin(
        _patches((-17.0, 179.9), (-17.0, -179.9)),
        (Barrier("reef", ((-18.0, 180.0), (-16.0, -180.0))),),
        Extent(-18.0, 179.5, -16.0, -179.5),
    )
    assert twin.distances_m()[0, 1] == pytest.approx(np.radians(0.2) * np.cos(np.radians(17)) * 6_371_008.8)
    assert twin.separated()[0, 1]
    assert twin.extent.holds(-17, 179.7) and twin.extent.holds(-17, -179.7)
    assert not twin.extent.holds(-17, 0) and not twin.extent.holds(-19, 179.7)


def _climate() -> Climate:
    rain = np.arange(1.0, 13.0)[:, None] * [[10.0, 5.0]]
    return Climate(rain, np.arange(12.0)[:, None] + [[290.0, 300.0]])


def test_mean_series_begins_in_its_month():
    series = climate_series(_climate(), datetime.date(2021, 11, 15), 14)
    expected = np.array([11, 12, *range(1, 13)]) / 6.5
    np.testing.assert_allclose(series.rain, np.stack([expected, expected], axis=1))
    assert series.temperature_k[0, 0] == 300 and series.temperature_k[2, 1] == 300


def _table(tmp_path, head, rows):
    path = tmp_path / "climate.csv"
    path.write_text("\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def test_climate_of_each_patch(tmp_path):
    rows = [(m, rain * factor, t, name) for name, factor in (("a", 1), ("b", 2)) for m, rain, t in MONTHS]
    climate = read_climate(_table(tmp_path, "month,rain_mm,temperature_c,patch", rows), ["b", "a"], 0.3)
    np.testing.assert_array_equal(climate.rain_mm[:, 0], 2 * climate.rain_mm[:, 1])
    assert climate.rain_mm[11, 1] == 120
    assert (climate.temperature_k == 293.15).all() and climate.rain_cv == 0.3


@pytest.mark.parametrize(
    ("head", "rows", "part"),
    [
        ("month,rain_mm,temperature_k", MONTHS, "0 °C = 273.15 K"),
        ("month,rain_cm,temperature_c", MONTHS, "1 cm = 10 mm"),
        ("month,rain_mm,temperature_c", MONTHS[:11], "no month 12"),
        ("month,rain_mm,temperature_c", [*MONTHS, MONTHS[0]], "month 1 is there twice"),
        ("month,rain_mm,temperature_c", [(13, 1, 1)], "month is '13'"),
        ("month,rain_mm,temperature_c", [(1, -1, 1)], "rain_mm is '-1'"),
        ("month,rain_mm,temperature_c", [(1, 1, 300)], "is the unit right"),
        ("month,rain_mm,temperature_c", [(1, "nan", 1)], "rain_mm is 'nan'"),
        ("month,rain_mm,temperature_c", [(m, 0, t) for m, _, t in MONTHS], "no rain in any month"),
        ("month,rain_mm,temperature_c,patch", [(1, 1, 1, "sauth")], "did you mean south"),
        ("month,rain_mm,temperature_c,patch", [(*m, "north") for m in MONTHS], "of the patch south"),
    ],
)
def test_wrong_climates_are_one_line(tmp_path, head, rows, part):
    path = _table(tmp_path, head, rows)
    with pytest.raises(UserError) as error:
        read_climate(path, ["north", "south"])
    assert part in str(error.value) and str(path) in str(error.value)
