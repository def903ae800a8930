"""Filters of taxa: subsets by names, and all taxa within a taxon."""

import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.errors import UserError
from bioclip_jax.predict.rank import Rank
from bioclip_jax.predict.taxa.filter import read_subset, rows_named, rows_within
from bioclip_jax.predict.taxa.names import TaxaNames

TAXA = [
    "Animalia,Chordata,Mammalia,Carnivora,Felidae,Felis,catus,domestic cat",
    "Animalia,Chordata,Mammalia,Carnivora,Felidae,Felis,silvestris,wildcat",
    "Animalia,Chordata,Mammalia,Carnivora,Felidae,Panthera,leo,lion",
    "Animalia,Chordata,Mammalia,Carnivora,Canidae,Canis,lupus familiaris,dog",
    "Animalia,Chordata,Aves,Suliformes,Sulidae,Morus,bassanus,northern gannet",
    "Animalia,Chordata,Aves,Suliformes,Sulidae,Morus,serrator,gannet",
    "Plantae,Tracheophyta,Magnoliopsida,Rosales,Moraceae,Morus,alba,white mulberry",
    "Plantae,Tracheophyta,Magnoliopsida,Rosales,Moraceae,Morus,alba,white mulberry",
    "Plantae,,,Rosales,Rosaceae,Malus,,apple",
    "Fungi,Ascomycota,Ascomycota,,,Peziza,alba,gannet",
]
NAMES = TaxaNames.from_rows(line.split(",") for line in TAXA)


def species_at(rows):
    assert rows.dtype == np.int32 and (np.diff(rows) > 0).all()
    return [NAMES.row(int(row))["species"] for row in rows]


@pytest.mark.parametrize(
    ("taxon", "expected"),
    [
        ("Felidae", ["Felis catus", "Felis silvestris", "Panthera leo"]),
        ("  felis   CATUS ", ["Felis catus"]),
        ("Canis lupus familiaris", ["Canis lupus familiaris"]),
        ("White Mulberry", ["Morus alba", "Morus alba"]),
        ("Morus alba", ["Morus alba", "Morus alba"]),
        ("Plantae Morus", ["Morus alba", "Morus alba"]),
        ("animalia > morus", ["Morus bassanus", "Morus serrator"]),
        ("Aves/Sulidae/Morus bassanus", ["Morus bassanus"]),
        ("Animalia Chordata Aves Suliformes Sulidae Morus serrator", ["Morus serrator"]),
        ("Animalia / Felidae > Felis/silvestris", ["Felis silvestris"]),
        ("Carnivora Felis silvestris", ["Felis silvestris"]),
        ("Fungi gannet", ["Peziza alba"]),
        # A class in a phylum of the same name is not ambiguous.
        ("Ascomycota", ["Peziza alba"]),
        ("Malus", ["Malus"]),
        ("apple", ["Malus"]),
    ],
)
def test_rows_within_a_taxon_of_any_rank(taxon, expected):
    assert species_at(rows_within(NAMES, taxon)) == expected


@pytest.mark.parametrize("rank", list(Rank))
def test_rows_within_the_full_path_of_every_taxon(rank):
    starts = NAMES.starts(rank)
    for start, stop in zip(starts, [*starts[1:], len(NAMES)]):
        lineage = [name for name in NAMES.taxon(int(start)).lineage()[: rank.value + 1] if name]
        for path in (" ".join(lineage), "/".join(lineage)):
            rows = rows_within(NAMES, path)
            assert {start, stop - 1} <= set(rows.tolist()), f"{path} misses rows of its own"


def test_full_path_with_an_unknown_rank_is_unambiguous():
    names = TaxaNames.from_rows(
        [("A", "", "Mammalia", "", "", "", "x", ""), ("A", "Chordata", "Mammalia", "", "", "", "y", "")]
    )
    with pytest.raises(
        UserError, match="'Mammalia' is 2 taxa; give the taxa above it, .*: A Mammalia; A Chordata Mammalia"
    ):
        rows_within(names, "Mammalia")
    assert rows_within(names, "A Mammalia").tolist() == [0]
    assert rows_within(names, "a/chordata/mammalia").tolist() == [1]


