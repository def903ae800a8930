"""Captions from a taxon compared with real shards, and completion of partial captions."""

import tarfile
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import sample_from_row
from bioclip_jax.text.captions import (
    CAPTION_FILES,
    CaptionConfig,
    MissingCaption,
    captions_from_taxon,
    complete_captions,
    taxon_from_captions,
)
from bioclip_jax.text.taxon import RANKS, Taxon

APPLE = Taxon(
    "Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Malus", "domestica", "apple"
)
NAMELESS = Taxon("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Malus", "domestica")
# What the published builder of the dataset writes.
PUBLISHED = ("scientific_name", "taxonomic_name", "sci", "taxon", "taxonTag")


@pytest.mark.shared_data
def test_captions_equal_those_of_real_shards(shared_data):
    captions = {}
    with tarfile.open(shared_data / "produce/tol_shards/val/shard-00000.tar") as tar:
        for member in tar:
            key, _, kind = member.name.partition(".")
            if kind.endswith(".txt"):
                captions.setdefault(key, {})[kind[:-4]] = tar.extractfile(member).read().decode()
    assert len(captions) == 196
    for stored in captions.values():
        assert captions_from_taxon(taxon_from_captions(stored)) == stored
        assert complete_captions({name: stored[name] for name in ("sci_com", "taxonTag")}) == stored


def test_the_scientific_name_replaces_a_missing_common_name():
    captions = captions_from_taxon(NAMELESS)
    assert set(captions) == set(CAPTION_FILES)
    assert captions["common_name"] == "Malus domestica"
    assert captions["sci_com"] == "a photo of Malus domestica with common name Malus domestica."
    published = {name: captions[name] for name in PUBLISHED}
    assert complete_captions(published) == captions
    assert taxon_from_captions(published) == NAMELESS


@given(st.sets(st.sampled_from(CAPTION_FILES), min_size=1))
def test_completion_keeps_given_captions_and_agrees_with_them(names):
    full = captions_from_taxon(APPLE)
    completed = complete_captions({name: full[name] for name in names})
    assert set(completed) == set(CAPTION_FILES)
    assert all(completed[name] == full[name] for name in names)
    if names & {"taxonTag", "taxonTag_com", "taxon", "taxonomic_name", "taxon_com"}:
        assert completed["taxon"] == full["taxon"] and completed["sci"] == full["sci"]
    if names & {"taxonTag_com", "sci_com", "taxon_com", "com", "common_name"}:
        assert completed["com"] == full["com"]


def test_no_usable_caption_is_an_error():
    for captions in ({}, {"sci": " "}, {"something": "else"}):
        with pytest.raises(MissingCaption):
            complete_captions(captions)
    with pytest.raises(MissingCaption):
        captions_from_taxon(Taxon())


def test_a_plain_caption_is_used_for_every_type():
    assert complete_captions({"txt": "two cats"})["taxon_com"] == "two cats"


# What the toolbox (Imageomics/TreeOfLife-toolbox, tol2webdataset) writes for the cells genus, species and
# scientific_name below Rosaceae: scientific_name, taxonomic_name and taxonTag. Its rules: a cell "unknown" in
# any case is skipped; the epithet is the last word of the species cell; scientific_name is that cell without
# full stops at its end, or else the cell of the lowest known rank.
TOOLBOX = [
    ("Malus", "Malus domestica", "", "Malus domestica", "Malus domestica", "genus Malus species domestica"),
    (
        "Malus",
        "Malus pumila",
        "Malus domestica",
        "Malus domestica",
        "Malus pumila",
        "genus Malus species pumila",
    ),
    ("Rosa", "Rosa alba", "Rosa alba Auct.", "Rosa alba Auct", "Rosa alba", "genus Rosa species alba"),
    ("Malus", "Unknown", "", "Malus", "Malus", "genus Malus"),
    ("unknown", "UNKNOWN", "", "Rosaceae", "", ""),
    ("unknown", "", "Rosaceae sp.", "Rosaceae sp", "", ""),
    ("Rosa", "Rosa canina inermis", "", "Rosa canina inermis", "Rosa inermis", "genus Rosa species inermis"),
    ("Rosa", "Rosa × alba", "", "Rosa × alba", "Rosa alba", "genus Rosa species alba"),
    (
        "Rosa",
        "Rosa canina var. inermis",
        "",
        "Rosa canina var. inermis",
        "Rosa inermis",
        "genus Rosa species inermis",
    ),
]


@pytest.mark.parametrize(("genus", "species", "name", "sci", "taxonomic", "tag"), TOOLBOX)
def test_captions_of_a_row_equal_the_toolboxs(genus, species, name, sci, taxonomic, tag):
    row = {
        "kingdom": "Plantae",
        "phylum": "unknown",
        "family": "Rosaceae",
        "genus": genus,
        "species": species,
    }
    captions = sample_from_row("key", b"", row | {"scientific_name": name}).captions
    taxonomic, tag = f"Plantae Rosaceae {taxonomic}".strip(), f"kingdom Plantae family Rosaceae {tag}".strip()
    assert captions["scientific_name"] == sci
    assert captions["sci"] == f"a photo of {sci}."
    assert captions["taxonomic_name"] == taxonomic
    assert captions["taxon"] == f"a photo of {taxonomic}."
    assert captions["taxonTag"] == f"a photo of {tag}."


