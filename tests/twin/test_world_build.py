"""`twin build`: the folder of a twin, its bytes, its figure and its warnings."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_twin import written_twin
from made_world import LINKS, SPECIES, WORLD, write_world
from PIL import Image

from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.twin.world import build_twin, read_raster, read_twin, trophic_levels


@pytest.fixture
def world(tmp_path):
    return write_world(tmp_path)


def _edit(path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in changes:
        assert old in text, f"{old!r} is not in {path.name}"
        text = text.replace(old, new)
    path.write_text(text)


def test_build_prints_its_result_and_writes_the_twin(world, capsys):
    output = world.with_name("out")
    assert main(["twin", "build", str(world), str(output), "--json"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert result["links"] == {"observed": 6, "inferred": 0, "skipped": {}}
    assert result["species"]["Panthera leo"] == "endotherm" and len(result["species"]) == 7
    assert "Themeda triandra, Vachellia tortilis" in result["warnings"][0]
    assert f"warning: {result['warnings'][0]}" in printed.err
    twin = read_twin(output)
    assert twin.name == "small savanna" and twin.start.isoformat() == "2020-01-01"
    assert [one.name for one in twin.species] == list(result["species"])
    west, east = twin.patches
    # 20 and 40 columns of 35 rows of 250 m.
    assert (west.area_km2, east.area_km2) == (43.75, 87.5)
    assert west.habitat == {"grassland": 1.0} and east.habitat == {"grassland": 0.25, "woodland": 0.75}
    # The plane has a slope of arctan(0.05); its mean is its height in the middle of a patch.
    assert west.slope_deg == pytest.approx(np.degrees(np.arctan(0.05)), rel=1e-9)
    assert west.elevation_m == pytest.approx(1200 + 0.03 * 2500 + 0.04 * 17 * 250)
    # Rows 5 to 39; the water is in row 20.
    assert west.water_distance_m == pytest.approx(np.mean(np.abs(np.arange(5, 40) - 20)) * 250)
    # Their middles are 30 columns apart; the grid and the sphere differ by less than 1 %.
    assert twin.distances_m()[0, 1] == pytest.approx(7500, rel=0.01)
    assert twin.separated()[0, 1], "the fence of the world lies between the patches"
    assert twin.climate.rain_mm.shape == (12, 2) and twin.climate.rain_mm[3, 0] == 150
    assert twin.extent.holds(west.latitude, west.longitude) and not twin.extent.holds(-2.3, 36)
    slope = read_raster(output / "slope.tif").values
    np.testing.assert_allclose(slope, west.slope_deg, rtol=1e-6)
    assert set(twin.provenance["inputs"]) == {
        *("world", "species", "climate", "links"),
        *(f"rasters.{role}" for role in ("patches", "elevation", "habitat", "water")),
    }


def test_a_read_twin_is_the_built_one_and_bytes_are_equal(world):
    for name in ("a", "b"):
        build_twin(world, world.with_name(name))
    files = sorted(path.name for path in world.with_name("a").iterdir())
    assert files == [
        *("food_web.png", "links.csv", "slope.tif", "species.csv", "twin.json", "water_distance.tif"),
    ]
    for name in files:
        a, b = (world.with_name(folder).joinpath(name).read_bytes() for folder in "ab")
        assert a == b, f"{name} differs between two builds"
    assert Image.open(world.with_name("a") / "food_web.png").width > 500


def test_species_and_links_survive_the_round_trip(world):
    from bioclip_jax.twin.world import read_links, read_species

    build_twin(world, world.with_name("out"))
    twin = read_twin(world.with_name("out"))
    species = read_species(world.with_name("species.csv"))
    assert twin.species == species
    assert twin.links == read_links(world.with_name("links.csv"), species)


def test_patches_without_rasters(world):
    text = world.read_text()
    start, end = text.index("[rasters]"), text.index("[climate]")
    world.write_text(text[:start] + text[end:])
    _edit(
        world,
        ("value = 1", "area_km2 = 40\nlatitude = -2.3\nlongitude = 35.0\nhabitat = { grassland = 1 }"),
        ("value = 2", "area_km2 = 90\nlatitude = -2.3\nlongitude = 35.1"),
    )
    build_twin(world, world.with_name("out"))
    west, east = read_twin(world.with_name("out")).patches
    assert (west.area_km2, west.latitude, west.habitat) == (40, -2.3, {"grassland": 1})
    assert east.habitat == {} and east.slope_deg is None
    assert not world.with_name("out").joinpath("slope.tif").exists()


def test_patches_by_position_take_the_cells_of_their_circle(world):
    _edit(
        world,
        ('patches = "patches.tif"\n', ""),
        ("value = 1", "area_km2 = 10\nlatitude = -2.3\nlongitude = 35.0"),
        ("value = 2", "area_km2 = 10\nlatitude = -2.3\nlongitude = 35.08"),
    )
    build_twin(world, world.with_name("out"))
    west, east = read_twin(world.with_name("out")).patches
    assert west.area_km2 == 10, "the area is as given"
    assert west.habitat == {"grassland": 1} and east.habitat == {"woodland": 1}
    assert west.elevation_m < east.elevation_m


def test_links_are_inferred_for_consumers_without_one(world):
    species = SPECIES + "Panthera pardus,leopard,endotherm,50000,Felidae,0,1,0,0.1,test\n"
    world.with_name("species.csv").write_text(species)
    with pytest.raises(UserError, match=r"Panthera pardus.*infer = true"):
        build_twin(world, world.with_name("out"))
    assert not world.with_name("out").exists()
    _edit(world, ('links = "links.csv"', 'links = "links.csv"\ninfer = { threshold = 0.4 }'))
    result = build_twin(world, world.with_name("out"))
    twin = read_twin(world.with_name("out"))
    inferred = [link for link in twin.links if link.inferred]
    assert result["links"]["inferred"] == len(inferred) > 0
    assert {link.consumer for link in inferred} == {"Panthera pardus"}
    assert all("inferred" in link.citation for link in inferred)
    assert twin.provenance["inferred_links"] == {"threshold": 0.4}


def test_trophic_levels_by_hand(world):
    build_twin(world, world.with_name("out"))
    twin = read_twin(world.with_name("out"))
    assert list(trophic_levels(twin.species, twin.links)) == [1, 1, 2, 2, 2, 3, 3]
    # A lion that eats aardvarks too, at level 3, is at 1 + (2 + 2 + 3) / 3.
    world.with_name("links.csv").write_text(
        LINKS + "Panthera leo,eats,Orycteropus afer,test\nPanthera leo,eats,Panthera leo,test\n"
    )
    build_twin(world, world.with_name("out"), overwrite=True)
    twin = read_twin(world.with_name("out"))
    assert trophic_levels(twin.species, twin.links)[-1] == pytest.approx(1 + 7 / 3)


def test_numbers_without_citations_and_skipped_links_are_reported(world):
    _edit(world.with_name("species.csv"), ("1000000,test", "1000000,"))
    world.with_name("links.csv").write_text(LINKS + "Panthera leo,eats,Syncerus caffer,x\n")
    warnings = build_twin(world, world.with_name("out"))["warnings"]
    assert any("Macrotermes michaelseni (mass_g, density_per_km2, diet)" in text for text in warnings)
    assert any("not in the species table: Syncerus caffer" in text for text in warnings)


def test_overwrite_replaces_only_twins(world):
    output = world.with_name("out")
    build_twin(world, output)
    with pytest.raises(UserError, match="--overwrite"):
        build_twin(world, output)
    _edit(world, ("small savanna", "other savanna"))
    build_twin(world, output, overwrite=True)
    assert read_twin(output).name == "other savanna"
    (output / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt"):
        build_twin(world, output, overwrite=True)
    assert read_twin(output).name == "other savanna" and (output / "notes.txt").exists()


def test_reading_anything_else_names_the_folder(tmp_path):
    with pytest.raises(UserError, match="twin build"):
        read_twin(tmp_path)
    (tmp_path / "twin.json").write_text('{"version": 99}')
    with pytest.raises(UserError, match="version 99"):
        read_twin(tmp_path)
    (tmp_path / "twin.json").write_text("[]")
    with pytest.raises(UserError, match="not a twin"):
        read_twin(tmp_path)


DAMAGES = {
    "no climate": lambda content: content.pop("climate"),
    "no patches": lambda content: content.update(patches=[]),
    "a text for patches": lambda content: content.update(patches="west"),
    "no area": lambda content: content["patches"][0].update(area_km2=0),
    "a text for a position": lambda content: content["patches"][0].update(x_m="west"),
    "NaN": lambda content: content["patches"][0].update(latitude=float("nan")),
    "one name twice": lambda content: content["patches"][0].update(name="east"),
    "eleven months": lambda content: content["climate"]["rain_mm"].pop(),
    "no number of rain": lambda content: content["climate"]["rain_mm"].__setitem__(3, [None, 1.0]),
    "no date": lambda content: content.update(start="soon"),
    "barriers without points": lambda content: content.update(barriers=[{"name": "river"}]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_twin_is_refused(tmp_path, damage):
    folder = written_twin(tmp_path / "twin")
    content = json.loads((folder / "twin.json").read_text())
    DAMAGES[damage](content)
    (folder / "twin.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"twin\.json is damaged; make it again with twin build"):
        read_twin(folder)


def test_a_world_of_plants_needs_no_links(world):
    rows = SPECIES.splitlines()[:3]
    world.with_name("species.csv").write_text("\n".join(rows) + "\n")
    world.write_text(WORLD.replace('links = "links.csv"', "infer = true"))
    result = build_twin(world, world.with_name("plants"))
    assert result["links"] == {"observed": 0, "inferred": 0, "skipped": {}}
    twin = read_twin(world.with_name("plants"))
    assert len(twin.species) == 2 and twin.links == ()
