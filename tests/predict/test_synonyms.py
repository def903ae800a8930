"""Synonyms and taxonIDs from a backbone, in both directions between a checklist and a head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.predict.taxa import TaxaNames, read_checklist, read_prior, resolve_checklist, resolve_prior
from bioclip_jax.text import Taxon

pytest.importorskip("polars", reason="a backbone needs the extra [curate]")

from bioclip_jax.predict.taxa import Synonyms

URSIDAE = "Animalia\tChordata\tMammalia\tCarnivora\tUrsidae"
ROSACEAE = "Plantae\tTracheophyta\tMagnoliopsida\tRosales\tRosaceae"
COLUMNS = (
    "taxonID scientificName scientificNameAuthorship canonicalName taxonRank taxonomicStatus "
    "acceptedNameUsageID kingdom phylum class order family genus"
).split()
ROWS = (
    f"1\tUrsus Linnaeus, 1758\tLinnaeus, 1758\tUrsus\tgenus\taccepted\t\t{URSIDAE}\tUrsus",
    f"2\tUrsus maritimus Phipps, 1774\tPhipps, 1774\tUrsus maritimus\tspecies\taccepted\t\t{URSIDAE}\tUrsus",
    "3\tThalarctos maritimus (Phipps, 1774)\t(Phipps, 1774)\tThalarctos maritimus\tspecies\tsynonym\t2\t"
    f"{URSIDAE}\tUrsus",
    f"4\tUrsus arctos Linnaeus, 1758\tLinnaeus, 1758\tUrsus arctos\tspecies\taccepted\t\t{URSIDAE}\tUrsus",
    f"5\tMalus domestica Borkh.\tBorkh.\tMalus domestica\tspecies\taccepted\t\t{ROSACEAE}\tMalus",
    f"6\tMalus pumila Mill.\tMill.\tMalus pumila\tspecies\tsynonym\t5\t{ROSACEAE}\tMalus",
    f"7\tMalus sylvestris Mill.\tMill.\tMalus sylvestris\tspecies\taccepted\t\t{ROSACEAE}\tMalus",
    # A later homonym of an accepted name, which stays with the accepted one.
    f"8\tMalus sylvestris Smith\tSmith\tMalus sylvestris\tspecies\tsynonym\t5\t{ROSACEAE}\tMalus",
    f"9\tMalus Mill.\tMill.\tMalus\tgenus\taccepted\t\t{ROSACEAE}\tMalus",
)
BEAR, APPLE = tuple(URSIDAE.split("\t")), tuple(ROSACEAE.split("\t"))
# The head has the synonym of one species, and the accepted name of the other.
NAMES = TaxaNames.from_rows(
    [
        (*BEAR, "Thalarctos", "maritimus", ""),
        (*BEAR, "Ursus", "arctos", ""),
        (*APPLE, "Malus", "domestica", ""),
        (*APPLE, "Malus", "sylvestris", ""),
    ]
)


@pytest.fixture
def synonyms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Synonyms:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "Taxon.tsv").write_text("\n".join(["\t".join(COLUMNS), *ROWS]) + "\n", encoding="utf-8")
    return Synonyms(tmp_path / "Taxon.tsv")


@pytest.mark.parametrize(
    ("text", "species", "by_synonym"),
    [
        ("Ursus maritimus Phipps, 1774", "Thalarctos maritimus", 1),
        ("Thalarctos maritimus", "Thalarctos maritimus", 0),
        ("Malus pumila Mill.", "Malus domestica", 1),
        ("Malus domestica", "Malus domestica", 0),
        ("Malus sylvestris", "Malus sylvestris", 0),
        ("Ursus arctos", "Ursus arctos", 0),
    ],
)
def test_a_name_selects_its_taxon_under_any_name(tmp_path, synonyms, text, species, by_synonym):
    (tmp_path / "list.txt").write_text(text + "\n")
    resolution = resolve_checklist(NAMES, read_checklist(tmp_path / "list.txt"), synonyms=synonyms)
    rows = np.flatnonzero(resolution.mask(NAMES))
    assert [NAMES.row(int(row))["species"] for row in rows] == [species]
    assert resolution.synonyms == by_synonym


def test_without_a_backbone_the_synonym_is_unknown(tmp_path):
    (tmp_path / "list.txt").write_text("Malus pumila Mill.\n")
    with pytest.raises(UserError, match="no taxon called Malus pumila"):
        resolve_checklist(NAMES, read_checklist(tmp_path / "list.txt"))


def test_weights_reach_the_accepted_name(tmp_path, synonyms):
    (tmp_path / "prior.csv").write_text("taxon,weight\nMalus pumila Mill.,7\nUrsus maritimus,3\n")
    prior = resolve_prior(NAMES, read_prior(tmp_path / "prior.csv"), synonyms=synonyms)
    weights = {NAMES.row(row)["species"]: prior.weights[row] for row in range(len(NAMES))}
    assert weights == {
        "Malus domestica": 7,
        "Thalarctos maritimus": 3,
        "Ursus arctos": 1,
        "Malus sylvestris": 1,
    }


def test_taxon_ids_are_those_of_accepted_names(synonyms):
    taxa = [NAMES.taxon(row) for row in range(len(NAMES))]
    taxa += [
        Taxon(genus="Malus", species="pumila"),
        Taxon(*BEAR, "Ursus"),
        Taxon(genus="Nemo", species="nemo"),
    ]
    ids = dict(zip((taxon.scientific_name for taxon in taxa), synonyms.taxon_ids(taxa)))
    assert ids == {
        "Thalarctos maritimus": "2",
        "Ursus arctos": "4",
        "Malus domestica": "5",
        "Malus sylvestris": "7",
        "Malus pumila": "5",
        "Ursus": "1",
        "Nemo nemo": "",
    }
    assert synonyms.taxon_ids([]) == []


def test_a_missing_backbone_is_an_error(tmp_path):
    with pytest.raises(UserError, match="--backbone .* does not exist"):
        Synonyms(tmp_path / "none")


def test_occurrences_get_the_ids_of_their_taxa(synonyms):
    columns = ("kingdom", "phylum", "class", "order", "family", "genus", "specificEpithet", "taxonID")
    rows = [
        dict(zip(columns, (*BEAR, "Thalarctos", "maritimus", ""))),
        dict(zip(columns, (*APPLE, "", "", ""))),
        dict(zip(columns, (*APPLE, "Malus", "domestica", "given"))),
        dict(zip(columns, (*APPLE, "Malus", "pumila", ""))),
    ]
    assert [row["taxonID"] for row in synonyms.fill_taxon_ids(rows)] == ["2", "", "given", "5"]