def test_ambiguous_names_are_listed_with_their_paths():
    with pytest.raises(UserError) as caught:
        rows_within(NAMES, "Morus")
    assert str(caught.value) == (
        "'Morus' is 2 taxa; give the taxa above it, as in: Animalia Chordata Aves Suliformes Sulidae Morus; "
        "Plantae Tracheophyta Magnoliopsida Rosales Moraceae Morus"
    )
    with pytest.raises(UserError, match="'gannet' is 2 taxa"):
        rows_within(NAMES, "gannet")


@pytest.mark.parametrize("taxon", ["", ">", "Mustela", "Plantae Felis", "catus", "Felidae Mammalia"])
def test_unknown_taxon_is_an_error(taxon):
    with pytest.raises(UserError, match="no taxon is called"):
        rows_within(NAMES, taxon)


@pytest.fixture(params=["rapidfuzz", "difflib"])
def spelling(request, monkeypatch):
    if request.param == "difflib":
        monkeypatch.setitem(sys.modules, "rapidfuzz", None)


def test_similar_names_are_suggested(spelling):
    with pytest.raises(UserError, match=r"did you mean Mammalia"):
        rows_within(NAMES, "mamalia")
    with pytest.raises(UserError, match=r"did you mean domestic cat\?"):
        rows_within(NAMES, "domestik cat")
    with pytest.raises(UserError) as caught:
        rows_named(NAMES, Rank.SPECIES, ["Felis catus", "Felis cattus", "Xy zz"])
    assert str(caught.value).startswith(
        "Unknown species received: Felis cattus, Xy zz. Only known species may be used:"
    )
    assert "'Felis cattus' is nearest to Felis catus" in str(caught.value) and "'Xy zz' is" not in str(
        caught.value
    )
    with pytest.raises(UserError, match="'Felida' is nearest to Felidae"):
        rows_named(NAMES, Rank.FAMILY, ["Felida"])


def test_message_about_many_unknown_names_is_short():
    with pytest.raises(UserError, match="and 980 more") as caught:
        rows_named(NAMES, Rank.SPECIES, [f"Felis x{i}" for i in range(1000)])
    assert len(str(caught.value)) < 1500


@given(st.data())
def test_rows_named(data):
    rank = data.draw(st.sampled_from(list(Rank)))
    known = [NAMES.row(i)[rank.get_label()] for i in range(len(NAMES))]
    values = data.draw(st.lists(st.sampled_from(known), min_size=1))
    expected = [i for i, name in enumerate(known) if name in values]
    if rank is Rank.SPECIES or "" not in values:
        assert rows_named(NAMES, rank, values).tolist() == expected


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_names_match_in_any_unicode_form(stored, asked):
    rows = ["Plantae,,,,Isoëtaceae,Isoëtes,lacustris,quillwort", "Plantae,,,,Rosaceae,Malus,domestica,apple"]
    names = TaxaNames.from_rows(unicodedata.normalize(stored, row).split(",") for row in rows)
    ask = [unicodedata.normalize(asked, text) for text in ("Isoëtes\u00a0lacustris", "Isoëtes", "Isoëtaceae")]
    for rank, text in zip((Rank.SPECIES, Rank.GENUS, Rank.FAMILY), ask):
        assert [names.row(int(row))["species_epithet"] for row in rows_named(names, rank, [text])] == [
            "lacustris"
        ]


def test_unknown_cells_of_a_subset_are_skipped(tmp_path):
    path = tmp_path / "subset.csv"
    path.write_text("genus\nFelis\nNA\nunknown\n-\nCanis\nincertae sedis\n")
    assert read_subset(path) == (Rank.GENUS, ["Felis", "Canis"])


def test_names_of_filtered_out_taxa_are_unknown():
    cats = NAMES.take(rows_within(NAMES, "Felidae"))
    assert rows_named(cats, Rank.GENUS, ["Felis"]).tolist() == [0, 1]
    for rank, value in (
        (Rank.GENUS, "Canis"),
        (Rank.SPECIES, "Morus alba"),
        (Rank.SPECIES, "Panthera catus"),
    ):
        with pytest.raises(UserError, match=f"Unknown {rank.get_label()} received: {value}"):
            rows_named(cats, rank, [value])


