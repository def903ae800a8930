"""Normalization of names: words for "unknown", Unicode, capitals, hybrid signs, genus and epithet."""

import math
import re
import unicodedata

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.text.names import (
    MISSING_PATTERN,
    clean_text,
    genus_and_epithet,
    is_missing,
    known_text,
    known_value,
    name_key,
    rank_name,
)

# Unknown ranks as written by pandas, R, Excel, SQL, JavaScript, GBIF, BIOSCAN, UNITE and people.
MISSING = (
    "nan NaN NAN None none NA na N/A n/a n.a. #N/A <NA> null NULL unknown Unknown UNKNOWN (unknown) "
    "[Unknown] undefined unidentified (unidentified) undetermined unclassified unassigned unplaced unranked "
    "not_classified pleasehelp incertae_sedis Incertae incertae.sedis - -- — ? . * Agaricales_Incertae_sedis"
).split()
MISSING += [
    "",
    " ",
    "Not assigned",
    "not known",
    "incertae sedis",
    "Unknown Unknown",
    "nan nan",
    "Fungi incertae sedis",
]
# Real names that contain or resemble such a word.
NAMES = {
    "Ipomoea nil": "Japanese morning glory",
    "Nonea": "a genus of borages",
    "Nannospalax": "a genus of mole rats",
    "Nullipora": "an old genus of coralline algae",
    "Nana": "a genus, and the epithet of thousands of dwarf species",
    "Uncertain": "English name of the moth Hoplodrina octogenaria",
    "Confused": "English name of the moth Apamea furva",
    "Suspected": "English name of the moth Parastichtis suspecta",
    "None-so-pretty": "English name of Silene armeria",
    "Unknown goose": "more than the word alone",
    "Na-dong": "more than the word alone",
    "sp.": "open nomenclature",
    "Malus sp.": "open nomenclature",
    "Nan goby": "more than the word alone",
    "苹果": "apple in Chinese",
}


@pytest.mark.parametrize("text", MISSING)
def test_words_for_unknown_are_missing(text):
    assert is_missing(text)
    assert (known_text(text), rank_name(text), genus_and_epithet(text, text)) == ("", "", ("", ""))


@pytest.mark.parametrize("name", NAMES)
def test_names_similar_to_words_for_unknown_are_kept(name):
    assert not is_missing(name)
    assert known_text(name) == name


@pytest.mark.parametrize("text", [*MISSING, *NAMES])
def test_the_pattern_matches_the_same_in_polars(text):
    assert pl.Series([text]).str.contains(MISSING_PATTERN).item() == is_missing(text)


@pytest.mark.parametrize("value", [None, math.nan, np.float32("nan"), pd.NA, pd.NaT, "", b""])
def test_empty_cells_of_any_type_are_missing(value):
    assert clean_text(value) == ""


def test_numbers_and_bytes_are_text():
    assert [clean_text(value) for value in (7, 2.5, "Isoëtes".encode(), True)] == [
        "7",
        "2.5",
        "Isoëtes",
        "True",
    ]


@pytest.mark.parametrize("text", ["none", "None", "+", "-"])
def test_none_and_signs_are_values_of_a_factor_but_not_names(text):
    assert known_value(text) == text
    assert known_text(text) == ""


@pytest.mark.parametrize("text", ["NA", "nan", "unknown", "Unknown", "n/a", "", "<NA>", "--"])
def test_words_for_unknown_are_missing_values_of_a_factor(text):
    assert known_value(text) == ""


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (unicodedata.normalize("NFD", "Isoëtes"), "Isoëtes"),
        ("Malus\u00a0domestica", "Malus domestica"),
        ("Malus\u2009\u3000domestica\t\n", "Malus domestica"),
        ("\ufeffMalus\u200b dome\u00adstica", "Malus domestica"),
        ("unknown", "unknown"),
        ("None", "None"),
    ],
)
def test_labels_keep_their_words_in_nfc_and_single_spaces(text, clean):
    assert clean_text(text) == clean


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("malus", "Malus"),
        ("MALUS", "Malus"),
        ("plantae", "Plantae"),
        ("Malus", "Malus"),
        ("éclipta", "Éclipta"),
        ("dsDNA viruses", "dsDNA viruses"),
        ("BOLD:AAA1234", "BOLD:AAA1234"),
        ("DNA", "DNA"),
        ("×Cuprocyparis", "× Cuprocyparis"),
        ("x Cuprocyparis", "× Cuprocyparis"),
        ("xCuprocyparis", "× Cuprocyparis"),
        ("Xanthium", "Xanthium"),
    ],
)
def test_rank_names_have_a_capital_and_one_hybrid_sign(text, name):
    assert rank_name(text) == name


