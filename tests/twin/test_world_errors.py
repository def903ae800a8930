"""`twin build` of worlds with mistakes: exit 2, one line that says what to do, and nothing written."""

from __future__ import annotations

import numpy as np
import pytest
from made_world import CLIMATE, GRID, LINKS, SPECIES, WORLD, elevation, write_world

from bioclip_jax.cli import main
from bioclip_jax.twin.world import Grid, write_raster

BY_POSITION = WORLD.replace('patches = "patches.tif"\n', "").replace(
    "value = 1", "area_km2 = 10\nlatitude = -2.3\nlongitude = 35.0"
)
BY_POSITION = BY_POSITION.replace("value = 2", "area_km2 = 10\nlatitude = -2.3\nlongitude = 35.08")
HEAD = LINKS.splitlines()[0] + "\n"


def _fails(world, capsys) -> str:
    """Build, and return the one line of the error."""
    before = sorted(world.parent.iterdir())
    assert main(["twin", "build", str(world), str(world.with_name("out"))]) == 2
    assert sorted(world.parent.iterdir()) == before, "something was written"
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ") and not printed.out
    return line


# Old text of WORLD.toml, new text, parts of the message.
MISTAKES = {
    "misspelled key": ("start =", "begin =", ["unknown key begin"]),
    "misspelled table": ("[climate]", "[clime]", ["unknown key clime", "did you mean climate?"]),
    "misspelled key of a patch": ('name = "west"', 'nmae = "west"', ["[[patches]] 1", "did you mean name?"]),
    "misspelled raster": ("elevation =", "elevtion =", ["[rasters]", "did you mean elevation?"]),
    "no TOML": ("[rasters]", "[rasters", ["not TOML"]),
    "no name": ('name = "small savanna"', "", ["no name"]),
    "a name that is a number": ('"small savanna"', "3", ["name is 3"]),
    "an impossible date": ("2020-01-01", '"2020-02-30"', ["start is '2020-02-30'", "calendar"]),
    "no date": ("2020-01-01", "2020", ["start is 2020", "2020-01-31"]),
    "missing table of species": (
        "species.csv",
        "spezies.csv",
        ["species is", "spezies.csv", "does not exist"],
    ),
    "missing raster": ("elevation.tif", "height.tif", ["rasters.elevation", "height.tif", "does not exist"]),
    "missing climate": ("climate.csv", "rain.csv", ["climate is", "rain.csv"]),
    "no links": ('links = "links.csv"', "", ["no links", "infer = true"]),
    "a value that no cell has": ("value = 2", "value = 7", ["no cell of value 7", "east"]),
    "one value twice": ("value = 2", "value = 1", ["the patch west has it too"]),
    "one name twice": ('name = "east"', 'name = "west"', ["[[patches]] 2", "name is 'west'"]),
    "a value and a position": (
        "value = 2",
        "value = 2\nlatitude = 1",
        ["latitude is 1", "raster of patches"],
    ),
    "a value without raster": ('patches = "patches.tif"\n', "", ["value is 1", "no raster of patches"]),
    "no legend": ('legend = { 1 = "grassland", 2 = "woodland" }', "", ["no legend"]),
    "a habitat without name": (', 2 = "woodland"', "", ["no name for the value 2"]),
    "habitat given twice": ("value = 2", "value = 2\nhabitat = { a = 1 }", ["habitat is given", "keep one"]),
    "a negative variation": ("rain_cv = 0.3", "rain_cv = -0.3", ["[climate]", "rain_cv is -0.3"]),
    "a variation that is NaN": ("rain_cv = 0.3", "rain_cv = nan", ["rain_cv is nan"]),
    "an autocorrelation of 1": ("rain_cv = 0.3", "rain_autocorrelation = 1", ["-0.99 to 0.99"]),
    "a barrier of one point": ("[-2.5, 35.045], ", "", ["[[barriers]] 1", "points"]),
    "a barrier with swapped coordinates": ("[-2.5, 35.045]", "[135.0, -2.5]", ["latitude comes first"]),
    "inference without a truth value": (
        'links = "links.csv"',
        'links = "links.csv"\ninfer = 2',
        ["infer is 2"],
    ),
    "misspelled setting of inference": (
        'links = "links.csv"',
        'links = "links.csv"\ninfer = { treshold = 0.2 }',
        ["[infer]", "did you mean threshold?"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_the_description(tmp_path, capsys, mistake):
    old, new, parts = MISTAKES[mistake]
    world = write_world(tmp_path)
    assert old in WORLD
    world.write_text(WORLD.replace(old, new, 1))
    line = _fails(world, capsys)
    for part in parts:
        assert part in line, f"{part!r} is not in: {line}"


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        (
            "latitude = -2.3\nlongitude = 35.0\n",
            "latitude = 95\nlongitude = 35.0\n",
            ["latitude is 95", "-90 to 90"],
        ),
        ("longitude = 35.0\n", "longitude = 361\n", ["longitude is 361"]),
        ("area_km2 = 10", "area_km2 = 0", ["area_km2 is 0", "above 0"]),
        ("area_km2 = 10", "area_km2 = -3", ["area_km2 is -3"]),
        ("area_km2 = 10", "area_km2 = true", ["area_km2 is True"]),
        ("area_km2 = 10\n", "", ["no area_km2"]),
        ("longitude = 35.0\n", "longitude = 36.0\n", ["no cell in the raster", "longitudes 34.9", "correct"]),
    ],
)
def test_mistakes_in_positions(tmp_path, capsys, old, new, parts):
    world = write_world(tmp_path)
    assert old in BY_POSITION
    world.write_text(BY_POSITION.replace(old, new, 1))
    line = _fails(world, capsys)
    for part in ["[[patches]] 1", *parts]:
        assert part in line, f"{part!r} is not in: {line}"


def test_a_habitat_that_does_not_sum_to_1(tmp_path, capsys):
    world = write_world(tmp_path)
    world.write_text(BY_POSITION.replace("area_km2 = 10", "area_km2 = 10\nhabitat = { a = 0.5, b = 0.2 }"))
    assert "sum to 0.7" in _fails(world, capsys)


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("species.csv", "", ["species.csv is empty"]),
        ("species.csv", SPECIES.splitlines()[0] + "\n", ["species.csv has no rows"]),
        ("species.csv", "\x00\x01\x02", ["species.csv"]),
        ("links.csv", "", ["links.csv is empty"]),
        ("links.csv", HEAD, ["links.csv has no rows"]),
        (
            "links.csv",
            HEAD + "Panthera leo,parasiteOf,Equus quagga,\n",
            ["no link to a resource", "infer = true"],
        ),
        (
            "links.csv",
            LINKS.replace("Macrotermes michaelseni,eats,Themeda triandra,test\n", ""),
            ["1 consumers have no link", "Macrotermes michaelseni"],
        ),
        (
            "links.csv",
            LINKS.replace("Equus quagga,eats,Themeda triandra", "Equus quagga,eats,Equus quagga"),
            ["Equus quagga"],
        ),
        (
            "links.csv",
            LINKS.replace("michaelseni,eats,Themeda triandra", "michaelseni,eats,Orycteropus afer"),
            ["no chain of links leads from Macrotermes michaelseni, Orycteropus afer to a producer"],
        ),
        ("species.csv", SPECIES.replace(",producer,", ",invertebrate,"), ["no producer"]),
        ("climate.csv", "month,rain_mm,temperature_c\n", ["climate.csv has no rows"]),
        ("climate.csv", CLIMATE.replace("temperature_c", "temperature"), ["degrees Celsius"]),
        ("elevation.tif", "no raster", ["elevation.tif", "not a readable GeoTIFF"]),
        ("elevation.tif", "", ["elevation.tif", "not a readable GeoTIFF"]),
    ],
)
def test_mistakes_in_files(tmp_path, capsys, name, text, parts):
    world = write_world(tmp_path)
    (tmp_path / name).write_text(text)
    line = _fails(world, capsys)
    for part in parts:
        assert part in line, f"{part!r} is not in: {line}"


