"""Parsing of scientific names in many spellings."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.curate.align.match import same_author
from bioclip_jax.text.scientific_names import NO_NAME, parse_any_name, parse_name

CANONICAL = {
    "Malus domestica": "Malus domestica",
    "Malus domestica (L.) Mill., 1768": "Malus domestica",
    "Malus domestica Borkh.": "Malus domestica",
    "Aus bus Smith in Jones, 1900": "Aus bus",
    "Aus bus Foo ex Bar": "Aus bus",
    "Aus bus d'Orbigny & de la Cruz": "Aus bus",
    "Carex nigra L. f.": "Carex nigra",
    "Pinus sylvestris von Foo": "Pinus sylvestris",
    "  Ursus \u00a0arctos\t Linnaeus": "Ursus arctos",
    "Ursus_arctos": "Ursus arctos",
    '"Ursus arctos"': "Ursus arctos",
    "†Smilodon fatalis": "Smilodon fatalis",
    "URSUS ARCTOS": "Ursus arctos",
    "URSUS ARCTOS LINNAEUS, 1758": "Ursus arctos",
    "ROSA CANINA L.": "Rosa canina",
    "CANIS LUPUS FAMILIARIS": "Canis lupus familiaris",
    "ursus arctos": "Ursus arctos",
    "ursus": "Ursus",
    "Isoëtes echinospora": "Isoetes echinospora",
    "Aus mülleri": "Aus muelleri",
    "Cæsalpinia pulcherrima": "Caesalpinia pulcherrima",
    "Aus o'neilli": "Aus oneilli",
    "Coccinella 7-punctata": "Coccinella 7-punctata",
    "Aus (Bus) cus L.": "Aus cus",
    "Aus (Smith)": "Aus",
    "Canis lupus subsp. familiaris L.": "Canis lupus familiaris",
    "Malus domestica Borkh. var. alba (L.) Foo ex Bar": "Malus domestica alba",
    "Rosa canina f. alba": "Rosa canina alba",
    "Rosa canina 'Alba'": "Rosa canina",
    "Rosa canina cv. Alba": "Rosa canina",
    "Rubus fruticosus agg.": "Rubus fruticosus",
    "Rosa sect. Caninae": "Rosa",
    "Oenanthe Vieillot, 1816": "Oenanthe",
    # Published examples of gnparser's testdata.
    "Pseudocercospora broussonetiae (Chupp & Linder) X.J. Liu & Y.L. Guo 1989": "Pseudocercospora "
    "broussonetiae",
    "Carabus (Tanaocarabus) hendrichsi Bolvar y Pieltain, Rotger & Coronado-G 1967": "Carabus hendrichsi",
    "Acanthoderes (acanthoderes) satanas Aurivillius, 1923": "Acanthoderes satanas",
    # The same with the initial apart, a subgenus by its mark, and superspecies.
    "Pseudocercospora broussonetiae (Chupp & Linder) X Liu & Y.L. Guo 1989": "Pseudocercospora broussonetiae",
    "Aus bus X Liu, 1989": "Aus bus",
    "Aus bus X Liu": "Aus bus",
    "AUS BUS (CHUPP) X LIU, 1989": "Aus bus",
    "Carabus subgen. Megodontus violaceus": "Carabus violaceus",
    "Carabus subg. Megodontus violaceus Linnaeus, 1758": "Carabus violaceus",
    "Rosa sect. Caninae canina L.": "Rosa canina",
    "Carabus [violaceus] violaceus": "Carabus violaceus",
    "Turdus [merula] merula Linnaeus, 1758": "Turdus merula",
    "Carabus (Megodontus) [violaceus] violaceus": "Carabus violaceus",
    "Carabus subgen. Megodontus [violaceus] violaceus": "Carabus violaceus",
    "Carabus subgen. Megodontus": "Carabus",
    "Turdus [merula]": "Turdus merula",
    "Aus [sic] bus": "Aus bus",
    "Aus bus [sic]": "Aus bus",
    "U. arctos": "",
    "123": "",
    "?": "",
    "": "",
}


@pytest.mark.parametrize("text", CANONICAL)
def test_canonical_name(text):
    assert parse_name(text).canonical == CANONICAL[text]


@pytest.mark.parametrize(
    "sign", ["Mentha × piperita L.", "Mentha x piperita", "Mentha X piperita", "Mentha ×piperita"]
)
def test_hybrid_sign_before_an_epithet(sign):
    name = parse_name(sign)
    assert (name.canonical, name.hybrid, name.formula) == ("Mentha piperita", True, False)


@pytest.mark.parametrize("sign", ["×", "X ", "× ", "x ", "x"])
def test_hybrid_genus(sign):
    name = parse_name(f"{sign}Cuprocyparis leylandii")
    assert (name.canonical, name.hybrid) == ("Cuprocyparis leylandii", True)


def test_notho_ranks_and_epithets_that_start_with_x():
    assert parse_name("Aus bus nothosubsp. cus").canonical == "Aus bus cus"
    assert parse_name("Rosa xanthina") == NO_NAME._replace(genus="Rosa", species="xanthina")


FORMULAS = (
    "Salix alba × fragilis",
    "Salix alba L. x S. fragilis L.",
    "Salix alba × Salix fragilis",
    "Salix alba L. X S. fragilis L.",
    "Salix alba X Salix fragilis",
    "Salix alba X fragilis",
)


@pytest.mark.parametrize("text", FORMULAS)
def test_a_hybrid_formula_keeps_a_shared_genus(text):
    name = parse_name(text)
    assert (name.formula, name.canonical) == (True, "Salix")


def test_a_hybrid_between_genera_has_no_genus():
    assert parse_name("Mentha aquatica × Rosa canina").canonical == ""
    # gnparser's examples
    hybrids = (
        "Arthopyrenia hyalospora X Hydnellum scrobiculatum",
        "Asplenium rhizophyllum X A. ruta-muraria E.L. Braun",
    )
    for text in hybrids:
        assert parse_name(text).formula, text


@pytest.mark.parametrize(
    ("text", "canonical", "qualifier"),
    [
        ("Ursus sp.", "Ursus", "sp."),
        ("Ursus sp. 1", "Ursus", "sp."),
        ("Ursus sp1", "Ursus", "sp."),
        ("Ursus spp", "Ursus", "spp."),
        ("Ursus cf. arctos", "Ursus", "cf."),
        ("Ursus aff. arctos L.", "Ursus", "aff."),
        ("cf. Ursus arctos", "Ursus", "cf."),
        ("Ursus arctos?", "Ursus", "?"),
        ("Ursus ?arctos", "Ursus", "?"),
        ("Canis lupus cf. familiaris", "Canis lupus", "cf."),
    ],
)
def test_uncertain_epithets_are_dropped(text, canonical, qualifier):
    name = parse_name(text)
    assert (name.canonical, name.qualifier) == (canonical, qualifier)


def test_authorship_rank_and_year():
    name = parse_name("Malus domestica var. alba (L.) Mill. ex Foo, 1768")
    assert (name.authorship, name.rank, name.year) == ("(L.) Mill. ex Foo, 1768", "var.", "1768")
    assert parse_name("Aus bus d'Orbigny").authorship == "d'Orbigny"


PIECES = (
    "[aus] subgen. X Aus Bus cus dus-eus × x X ? cf. aff. sp. spp. var. subsp. f. cv. ex in L. (L.) Mill., "
    "1768 'Gold' \" ‘ de & Ünal müll æus (Bus) ABC DEF † _ 7-punctata d'Orbigny o'neilli sp1 ??? von x. "
    "\u00a0 \x00 Abc?"
).split(" ")
TEXTS = st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=7).map(" ".join)


@settings(max_examples=600)
@given(TEXTS)
def test_any_text_is_parsed_and_canonical_names_are_stable(text):
    name = parse_name(text)
    assert parse_name(name.canonical).canonical == name.canonical
    assert name.canonical.isascii()
    # Plain names take a fast path, which must give the same result.
    assert name == parse_any_name(text)


# With an ending, so that none is a word such as "subsp".
WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=12).map("{}ia".format)
AUTHORS = st.sampled_from(
    ["", "L.", "(L.) Mill.", "Smith & Jones, 1901", "Foo ex Bar", "de Vries", "Hook.f. in Foo"]
)


@settings(max_examples=150)
@given(WORDS, WORDS, AUTHORS, st.sampled_from(["{} {} {}", "{}  {}\t{}", "†{} {} {}", "“{} {}” {}"]))
def test_a_binomial_is_found_in_any_context(genus, species, author, form):
    text = unicodedata.normalize("NFD", form.format(genus.capitalize(), species, author))
    assert parse_name(text).canonical == f"{genus.capitalize()} {species}"


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("L.", "Linnaeus, 1758", True),
        ("(L.) Mill.", "(Linnaeus) Miller, 1768", True),
        ("Smith, 1900", "Smith & Jones, 1901", True),
        ("Smith, 1900", "Smith, 1950", False),
        ("(L.) Mill.", "L.", False),
        ("Vieillot, 1816", "L.", False),
        ("", "L.", False),
        ("Lacépède", "Lacepede", True),
        ("DC.", "de Candolle", True),
    ],
)
def test_authors_abbreviated_or_not(left, right, same):
    assert same_author(left, right) is same
    assert same_author(right, left) is same