@pytest.mark.parametrize(
    ("genus", "species", "expected"),
    [
        ("Malus", "domestica", ("Malus", "domestica")),
        ("Malus", "Malus domestica", ("Malus", "domestica")),
        ("malus", "Malus domestica", ("Malus", "domestica")),
        ("Malus", "malus domestica", ("Malus", "domestica")),
        ("MALUS", "DOMESTICA", ("Malus", "domestica")),
        ("MALUS", "MALUS DOMESTICA", ("Malus", "domestica")),
        ("Lilium", "Martagon", ("Lilium", "martagon")),
        ("Malus", "M. domestica", ("Malus", "domestica")),
        ("Malus", "M.domestica", ("Malus", "domestica")),
        ("malus", "m. domestica", ("Malus", "domestica")),
        ("Chenopodium", "Ch. rubrum", ("Chenopodium", "rubrum")),
        ("", "Malus domestica", ("Malus", "domestica")),
        ("unknown", "Malus domestica", ("Malus", "domestica")),
        ("", "M. domestica", ("", "M. domestica")),
        ("Malus", "Malus unknown", ("Malus", "")),
        ("Malus", "Malus", ("Malus", "")),
        ("Bufo", "bufo", ("Bufo", "bufo")),
        ("Bufo", "Bufo bufo", ("Bufo", "bufo")),
        ("Bufo", "Bufo bufo bufo", ("Bufo", "bufo bufo")),
        ("Bufo", "bufo bufo", ("Bufo", "bufo bufo")),
        ("BUFO", "BUFO BUFO", ("Bufo", "bufo")),
        ("", "CANIS LUPUS FAMILIARIS", ("Canis", "lupus familiaris")),
        ("Canis", "lupus familiaris", ("Canis", "lupus familiaris")),
        ("Canis", "Canis lupus familiaris", ("Canis", "lupus familiaris")),
        ("Cyanistes", "Parus caeruleus", ("Cyanistes", "caeruleus")),
        ("Mentha", "× piperita", ("Mentha", "× piperita")),
        ("Mentha", "×piperita", ("Mentha", "× piperita")),
        ("Mentha", "x piperita", ("Mentha", "× piperita")),
        ("Mentha", "Mentha X piperita", ("Mentha", "× piperita")),
        ("", "Mentha x piperita", ("Mentha", "× piperita")),
        ("Rosa", "xanthina", ("Rosa", "xanthina")),
        ("Malus", "domestica Borkh.", ("Malus", "domestica")),
        ("Malus", "Malus domestica (Suckow) Borkh., 1803", ("Malus", "domestica")),
        ("", "Malus domestica Borkh.", ("Malus", "domestica")),
        ("Carabus", "Carabus (Megodontus) violaceus", ("Carabus", "violaceus")),
        ("Carabus", "(Megodontus) violaceus L.", ("Carabus", "violaceus")),
        ("Carabus", "subgen. Megodontus violaceus", ("Carabus", "violaceus")),
        ("Turdus", "[merula] merula", ("Turdus", "merula")),
        ("× Cuprocyparis", "leylandii (A.B.Jacks. & Dallim.) Farjon", ("× Cuprocyparis", "leylandii")),
        ("Mentha", "× piperita L.", ("Mentha", "× piperita")),
        ("Isoëtes", "lacustris L.", ("Isoëtes", "lacustris")),
        ("Geospiza", "sp. 2", ("Geospiza", "sp. 2")),
        ("Megaselia", "sp. BOLD:AAA1234", ("Megaselia", "sp. BOLD:AAA1234")),
        ("Isoëtes", unicodedata.normalize("NFD", "Isoëtes echinospora"), ("Isoëtes", "echinospora")),
    ],
)
def test_genus_and_epithet_of_their_cells(genus, species, expected):
    assert genus_and_epithet(genus, species) == expected


PIECES = st.sampled_from(
    "Malus malus MALUS M. m.domestica Malus domestica × x X ×Malus xMalus unknown NA - ? sp. 2 lupus "
    "Isoe\u0308tes ß İ ŉ (Megodontus) [merula] subgen. L. Borkh., \u00a0 \u200b incertae sedis nil BOLD:AAA1 "
    "7-punctata Martagon".split(" ")
)
TEXTS = st.text(max_size=16) | st.lists(PIECES, max_size=4).map(" ".join)


def _letters(text: str) -> str:
    """The letters and digits of a name in one case, without hybrid signs."""
    text = re.sub(r"(?:^|(?<=\s))[xX×✕⨯](?=\s)|[×✕⨯]|^\s*[xX](?=[A-Z][a-z])", "", clean_text(text))
    return "".join(c for c in text.casefold() if c.isalnum())


@given(TEXTS)
def test_normalization_is_idempotent(text):
    for form in (clean_text, known_text, known_value, rank_name):
        once = form(text)
        assert form(once) == once
        assert unicodedata.is_normalized("NFC", once)
        assert once == " ".join(once.split())
        assert not once or _letters(once) == _letters(text)


@given(TEXTS, TEXTS)
def test_normalization_of_genus_and_epithet_is_idempotent_and_adds_nothing(genus, species):
    once = genus_and_epithet(genus, species)
    assert genus_and_epithet(*once) == once
    given_letters = _letters(genus) + "\n" + _letters(species)
    assert all(_letters(part) in given_letters for part in once)


@given(*[st.sampled_from([text for text in MISSING if "ales" not in text and "Fungi" not in text])] * 2)
def test_two_words_for_unknown_are_unknown(first, second):
    assert is_missing(f"{first} {second}")


def test_key_of_a_name():
    for name in ("vulpes vulpes", "VULPES  VULPES", "Vulpes vulpes (Linnaeus, 1758)", "Vulpes vulpes L."):
        assert name_key(name) == "vulpes vulpes"
    assert name_key("Red Fox") != name_key("Red Deer")
    assert name_key("Mustela cf. nivalis") != name_key("Mustela")
    assert name_key("") == ""