@pytest.mark.parametrize(
    ("grid", "values", "parts"),
    [
        (Grid(720_000, 9_750_000, 250, 250, 30, 60, GRID.crs), None, ["40 x 60 cells against 30 x 60"]),
        (Grid(720_000, 9_750_000, 200, 250, 40, 60, GRID.crs), None, ["250 x 250 against 200 x 250"]),
        (Grid(720_100, 9_750_000, 250, 250, 40, 60, GRID.crs), None, ["corner"]),
        (Grid(720_000, 9_750_000, 250, 250, 40, 60, "EPSG:32737"), None, ["coordinate reference system"]),
        (GRID, np.full((40, 60), np.nan), ["only no-data"]),
        (
            GRID,
            np.where(np.arange(60) < 25, np.nan, elevation()),
            ["no values in west", "leave the patch out"],
        ),
    ],
)
def test_mistakes_in_rasters(tmp_path, capsys, grid, values, parts):
    world = write_world(tmp_path)
    write_raster(
        tmp_path / "elevation.tif", np.ones((grid.rows, grid.columns)) if values is None else values, grid
    )
    line = _fails(world, capsys)
    for part in ["elevation.tif", *parts]:
        assert part in line, f"{part!r} is not in: {line}"


def test_a_raster_of_water_without_water(tmp_path, capsys):
    world = write_world(tmp_path)
    write_raster(tmp_path / "water.tif", np.zeros((40, 60), np.uint8), GRID)
    assert "has no water" in _fails(world, capsys)


def test_wrong_paths(tmp_path, capsys):
    world = write_world(tmp_path)
    for arguments, part in (
        ([tmp_path / "none.toml", tmp_path / "out"], "does not exist"),
        ([tmp_path, tmp_path / "out"], "is a folder"),
        ([tmp_path / "water.tif", tmp_path / "out"], "not TOML"),
        ([world, tmp_path / "none" / "out"], "does not exist"),
        ([world, tmp_path / "links.csv"], "is a file"),
        ([world, tmp_path], "not part of a twin"),
    ):
        assert main(["twin", "build", *map(str, arguments)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert part in line, line
