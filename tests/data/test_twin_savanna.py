"""The embedded savanna: its land, its sources, and that its species live."""

import csv
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from bioclip_jax.datasets.twin_savanna import HABITATS, PATCHES, draw_terrain, write_world
from bioclip_jax.errors import UserError
from bioclip_jax.twin.calibrate import read_counts
from bioclip_jax.twin.community import Conditions, blueprint_of, simulate_ensemble, steady_conditions
from bioclip_jax.twin.scenario import Timeline, rain_factors
from bioclip_jax.twin.world import Twin, build_twin, climate_series, read_twin


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Twin]:
    folder = tmp_path_factory.mktemp("savanna")
    result = build_twin(write_world(folder / "world"), folder / "twin")
    return result, read_twin(folder / "twin")


def test_equal_seeds_give_equal_bytes(tmp_path: Path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert write_world(tmp_path / name, seed=seed) == tmp_path / name / "world.toml"
    files = (path for path in (tmp_path / "a").rglob("*") if path.is_file())
    names = sorted(path.relative_to(tmp_path / "a").as_posix() for path in files)
    assert len(names) == 14, names
    differ = {
        other: [n for n in names if (tmp_path / "a" / n).read_bytes() != (tmp_path / other / n).read_bytes()]
        for other in "bc"
    }
    drawn = ["elevation.tif", "habitat.tif", "patches.tif", "planted.json", "survey.csv", "water.tif"]
    assert differ == {"b": [], "c": drawn}
    with pytest.raises(UserError, match="not empty"):
        write_world(tmp_path / "a")
    assert not list(tmp_path.glob(".*")), "a partial folder remains"


@pytest.mark.parametrize("seed", range(5))
def test_land_has_all_habitats_and_a_river_that_flows_west(seed: int):
    terrain = draw_terrain(seed)
    assert set(np.unique(terrain.habitat)) == set(range(1, len(HABITATS) + 1))
    assert set(np.unique(terrain.patches)) == set(range(1, len(PATCHES) + 1))
    assert min(np.bincount(terrain.patches.ravel())[1:]) > 0.1 * terrain.patches.size
    river = terrain.habitat == HABITATS.index("riverine forest") + 1
    assert river.any(axis=0).all(), "the river is interrupted"
    bed = np.where(river, terrain.elevation, np.inf).min(axis=0)
    assert np.all(np.diff(bed[::10]) > 0), "the river flows uphill"
    assert 0.005 < terrain.water.mean() < 0.03


def test_twin_build_reads_it_without_a_warning(built: tuple[dict, Twin]):
    result, twin = built
    assert not result["warnings"], result["warnings"]
    assert result["links"] == {"observed": 93, "inferred": 18, "skipped": {}}
    assert len(twin.species) == 27 and [patch.name for patch in twin.patches] == list(PATCHES)
    assert sum(patch.area_km2 for patch in twin.patches) == pytest.approx(3000)
    assert all(one.reference_biomass for one in twin.species)
    assert not [one.name for one in twin.species if one.uncited]
    # The dry season of every patch is below half of the mean month, the wet one above.
    relative = twin.climate.rain_mm / twin.climate.rain_mm.mean(axis=0)
    assert (relative[5:8] < 0.6).all() and (relative[2:4] > 1.2).all()


def test_survey_counts_what_was_planted(tmp_path: Path, built: tuple[dict, Twin]):
    folder = write_world(tmp_path / "world", seed=1).parent
    survey, twin = read_counts(folder / "survey.csv", built[1]), built[1]
    planted = json.loads((folder / "planted.json").read_text())["density_per_km2"]
    assert survey.classes == tuple(planted) and survey.counts.shape == (12, len(twin.patches), len(planted))
    assert survey.effort_days.sum() == 366 * 20 * len(twin.patches)
    # The random encounter model at the movement that was assumed, which is wrong by some 10 %.
    per_day = 86_400e-6 * 0.05 * 8.0 * (2 + 0.7) / np.pi
    events = survey.counts.sum(axis=(0, 1))
    ratio = events / (survey.effort_days.sum() * per_day * np.array([*planted.values()]))
    common = np.abs(np.log(ratio[events > 500]))
    assert len(common) >= 6 and common.max() < 0.4, dict(zip(planted, ratio.round(2)))


def test_values_that_follow_from_body_mass(built: tuple[dict, Twin]):
    for one in built[1].species:
        if "Hirt" in one.citations.get("speed_m_per_s", ""):
            kg = one.mass_g / 1000
            speed = 25.5 * kg**0.26 * (1 - np.exp(-22 * kg**-0.6)) / 3.6
            assert one.speed_m_per_s == pytest.approx(speed, abs=0.06), one.name
        if "Damuth" in one.citations.get("density_per_km2", ""):
            assert one.density_per_km2 == pytest.approx(10**4.23 * one.mass_g**-0.75, rel=0.01), one.name
    sighted = {
        one.name: one.acuity_cycles_per_degree for one in built[1].species if one.acuity_cycles_per_degree
    }
    assert sighted == {"Equus quagga": 23, "Crocuta crocuta": 8, "Panthera leo": 13}


@pytest.mark.shared_data
def test_cited_masses_diets_and_links_are_in_their_sources(built: tuple[dict, Twin], shared_data: Path):
    twin = built[1]
    with (shared_data / "twin/traits/phylacine_1.2_traits.csv").open() as file:
        traits = {row["Binomial.1.2"].replace("_", " "): row for row in csv.DictReader(file)}
    cited = [one for one in twin.species if "PHYLACINE" in one.citations["mass_g"]]
    assert len(cited) == 17
    for one in cited:
        row = traits[one.name]
        assert one.mass_g == float(row["Mass.g"]), one.name
        diet = [float(row[f"Diet.{food}"]) / 100 for food in ("Plant", "Vertebrate", "Invertebrate")]
        assert list(one.diet.values()) == diet, one.name
        assert one.taxonomy["family"] == row["Family.1.2"], one.name
    with (shared_data / "twin/serengeti/species_code.csv").open() as file:
        names = {row["code"]: row["species"] for row in csv.DictReader(file)}
    with (shared_data / "twin/serengeti/links_code.csv").open() as file:
        observed = {(names[row["prey_code"]], names[row["pred_code"]]) for row in csv.DictReader(file)}
    synonyms = {"Vachellia tortilis": "Acacia tortilis"}
    pairs = {
        (synonyms.get(link.resource, link.resource), link.consumer)
        for link in twin.links
        if not link.inferred
    }
    assert not pairs - observed, f"not in the food web: {sorted(pairs - observed)}"


def test_all_species_live_for_ten_years_and_the_seasons_show(built: tuple[dict, Twin]):
    twin, members, months = built[1], 8, 120
    with jax.enable_x64(True):
        blueprint = blueprint_of(twin)
        community, steady = blueprint.build(), steady_conditions(blueprint.build())
        start = np.asarray(blueprint.biomass)
    timeline = Timeline.of(twin.start, 10)
    mean = climate_series(twin.climate, twin.start, months)
    # The mean climate, and the random years of members 1 to 7.
    factors = rain_factors(twin.climate, 0, np.arange(1, members), timeline)
    rain = mean.rain * np.concatenate([np.ones((1, *factors.shape[1:])), factors])
    weather = {"rain": rain, "temperature_k": np.broadcast_to(mean.temperature_k, rain.shape)}
    rest = {name: np.broadcast_to(value, (months, *np.shape(value))) for name, value in vars(steady).items()}
    conditions = Conditions(**rest | weather)
    every = np.broadcast_to(start, (len(twin.patches), len(start)))
    path = simulate_ensemble(community, every, conditions, timeline.days, tolerance=1e-4, chunk=1).biomass
    names = np.array(community.names)
    lost = names[(path == 0).any(axis=(0, 1, 2))]
    assert not len(lost), f"extinct in a patch: {', '.join(lost)}"
    area = np.array([patch.area_km2 for patch in twin.patches])
    relative = (path * area[:, None]).sum(axis=2) / area.sum() / start
    low, high = names[(relative < 0.05).any((0, 1))], names[(relative > 5).any((0, 1))]
    assert not len(low) and not len(high), f"fell below 5 %: {low}, rose above 500 %: {high}"
    mean = np.exp(np.log(relative[:, -12:]).mean(axis=(0, 1)))
    assert (mean > 0.5).all() and (mean < 2).all(), dict(zip(names, mean.round(2)))
    year = relative[0, -12:, names.tolist().index("Themeda triandra")]
    assert year.max() / year.min() > 1.25, f"grass varies by {year.max() / year.min():.2f} in a year"
