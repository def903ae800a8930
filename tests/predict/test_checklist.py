"""Checklists: reading of names with authors and ranks, and the taxa of a head that they select."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.errors import UserError
from bioclip_jax.predict.rank import Rank
from bioclip_jax.predict.taxa import TaxaNames, read_checklist, resolve_checklist

ROWS = (
    ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Felis", "catus", "House cat"),
    ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Felis", "silvestris", "Wildcat"),
    ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "leo", "Lion"),
    ("Animalia", "Chordata", "Mammalia", "Carnivora", "Mustelidae", "Mustela", "nivalis", "Least weasel"),
    ("Animalia", "Chordata", "Mammalia", "Carnivora", "Mustelidae", "Mustela", "erminea", "Stoat"),
    ("Animalia", "Chordata", "Aves", "Suliformes", "Sulidae", "Morus", "bassanus", "Gannet"),
    ("Animalia", "Arthropoda", "Insecta", "Coleoptera", "Carabidae", "Carabus", "violaceus", ""),
    ("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Moraceae", "Morus", "alba", "White mulberry"),
    ("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Rosa", "canina", "Dog rose"),
    ("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Rosa", "gallica", ""),
    ("Plantae", "Tracheophyta", "Magnoliopsida", "Lamiales", "Lamiaceae", "Mentha", "× piperita", "Mint"),
    ("Plantae", "Tracheophyta", "Lycopodiopsida", "Isoetales", "Isoetaceae", "Isoëtes", "lacustris", ""),
)
NAMES = TaxaNames.from_rows(ROWS)


def selected(path: Path, **options) -> list[str]:
    resolution = resolve_checklist(NAMES, read_checklist(path), **options)
    return [NAMES.row(int(row))["species"] for row in np.flatnonzero(resolution.mask(NAMES))]


def written(folder: Path, text: str, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


CATS = ["Felis catus", "Felis silvestris"]
ROSES = ["Rosa canina", "Rosa gallica"]
# A download of GBIF: a synonym, a subspecies, records of a genus and of a kingdom, and a BOLD bin.
GBIF_COLUMNS = (
    "taxonKey scientificName acceptedTaxonKey acceptedScientificName numberOfOccurrences taxonRank "
    "taxonomicStatus kingdom phylum class order family genus species iucnRedListCategory"
).split()


def gbif_list(*rows: str) -> str:
    """Return a species list of GBIF from "name|accepted|count|rank|lineage from kingdom" rows."""
    lines = ["\t".join(GBIF_COLUMNS)]
    for row in rows:
        name, accepted, count, rank, lineage = row.split("|")
        names = (lineage.split("/") + [""] * 7)[:7]
        status = "ACCEPTED" if name == accepted else "SYNONYM"
        lines.append("\t".join(["1", name, "2", accepted, count, rank, status, *names, "LC"]))
    return "\n".join(lines) + "\n"


MAMMAL = "Animalia/Chordata/Mammalia/Carnivora"
ROSA = "Plantae/Tracheophyta/Magnoliopsida/Rosales/Rosaceae/Rosa"
CAT = "Felis catus Linnaeus, 1758"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Felis catus\nRosa canina\n", ["Felis catus", "Rosa canina"], id="no header"),
        pytest.param(
            "Felis catus Linnaeus, 1758\nRosa canina L.\n", ["Felis catus", "Rosa canina"], id="author, comma"
        ),
        pytest.param(
            "scientificName\nFelis silvestris Schreber, 1777\n", ["Felis silvestris"], id="header, comma"
        ),
        pytest.param("taxon;n\nFelis Linnaeus, 1758;3\n", CATS, id="a genus with author, semicolons"),
        pytest.param("name\nFelidae\nRosa\n", [*CATS, "Panthera leo", *ROSES], id="mixed ranks"),
        pytest.param("Mentha x piperita L.\n", ["Mentha × piperita"], id="hybrid as x"),
        pytest.param("Mentha ×piperita\n", ["Mentha × piperita"], id="hybrid sign"),
        pytest.param("Mentha piperita\n", ["Mentha × piperita"], id="hybrid without sign"),
        pytest.param("Isoetes lacustris L.\n", ["Isoëtes lacustris"], id="without diaeresis"),
        pytest.param("Carabus (Megodontus) violaceus Linnaeus\n", ["Carabus violaceus"], id="subgenus"),
        pytest.param("Rosa cf. canina\n", ROSES, id="cf. is its genus"),
        pytest.param("Rosa sp.\n", ROSES, id="sp. is its genus"),
        pytest.param("Felis silvestris grampia Miller, 1907\n", ["Felis silvestris"], id="subspecies"),
        pytest.param("house CAT\nDog rose\n", ["Felis catus", "Rosa canina"], id="common names"),
        pytest.param("species\nFelis catus\n", ["Felis catus"], id="pybioclip's column"),
        pytest.param("Genus,note\nFelis,small\n", CATS, id="pybioclip's column of a rank"),
        pytest.param(
            "kingdom,family,genus,species\nPlantae,Rosaceae,Rosa,canina\n", ["Rosa canina"], id="lineages"
        ),
        pytest.param(
            "id,family,genus,species\n1,Felidae,Felis,catus\n2,Rosaceae,,\n3,Moraceae,Morus,\n",
            ["Felis catus", "Morus alba", *ROSES],
            id="lowest rank of each row",
        ),
        pytest.param(
            gbif_list(
                f"{CAT}|{CAT}|90|SPECIES|{MAMMAL}/Felidae/Felis/Felis catus",
                f"Felis Linnaeus, 1758|Felis Linnaeus, 1758|4|GENUS|{MAMMAL}/Felidae/Felis",
                f"Rosa Linnaeus|Rosa Linnaeus|7|GENUS|{ROSA}",
                "Animalia|Animalia|1000|KINGDOM|Animalia",
                "BOLD:AAA1234|BOLD:AAA1234|1|UNRANKED|Animalia",
                "Mustelini|Mustelini|1|TRIBE|" + MAMMAL + "/Mustelidae",
                f"Felis leo L.|Panthera leo (L.)|5|SPECIES|{MAMMAL}/Felidae/Panthera/Panthera leo",
                "Morus Vieillot|Morus Vieillot|2|GENUS|Animalia/Chordata/Aves/Suliformes/Sulidae/Morus",
            ),
            # The genus Felis has a species in the list, the kingdom is no choice, Rosa is all its species.
            ["Morus bassanus", "Felis catus", "Panthera leo", *ROSES],
            id="GBIF",
        ),
    ],
)
def test_species_selected(tmp_path, text, expected):
    assert sorted(selected(written(tmp_path, text))) == sorted(expected)


def test_counts_of_a_gbif_list(tmp_path):
    text = gbif_list(
        f"Felis catus L.|Felis catus L.|90|SPECIES|{MAMMAL}/Felidae/Felis/Felis catus",
        f"Felidae|Felidae|4|FAMILY|{MAMMAL}/Felidae",
        "Rosa L.|Rosa L.|7|GENUS|Plantae",
        f"Felis leo L.|Panthera leo (L.)|5|SPECIES|{MAMMAL}/Felidae/Panthera/Panthera leo",
        "Canis lupus L.|Canis lupus L.|5|SPECIES|" + MAMMAL + "/Canidae/Canis/Canis lupus",
        "Carnivora incertae|x|1|SUPERFAMILY|Animalia",
    )
    resolution = resolve_checklist(NAMES, read_checklist(written(tmp_path, text)), skip_unknown=True)
    assert resolution.unknown == ("Canis lupus L.",)
    assert resolution.summary(NAMES) == {
        "names": 5,
        "by_rank": {"genus": 1, "species": 2},
        "species": 4,
        "synonyms": 1,
        "common_names": 0,
        "unknown": 1,
        "divided": 1,
        "skipped_rows": {"of ranks between the seven": 1},
    }
    line = resolution.describe(NAMES)
    for part in (
        "5 names (1 genus, 2 species)",
        "4 species of the model",
        "1 found by a synonym",
        "Canis lupus",
    ):
        assert part in line, line


def test_homonyms_without_lineage_are_all_taken_and_named(tmp_path):
    resolution = resolve_checklist(NAMES, read_checklist(written(tmp_path, "Morus\n")))
    assert resolution.ambiguous == ("Morus",)
    assert int(resolution.mask(NAMES).sum()) == 2


def test_unknown_names_are_an_error_with_similar_ones(tmp_path):
    path = written(tmp_path, "Felis catus\nFelis silvestre\nPantera\n")
    with pytest.raises(UserError, match="Felis silvestre, Pantera; .*nearest to Felis silvestris") as error:
        selected(path)
    assert "'Pantera' is nearest to Panthera" in str(error.value) and "--skip-unknown" in str(error.value)
    assert selected(path, skip_unknown=True) == ["Felis catus"]
    with pytest.raises(UserError, match="no taxon called Nothing here"):
        selected(written(tmp_path, "Nothing here\n"), skip_unknown=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,abundance,site\n1,2,3\n", "none of the columns"),
        (b"", "is empty|lists no taxon"),
        (b"scientificName\n\n \n", "lists no taxon"),
        (b"scientificName,taxonRank\nCarabinae,SUBFAMILY\n", "lists no taxon"),
        (b"\x00\x01\x02\x03\x00\x00", "not text|is not a readable|lists no taxon"),
        (None, "does not exist"),
    ],
)
def test_unusable_lists_are_errors(tmp_path, content, message):
    path = tmp_path / "list.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_checklist(path)


@given(
    st.sampled_from(ROWS),
    st.sampled_from(["", " L.", " (Linnaeus, 1758)", " Müll.Arg.", " de Vries & Smith, 1901"]),
)
def test_authors_never_change_the_taxon(row, author):
    name = f"{row[5]} {row[6]}{author}"
    path = Path("list")
    listed = read_from_text(path, name)
    [taxa] = resolve_checklist(NAMES, listed).taxa
    assert [NAMES.row(rows.start)["species"] for rows in taxa] == [f"{row[5]} {row[6]}"]
    assert {rows.rank for rows in taxa} == {Rank.SPECIES}


def read_from_text(path: Path, text: str):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return read_checklist(written(Path(folder), f"{text}\n", path.name))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings_of_plain_lists(tmp_path, encoding):
    path = tmp_path / "list.txt"
    path.write_bytes("Isoëtes lacustris L.\r\nRosa canina Linné\r\n".encode(encoding))
    assert selected(path) == ["Isoëtes lacustris", "Rosa canina"]