# The toolbox would train on "a photo of M. domestica.", "a photo of Malus Malus domestica." and "a photo of
# .".
@pytest.mark.parametrize(
    ("row", "taxonomic"),
    [
        ({"genus": "Malus", "species": "M. domestica"}, "Malus domestica"),
        ({"genus": "malus", "species": "Malus domestica"}, "Malus domestica"),
        ({"genus": "Malus", "species": "domestica"}, "Malus domestica"),
        ({"species": "Malus domestica"}, "Malus domestica"),
        ({"scientific_name": "Malus domestica"}, "Malus domestica"),
        ({"scientificName": "Malus domestica", "scientific_name": None}, "Malus domestica"),
        (
            {"kingdom": "NA", "genus": "nan", "species": "", "scientific_name": "Malus domestica"},
            "Malus domestica",
        ),
    ],
)
def test_all_spellings_of_a_species_give_the_same_captions(row, taxonomic):
    sample = sample_from_row("key", b"", row)
    assert sample.taxon == Taxon(genus="Malus", species="domestica")
    assert sample.captions == captions_from_taxon(Taxon(genus="Malus", species="domestica"))
    assert sample.captions["sci"] == f"a photo of {taxonomic}."


def test_a_scientific_name_instead_of_ranks_is_parsed():
    def sample_of(name):
        return sample_from_row("key", b"", {"scientific_name": name})

    sample = sample_of("Isoëtes lacustris L., 1753")
    assert sample.taxon == Taxon(genus="Isoëtes", species="lacustris")
    assert sample.captions["sci"] == "a photo of Isoëtes lacustris L., 1753."
    assert sample.captions["taxon"] == "a photo of Isoëtes lacustris."
    assert sample_of("Canis lupus familiaris").taxon == Taxon(genus="Canis", species="lupus familiaris")
    assert sample_of("Mentha x piperita L.").taxon == Taxon(genus="Mentha", species="× piperita")
    # The rank of a single word is unknown.
    assert sample_of("Rosaceae").taxon == Taxon()
    assert sample_of("Rosaceae").captions["taxonTag"] == "a photo of Rosaceae."


def test_captions_never_contain_words_for_unknown():
    for word in ("Unknown", "nan", "NA", "None", "-", "incertae sedis"):
        row = dict.fromkeys((*RANKS, "common_name", "scientific_name"), word)
        sample = sample_from_row("key", b"", row)
        assert (sample.taxon, sample.captions) == (Taxon(), {}), word
        sample = sample_from_row("key", b"", row | {"order": "Rosales"})
        assert set(sample.captions.values()) == set(captions_from_taxon(Taxon(order="Rosales")).values()), (
            word
        )


@pytest.mark.parametrize(
    "captions",
    [
        {
            "scientific_name": "Unknown",
            "taxonomic_name": "",
            "sci": "a photo of Unknown.",
            "taxon": "a photo of .",
        }
        | {"taxonTag": "a photo of unknown taxonomy."},
        {"sci": "a photo of Unknown Unknown.", "com": "a photo of NA."},
        {"taxon_com": "a photo of nan nan nan with common name nan."},
        {"taxonTag": "a photo of kingdom Unknown phylum Unknown species unknown."},
    ],
)
def test_stored_captions_with_only_unknown_names_are_missing(captions):
    with pytest.raises(MissingCaption):
        complete_captions(captions)
    assert taxon_from_captions(captions) is None


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (
            {"taxon": "a photo of Animalia Unknown Unknown Felis catus."},
            {"taxon": "a photo of Animalia Felis catus."},
        ),
        ({"sci": "a photo of Felis Unknown."}, {"sci": "a photo of Felis.", "com": "a photo of Felis."}),
        (
            {
                "taxonTag_com": "a photo of kingdom Animalia phylum NA order - genus Felis with common name "
                "incertae sedis."
            },
            {
                "taxonTag": "a photo of kingdom Animalia genus Felis.",
                "taxon_com": "a photo of Animalia Felis with common name Felis.",
            },
        ),
        (
            {"sci_com": "a photo of Felis catus with common name Unknown."},
            {
                "sci": "a photo of Felis catus.",
                "sci_com": "a photo of Felis catus with common name Felis catus.",
            },
        ),
        (
            {"sci": "a photo of Unknown.", "com": "a photo of None-so-pretty."},
            {"sci": "a photo of None-so-pretty.", "com": "a photo of None-so-pretty."},
        ),
        # Here these words do not mean "unknown", so the captions are kept.
        ({"com": "a photo of a goose of unknown origin."}, {"com": "a photo of a goose of unknown origin."}),
        ({"sci": "a photo of Ipomoea nil."}, {"sci": "a photo of Ipomoea nil."}),
        ({"sci": "a photo of Rosa × alba."}, {"sci": "a photo of Rosa × alba."}),
        ({"txt": "unknown"}, {"txt": "unknown"}),
    ],
)
def test_words_for_unknown_are_removed_from_stored_captions(stored, expected):
    completed = complete_captions(stored)
    assert {name: completed[name] for name in expected} == expected
    assert set(completed) >= set(CAPTION_FILES)


def test_captions_of_a_subspecies():
    taxon = Taxon("Animalia", genus="Canis", species="lupus familiaris", common_name="dog")
    captions = captions_from_taxon(taxon)
    assert captions["sci"] == "a photo of Canis lupus familiaris."
    assert captions["taxon"] == "a photo of Animalia Canis familiaris."
    assert taxon_from_captions(captions) == taxon
    nameless = replace(taxon, common_name="")
    assert taxon_from_captions(captions_from_taxon(nameless)) == nameless


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"types": ("sci", "latin")}, "'latin' is not a caption type"),
        ({"types": ()}, "empty"),
        ({"draw": "epoch"}, "caption.draw is 'epoch'"),
        ({"context_length": 2}, "context_length is 2"),
    ],
)
def test_invalid_configs(fields, message):
    with pytest.raises(UserError, match=message):
        CaptionConfig(**fields)
