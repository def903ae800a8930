"""Captions: the ten files of real shards from the taxon, and what is missing from what is there."""

import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.errors import UserError
from bioclip_jax.text.captions import (
    CAPTION_FILES,
    CaptionConfig,
    MissingCaption,
    captions_from_taxon,
    complete_captions,
    taxon_of,
)
from bioclip_jax.text.taxon import Taxon

APPLE = Taxon("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Malus", "domestica", "apple")
NAMELESS = Taxon("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Malus", "domestica")
# What the published builder of the dataset writes.
PUBLISHED = ("scientific_name", "taxonomic_name", "sci", "taxon", "taxonTag")


@pytest.mark.shared_data
def test_captions_are_those_of_real_shards(shared_data):
    captions = {}
    with tarfile.open(shared_data / "produce/tol_shards/val/shard-00000.tar") as tar:
        for member in tar:
            key, _, kind = member.name.partition(".")
            if kind.endswith(".txt"):
                captions.setdefault(key, {})[kind[:-4]] = tar.extractfile(member).read().decode()
    assert len(captions) == 196
    for stored in captions.values():
        assert captions_from_taxon(taxon_of(stored)) == stored
        assert complete_captions({name: stored[name] for name in ("sci_com", "taxonTag")}) == stored


def test_without_a_common_name_the_scientific_one_stands_in():
    captions = captions_from_taxon(NAMELESS)
    assert set(captions) == set(CAPTION_FILES)
    assert captions["common_name"] == "Malus domestica"
    assert captions["sci_com"] == "a photo of Malus domestica with common name Malus domestica."
    published = {name: captions[name] for name in PUBLISHED}
    assert complete_captions(published) == captions
    assert taxon_of(published) == NAMELESS


@given(st.sets(st.sampled_from(CAPTION_FILES), min_size=1))
def test_completion_keeps_what_is_there_and_agrees_with_it(names):
    full = captions_from_taxon(APPLE)
    completed = complete_captions({name: full[name] for name in names})
    assert set(completed) == set(CAPTION_FILES)
    assert all(completed[name] == full[name] for name in names)
    if names & {"taxonTag", "taxonTag_com", "taxon", "taxonomic_name", "taxon_com"}:
        assert completed["taxon"] == full["taxon"] and completed["sci"] == full["sci"]
    if names & {"taxonTag_com", "sci_com", "taxon_com", "com", "common_name"}:
        assert completed["com"] == full["com"]


def test_nothing_usable_is_a_missing_caption():
    for captions in ({}, {"sci": " "}, {"something": "else"}):
        with pytest.raises(MissingCaption):
            complete_captions(captions)
    with pytest.raises(MissingCaption):
        captions_from_taxon(Taxon())


def test_a_plain_caption_serves_for_every_type():
    assert complete_captions({"txt": "two cats"})["taxon_com"] == "two cats"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"types": ("sci", "latin")}, "'latin' is not a caption type"),
        ({"types": ()}, "empty"),
        ({"draw": "epoch"}, "caption.draw is 'epoch'"),
        ({"context_length": 2}, "context_length is 2"),
    ],
)
def test_config_says_what_is_wrong(fields, message):
    with pytest.raises(UserError, match=message):
        CaptionConfig(**fields)
