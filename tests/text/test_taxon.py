"""Taxa: names, table rows, and round trips of tagged captions."""

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.text.captions import captions_from_taxon, taxon_from_captions
from bioclip_jax.text.names import known_text, last_epithet
from bioclip_jax.text.taxon import RANKS, Taxon

APPLE = Taxon(
    "Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Malus", "domestica", "apple"
)

# Words other than a rank's tag; several make names such as "sp. 3" or "incertae sedis".
word = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8).filter(
    lambda text: text not in RANKS and not text.endswith(".")
)
name = st.lists(word, max_size=3).map(" ".join).map(known_text)
taxa = st.builds(Taxon, *[name] * 8)


def test_names_of_a_full_taxon():
    assert APPLE.scientific_name == "Malus domestica"
    assert APPLE.taxonomic_name == "Plantae Tracheophyta Magnoliopsida Rosales Rosaceae Malus domestica"
    assert APPLE.lineage("order") == ("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales")
    assert APPLE.rank("class") == "Magnoliopsida"
    with pytest.raises(ValueError, match="tribe.*kingdom"):
        APPLE.rank("tribe")


def test_the_lowest_known_rank_replaces_a_missing_species():
    assert Taxon(kingdom="Animalia", order="Diptera").scientific_name == "Diptera"
    assert Taxon(kingdom="Animalia", order="Diptera").taxonomic_name == "Animalia Diptera"
    assert Taxon(genus="Malus").scientific_name == "Malus"
    assert Taxon().scientific_name == ""


def test_from_row_prefers_cls_and_removes_the_genus_from_the_species():
    row = {"kingdom": " Plantae ", "cls": "Magnoliopsida", "class": "label 7", "genus": "Malus"}
    row["species"] = "Malus  domestica"
    assert Taxon.from_row(row) == Taxon(
        kingdom="Plantae", class_="Magnoliopsida", genus="Malus", species="domestica"
    )
    assert Taxon.from_row({"class": "Aves", "order": None, "family": math.nan}) == Taxon(class_="Aves")


def test_tagged_caption_without_some_ranks():
    text = "a photo of kingdom Animalia class Aves genus Geospiza species sp. 2."
    assert Taxon.from_tagged(text) == Taxon(
        kingdom="Animalia", class_="Aves", genus="Geospiza", species="sp. 2"
    )
    for text in ("", "a photo of .", "a photo of a dog.", "Plantae Tracheophyta"):
        with pytest.raises(ValueError, match="not a tagged taxon name"):
            Taxon.from_tagged(text)


@given(taxa)
def test_a_tagged_caption_round_trips(taxon):
    if not taxon.taxonomic_name:
        return
    captions = captions_from_taxon(taxon)
    parsed = Taxon.from_tagged(captions["taxonTag_com"])
    assert parsed.lineage() == (*taxon.lineage("genus"), last_epithet(taxon.species))
    assert parsed.common_name == (taxon.common_name or taxon.scientific_name)
    assert Taxon.from_tagged(captions["taxonTag"]).lineage() == parsed.lineage()
    assert taxon_from_captions(captions).lineage() == taxon.lineage()


@given(taxa)
def test_a_row_round_trips(taxon):
    def row(taxon):
        return dict(zip((*RANKS, "common_name"), (*taxon.lineage(), taxon.common_name)))

    normal = Taxon.from_row(row(taxon))
    assert Taxon.from_row(row(normal)) == normal


@pytest.mark.parametrize("label", ["apple", "HEALTHY", "none", "unknown", "Not healthy", "sp. A"])
def test_a_label_in_a_lone_class_column_is_kept(label):
    for column in ("class", "cls"):
        assert Taxon.from_row({column: f" {label}\u00a0", "filepath": "a.jpg"}) == Taxon(class_=label)
    assert Taxon.from_row({"class": "aves", "order": ""}) == Taxon(class_="Aves")
    assert (
        Taxon.from_row({"class": "", "scientific_name": "Malus domestica"}).scientific_name
        == "Malus domestica"
    )


def test_unicode_form_and_case_do_not_change_the_taxon():
    row = {"kingdom": "plantae", "genus": "ISOËTES", "species": "Isoëtes echinospora", "common_name": "épi"}
    expected = Taxon(kingdom="Plantae", genus="Isoëtes", species="echinospora", common_name="épi")
    for form in ("NFC", "NFD"):
        assert (
            Taxon.from_row({name: unicodedata.normalize(form, text) for name, text in row.items()})
            == expected
        )