@pytest.mark.parametrize(
    ("text", "rank", "values"),
    [
        (
            "species\nFelis catus\n\nPanthera leo \nFelis catus\n",
            Rank.SPECIES,
            ["Felis catus", "Panthera leo"],
        ),
        ("\ufeffGenus,note\nFelis,small\nPanthera,\n", Rank.GENUS, ["Felis", "Panthera"]),
        ('CLASS\n"Mammalia"\n', Rank.CLASS, ["Mammalia"]),
        ("Species;n\nFelis catus;3\n", Rank.SPECIES, ["Felis catus"]),
        ("species,genus\nFelis catus,Felis\n", Rank.SPECIES, ["Felis catus"]),
        ("id,genus,Species\n1,Felis,catus\n2,Felis,\n", Rank.SPECIES, ["Felis catus"]),
        ("id,Family,genus\n1,Felidae,Felis\n", Rank.GENUS, ["Felis"]),
        ("Common name\tn\nHouse cat\t1\n", "common_name", ["House cat"]),
        ("id,common_name\n1,House cat\n", "common_name", ["House cat"]),
        ("id,family,scientific_name\n1,Felidae,Felis catus L.\n", Rank.SPECIES, ["Felis catus"]),
        (
            "taxonKey\tscientificName\tspecies\n1\tFelis catus Linnaeus, 1758\tFelis catus\n2\tFelis L.\t\n",
            Rank.SPECIES,
            ["Felis catus"],
        ),
        (
            'scientificName,n\n"Felis catus Linnaeus, 1758",1\nMalus (Malus) domestica (Suckow) Borkh.,2\n'
            "Bellis perennis von Tavel,3\n",
            Rank.SPECIES,
            ["Felis catus", "Malus domestica", "Bellis perennis"],
        ),
    ],
)
def test_read_subset(tmp_path, text, rank, values):
    (tmp_path / "s.csv").write_text(text, encoding="utf-8")
    assert read_subset(tmp_path / "s.csv") == (rank, values)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b"name\nFelis\n",
            "s.csv has none of the columns kingdom, .*species, .*, only name; rename one of them",
        ),
        (b"", "is empty"),
        (b"genus,n\n\n,x\n", "lists no genus"),
        (b"genus\n\x81\n", "not a readable CSV"),
        (None, "does not exist"),
    ],
)
def test_invalid_subsets_are_errors(tmp_path, data, message):
    if data is not None:
        (tmp_path / "s.csv").write_bytes(data)
    with pytest.raises(UserError, match=message):
        read_subset(tmp_path / "s.csv")


def test_subset_by_common_names(tmp_path):
    common = sorted(set(NAMES.dictionary("common_name").to_pylist()) - {""})[:2]
    expected = [row for row in range(len(NAMES)) if NAMES.taxon(row).common_name in common]
    assert rows_named(NAMES, "common_name", [name.upper() for name in common]).tolist() == expected
    with pytest.raises(UserError, match="Unknown common name received: nobody"):
        rows_named(NAMES, "common_name", ["nobody"])


@pytest.mark.parametrize(
    ("rank", "values", "expected"),
    [
        (Rank.SPECIES, ["felis CATUS", "MORUS alba"], ["Felis catus", "Morus alba", "Morus alba"]),
        (Rank.SPECIES, ["canis Lupus Familiaris", "malus"], ["Canis lupus familiaris", "Malus"]),
        (Rank.GENUS, ["PANTHERA"], ["Panthera leo"]),
        (Rank.CLASS, ["aves"], ["Morus bassanus", "Morus serrator"]),
    ],
)
def test_subset_matches_in_any_case(rank, values, expected):
    assert species_at(rows_named(NAMES, rank, values)) == expected


def test_names_differing_only_in_case_all_match():
    names = TaxaNames.from_columns({"genus": ["Aus", "AUS", "Bus"], "species": ["bus", "Bus", "bus"]})
    assert (
        len(rows_named(names, Rank.SPECIES, ["aus bus"])) == 2
        and len(rows_named(names, Rank.GENUS, ["aUs"])) == 2
    )


def test_skip_unknown_reports_the_skipped_names(capsys):
    values = ["Felis catus", "Felis onca", "Nothing here"]
    with pytest.raises(UserError, match="Felis onca, Nothing here"):
        rows_named(NAMES, Rank.SPECIES, values)
    assert species_at(rows_named(NAMES, Rank.SPECIES, values, skip_unknown=True)) == ["Felis catus"]
    assert (
        "skipped 2 unknown species names of the subset: Felis onca, Nothing here" in capsys.readouterr().err
    )
    with pytest.raises(UserError, match="Felis onca"):
        rows_named(NAMES, Rank.SPECIES, ["Felis onca"], skip_unknown=True)
