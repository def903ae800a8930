"""The sight of animals: complete, cited, and told apart by what was measured."""

from __future__ import annotations

import tomllib
from importlib import resources

import pytest

from bioclip_jax.twin.view import QUANTITIES, sight_of
from bioclip_jax.twin.world import Species, read_species

SAVANNA = resources.files("bioclip_jax.datasets.twin_savanna") / "species.csv"


@pytest.fixture(scope="module")
def savanna():
    return {species.name: species for species in read_species(str(SAVANNA)) if species.kind != "producer"}


def test_table_is_cited_and_plausible():
    table = tomllib.loads((resources.files("bioclip_jax.twin.view") / "sight.toml").read_text())
    assert set(QUANTITIES) == set(table["Animalia"]), "the last resort must have every quantity"
    limits = {
        **dict(acuity=(0.1, 150), horizontal=(60, 360), binocular=(0, 180), vertical=(60, 180)),
        **dict(rods=(480, 540), sensitivity=(0.1, 10), height=(0.001, 6)),
    }
    for taxon, quantities in table.items():
        for quantity, entry in quantities.items():
            where = f"{quantity} of {taxon}"
            assert quantity in QUANTITIES, f"{where} is not a quantity"
            assert set(entry) <= {"value", "of", "estimated", "citation"}, f"{where} has unknown keys"
            assert entry["citation"], f"{where} has no source"
            # A source of a value that counts as measured or inferred is a paper, with its year.
            has_year = any(part.strip("():;,").isdigit() for part in entry["citation"].split())
            assert "of" not in entry or has_year or entry["citation"] == "the unit", where
            if quantity in limits:
                least, most = limits[quantity]
                assert least <= entry["value"] <= most, f"{where} is {entry['value']}"
        assert quantities.get("binocular", {}).get("value", 0) <= table[taxon].get("horizontal", {}).get(
            "value", 360
        )


def test_every_species_of_the_savanna_has_a_whole_record(savanna):
    for species in savanna.values():
        record = sight_of(species)
        assert set(record["status"]) == set(record["citation"]) == set(QUANTITIES), species.name
        assert set(record["status"].values()) <= {"measured", "inferred", "assumed"}
        inferred = {key for key, status in record["status"].items() if status == "inferred"}
        assert set(record["source"]) == inferred, f"{species.name}: an inferred value names its relative"
        assert record["eye_height_m"] == species.eye_height_m, "the table of species wins"
        if species.acuity_cycles_per_degree is not None:
            assert record["acuity"] == species.acuity_cycles_per_degree


def test_acuities_of_melin_and_others(savanna):
    acuity = {name: sight_of(species)["acuity"] for name, species in savanna.items()}
    people = sight_of("Homo sapiens")["acuity"]
    assert people / acuity["Equus quagga"] == pytest.approx(2.6, rel=0.01)
    assert people / acuity["Panthera leo"] == pytest.approx(4.5, rel=0.03)
    assert people / acuity["Crocuta crocuta"] == pytest.approx(7.5, rel=0.01)


def test_relatives_are_inferred_and_the_species_itself_is_measured(savanna):
    zebra = sight_of(savanna["Equus quagga"])
    assert [cone["peak_nm"] for cone in zebra["cones"]] == [428, 539]
    assert zebra["status"]["cones"] == "inferred" and zebra["source"]["cones"] == "Equus caballus"
    horse = Species("Equus caballus", "endotherm", 500_000, taxonomy={"family": "Equidae"})
    assert sight_of(horse)["status"]["cones"] == "measured"
    lion = sight_of(savanna["Panthera leo"])
    assert lion["status"]["acuity"] == "inferred", "an estimate from anatomy is not a measurement"
    assert sight_of("Homo sapiens")["status"]["cones"] == "measured"


def test_own_value_without_a_source_is_assumed():
    shrew = Species("Crocidura hirta", "endotherm", 15, taxonomy={"class": "Mammalia"}, eye_height_m=0.02)
    record = sight_of(shrew)
    assert record["eye_height_m"] == 0.02 and record["status"]["height"] == "assumed"
    cited = Species(
        "Crocidura hirta",
        "endotherm",
        15,
        acuity_cycles_per_degree=1.5,
        citations={"acuity_cycles_per_degree": "a paper"},
    )
    record = sight_of(cited)
    assert (record["acuity"], record["status"]["acuity"], record["citation"]["acuity"]) == (
        1.5,
        "inferred",
        "a paper",
    )


def test_unknown_kingdom_is_assumed():
    record = sight_of("Nobody knows")
    assert set(record["status"].values()) == {"assumed"}
