"""A small taxonomy with the difficulties of large ones, in the formats of GBIF and the Catalogue of Life."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bioclip_jax.curate.align import Backbone, align_names
from bioclip_jax.text import RANKS as ALL_RANKS
from bioclip_jax.text import Taxon

RANKS = ALL_RANKS[:-1]


@dataclass
class Name:
    """A name of the taxonomy; `accepted` is the id of a synonym's accepted name."""

    id: str
    name: str
    author: str
    rank: str
    lineage: tuple[str, ...]
    status: str = "accepted"
    accepted: str = ""
    sign: bool = False


URSIDAE = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Ursidae")
CANIDAE = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae")
ROSACEAE = ("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae")
MORACEAE = ("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Moraceae")
LAMIACEAE = ("Plantae", "Tracheophyta", "Magnoliopsida", "Lamiales", "Lamiaceae")
APIACEAE = ("Plantae", "Tracheophyta", "Magnoliopsida", "Apiales", "Apiaceae")
SALICACEAE = ("Plantae", "Tracheophyta", "Magnoliopsida", "Malpighiales", "Salicaceae")
PLANTAGINACEAE = ("Plantae", "Tracheophyta", "Magnoliopsida", "Lamiales", "Plantaginaceae")
MUSCICAPIDAE = ("Animalia", "Chordata", "Aves", "Passeriformes", "Muscicapidae")
PRUNELLIDAE = ("Animalia", "Chordata", "Aves", "Passeriformes", "Prunellidae")
SULIDAE = ("Animalia", "Chordata", "Aves", "Suliformes", "Sulidae")
ISOETACEAE = ("Plantae", "Tracheophyta", "Lycopodiopsida", "Isoetales", "Isoetaceae")
# GBIF has no class for ray-finned fishes.
SALMONIDAE = ("Animalia", "Chordata", "", "Salmoniformes", "Salmonidae")
FAMILIES = (
    *(URSIDAE, CANIDAE, ROSACEAE, MORACEAE, LAMIACEAE, APIACEAE, SALICACEAE, PLANTAGINACEAE, MUSCICAPIDAE),
    *(PRUNELLIDAE, SULIDAE, ISOETACEAE, SALMONIDAE),
)

NAMES = (
    Name("100", "Ursus", "Linnaeus, 1758", "genus", URSIDAE),
    Name("101", "Ursus arctos", "Linnaeus, 1758", "species", URSIDAE),
    Name("102", "Ursus maritimus", "Phipps, 1774", "species", URSIDAE),
    Name("103", "Thalarctos maritimus", "(Phipps, 1774)", "species", URSIDAE, "synonym", "102"),
    Name("104", "Thalarctos", "Gray, 1825", "genus", URSIDAE, "synonym", "100"),
    Name("110", "Canis", "Linnaeus, 1758", "genus", CANIDAE),
    Name("111", "Canis lupus", "Linnaeus, 1758", "species", CANIDAE),
    Name("112", "Canis lupus familiaris", "Linnaeus, 1758", "subspecies", CANIDAE),
    Name("113", "Canis familiaris", "Linnaeus, 1758", "species", CANIDAE, "synonym", "112"),
    Name("200", "Malus", "Mill.", "genus", ROSACEAE),
    Name("201", "Malus domestica", "(Suckow) Borkh.", "species", ROSACEAE),
    Name("202", "Pyrus malus", "L.", "species", ROSACEAE, "synonym", "203"),
    Name("203", "Malus sylvestris", "(L.) Mill.", "species", ROSACEAE),
    # A synonym of a synonym, and one without an accepted name.
    Name("204", "Malus communis", "Poir.", "species", ROSACEAE, "synonym", "205"),
    Name("205", "Malus pumila", "Mill.", "species", ROSACEAE, "synonym", "201"),
    Name("206", "Malus nemo", "Nobody", "species", ROSACEAE, "synonym", ""),
    Name("207", "Pyrus", "L.", "genus", ROSACEAE),
    # Homonyms Malus alba: one author's is an apple, the other's a pear.
    Name("208", "Pyrus communis", "L.", "species", ROSACEAE),
    Name("209", "Malus alba", "Smith", "species", ROSACEAE, "synonym", "201"),
    Name("210", "Malus alba", "Jones", "species", ROSACEAE, "synonym", "208"),
    Name("300", "Morus", "L.", "genus", MORACEAE),
    Name("301", "Morus alba", "L.", "species", MORACEAE),
    Name("302", "Morus", "Vieillot, 1816", "genus", SULIDAE),
    Name("303", "Morus bassanus", "(Linnaeus, 1758)", "species", SULIDAE),
    Name("310", "Oenanthe", "L.", "genus", APIACEAE),
    Name("311", "Oenanthe crocata", "L.", "species", APIACEAE),
    Name("312", "Oenanthe", "Vieillot, 1816", "genus", MUSCICAPIDAE),
    Name("313", "Oenanthe oenanthe", "(Linnaeus, 1758)", "species", MUSCICAPIDAE),
    # One binomial in two kingdoms.
    Name("314", "Oenanthe media", "Griseb.", "species", APIACEAE),
    Name("315", "Oenanthe media", "Brehm, 1831", "species", MUSCICAPIDAE),
    Name("320", "Prunella", "L.", "genus", LAMIACEAE),
    Name("321", "Prunella vulgaris", "L.", "species", LAMIACEAE),
    Name("322", "Prunella", "Vieillot, 1816", "genus", PRUNELLIDAE),
    Name("323", "Prunella modularis", "(Linnaeus, 1758)", "species", PRUNELLIDAE),
    Name("330", "Mentha", "L.", "genus", LAMIACEAE),
    Name("331", "Mentha piperita", "L.", "species", LAMIACEAE, sign=True),
    Name("332", "Mentha aquatica", "L.", "species", LAMIACEAE),
    Name("333", "Mentha spicata", "L.", "species", LAMIACEAE),
    Name("340", "Salix", "L.", "genus", SALICACEAE),
    Name("341", "Salix alba", "L.", "species", SALICACEAE),
    Name("342", "Salix fragilis", "L.", "species", SALICACEAE),
    Name("350", "Veronica", "L.", "genus", PLANTAGINACEAE),
    Name("351", "Veronica persica", "Poir.", "species", PLANTAGINACEAE),
    Name("360", "Isoëtes", "L.", "genus", ISOETACEAE),
    Name("361", "Isoëtes echinospora", "Durieu", "species", ISOETACEAE),
    Name("370", "Salmo", "Linnaeus, 1758", "genus", SALMONIDAE),
    Name("371", "Salmo salar", "Linnaeus, 1758", "species", SALMONIDAE),
    # An unclosed quote, and a doubtful name.
    Name("372", "Salmo trutta", 'Linnaeus, 1758 "', "species", SALMONIDAE),
    Name("373", "Salmo obscurus", "Lacepède, 1803", "species", SALMONIDAE, "doubtful"),
)

COMMON_NAMES = (
    ("101", "brown bear", "en", ""),
    ("101", "Brown Bear", "en", ""),
    ("101", "Braunbär", "de", ""),
    ("101", "grizzly", "en", ""),
    ("101", "auburn bear", "en", ""),
    ("102", "polar bear", "en", "true"),
    ("102", "ice bear", "en", ""),
    ("103", "sea bear", "en", ""),
    ("201", "apple", "en", ""),
    ("203", "crab apple", "en", ""),
    ("323", "hedge sparrow", "en", ""),
    ("323", "dunnock", "en", ""),
    ("321", "self-heal", "en", ""),
    ("341", "willow", "en", ""),
    ("342", "willow", "en", ""),
    ("371", 'the "king" of fish', "en", ""),
)

# Names to align, by what they test.
BEAR = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Ursidae", "Ursus", "arctos", "Brown Bear")
CASES = {
    "accepted": Taxon(genus="Ursus", species="arctos"),
    "accepted with authorship": Taxon(genus="Ursus", species="arctos Linnaeus, 1758"),
    "species in full": Taxon(genus="Ursus", species="Ursus arctos"),
    "capitals": Taxon(kingdom="ANIMALIA", genus="URSUS", species="ARCTOS"),
    "its own common name": Taxon(genus="Ursus", species="arctos", common_name="bruin"),
    "synonym": Taxon(kingdom="Animalia", genus="Thalarctos", species="maritimus"),
    "synonym of a synonym": Taxon(genus="Malus", species="communis"),
    "synonym of nothing": Taxon(genus="Malus", species="nemo"),
    "synonym of a subspecies": Taxon(genus="Canis", species="familiaris"),
    "genus synonym": Taxon(genus="Thalarctos"),
    "homonym undecided": Taxon(genus="Oenanthe"),
    "homonym by kingdom": Taxon(kingdom="Plantae", genus="Oenanthe"),
    "homonym by class": Taxon(class_="Aves", genus="Morus"),
    "homonym by family": Taxon(family="Prunellidae", genus="Prunella"),
    "homonym by author": Taxon(genus="Oenanthe Vieillot, 1816"),
    "binomial homonym": Taxon(genus="Oenanthe", species="media"),
    "binomial homonym by family": Taxon(family="Apiaceae", genus="Oenanthe", species="media"),
    "binomial homonym by genus's author": Taxon(genus="Oenanthe L.", species="media"),
    "synonyms of two species": Taxon(genus="Malus", species="alba"),
    "synonyms of two species by author": Taxon(genus="Malus", species="alba Jones"),
    "other kingdom": Taxon(kingdom="Plantae", genus="Salmo", species="salar"),
    "hybrid": Taxon(genus="Mentha", species="× piperita"),
    "hybrid by letter": Taxon(genus="Mentha", species="x piperita L."),
    "hybrid formula": Taxon(genus="Salix", species="alba × fragilis"),
    "misspelled": Taxon(genus="Ursus", species="arctus"),
    "misspelled gender": Taxon(genus="Ursus", species="maritima"),
    "misspelled genus": Taxon(genus="Veronika", species="persica"),
    "misspelled twice": Taxon(genus="Veronika", species="persika"),
    "misspelled word": Taxon(genus="Usrus"),
    "misspelled first letter": Taxon(genus="Eronica", species="persica"),
    "misspelled in another kingdom": Taxon(kingdom="Plantae", genus="Ursus", species="arctus"),
    "family revised": Taxon(family="Scrophulariaceae", genus="Veronica", species="persica"),
    "rank lacking": Taxon(kingdom="Animalia", class_="Actinopterygii", genus="Salmo", species="salar"),
    "rank a placeholder": Taxon(kingdom="unknown", family="incertae sedis", genus="Salmo", species="salar"),
    "undetermined": Taxon(genus="Ursus", species="sp."),
    "compared": Taxon(genus="Ursus", species="cf. arctos"),
    "subspecies": Taxon(genus="Canis", species="lupus familiaris"),
    "unknown variety": Taxon(genus="Canis", species="lupus var. niger"),
    "unknown species": Taxon(genus="Ursus", species="spelaeus Rosenmüller, 1794"),
    "unknown family": Taxon(order="Carnivora", family="Nonsensidae"),
    "unknown": Taxon(kingdom="Animalia", genus="Quux", species="foobaris"),
    "family": Taxon(family="Ursidae"),
    "diacritics": Taxon(genus="isoetes", species="echinospora"),
    "doubtful": Taxon(genus="Salmo", species="obscurus"),
    "quote": Taxon(genus="Salmo", species="trutta"),
    "common name": Taxon(common_name="Dunnock"),
    "common name of two": Taxon(common_name="willow"),
    "nothing": Taxon(),
}

_GBIF = (
    "taxonID datasetID parentNameUsageID acceptedNameUsageID originalNameUsageID scientificName "
    "scientificNameAuthorship canonicalName genericName specificEpithet infraspecificEpithet taxonRank "
    "nameAccordingTo namePublishedIn taxonomicStatus nomenclaturalStatus taxonRemarks kingdom phylum class "
    "order family genus"
).split()
_COL = (
    "taxonID parentNameUsageID acceptedNameUsageID originalNameUsageID scientificNameID datasetID "
    "taxonomicStatus taxonRank scientificName scientificNameAuthorship notho genericName infragenericEpithet "
    "specificEpithet infraspecificEpithet cultivarEpithet nameAccordingTo namePublishedIn nomenclaturalCode "
    "nomenclaturalStatus taxonRemarks references"
).split()
_PREFIXES = {"notho": "col:", "references": "dcterms:"}


class AlignedTaxon(NamedTuple):
    """One row of align_names: the aligned taxon, its status, note and proposal."""

    taxon: Taxon
    status: str
    note: str
    proposal: str


def align_taxa(taxa: Sequence[Taxon], backbone: Backbone, *, apply_fuzzy: bool = False) -> list[AlignedTaxon]:
    """align_names for Taxon objects, in order."""
    result = align_names(taxa, backbone, apply_fuzzy=apply_fuzzy)
    columns = (*ALL_RANKS, "common_name", "status", "note", "proposal")
    return [AlignedTaxon(Taxon(*row[:8]), *row[8:]) for row in result.select(columns).iter_rows()]


def write_gbif(folder: Path) -> Path:
    """Write Taxon.tsv and VernacularName.tsv with GBIF's columns, and return the folder."""
    rows = []
    for name in (*_higher(), *NAMES):
        row = _common(name)
        genus = "" if name.rank in RANKS[:5] else _words(_accepted(name))[0]
        row |= dict(zip(RANKS, (*name.lineage, *[""] * 5)[:5])) | {"genus": genus, "canonicalName": name.name}
        row["taxonomicStatus"] = {"synonym": "heterotypic synonym"}.get(name.status, name.status)
        rows.append(row)
    _write(folder / "Taxon.tsv", _GBIF, rows)
    columns = ("taxonID", "vernacularName", "language", "isPreferredName")
    _write(folder / "VernacularName.tsv", columns, [dict(zip(columns, row)) for row in COMMON_NAMES])
    return folder


def write_col(folder: Path) -> Path:
    """Write the taxonomy with the Catalogue of Life's columns, which give lineages as parents."""
    rows = []
    for name in (*_higher(), *NAMES):
        row = _common(name)
        row["taxonomicStatus"] = {"doubtful": "provisionally accepted"}.get(name.status, name.status)
        rows.append(row)
    _write(folder / "Taxon.tsv", _COL, rows, lambda column: _PREFIXES.get(column, "dwc:") + column)
    columns = ("taxonID", "language", "vernacularName")
    languages = {"en": "eng", "de": "deu"}
    names = [dict(zip(columns, (id, languages[language], name))) for id, name, language, _ in COMMON_NAMES]
    prefixes = {"language": "dcterms:"}
    _write(
        folder / "VernacularName.tsv", columns, names, lambda column: prefixes.get(column, "dwc:") + column
    )
    return folder


def _common(name: Name) -> dict[str, str]:
    words = _words(name)
    shown = f"{words[0]} × {words[1]}" if name.sign else name.name
    row = {
        "taxonID": name.id,
        "parentNameUsageID": "" if name.accepted or name.status == "synonym" else _parent(name),
        "acceptedNameUsageID": name.accepted,
        "scientificName": f"{shown} {name.author}".strip(),
        "scientificNameAuthorship": name.author,
        "taxonRank": name.rank,
        "notho": "specific" if name.sign else "",
    }
    epithets = ("genericName", "specificEpithet", "infraspecificEpithet")
    return row | (dict(zip(epithets, words)) if len(words) > 1 else {})


def _words(name: Name) -> list[str]:
    return name.name.split()


def _accepted(name: Name) -> Name:
    while name.accepted:
        name = next(other for other in NAMES if other.id == name.accepted)
    return name


def _higher() -> list[Name]:
    """The taxa above genus, with ids of H and their path, and one at a rank besides the seven."""
    taxa: dict[str, Name] = {"Hsub": Name("Hsub", "Caniformia", "", "suborder", URSIDAE[:4])}
    for family in FAMILIES:
        for depth, value in enumerate(family):
            path = "H" + "/".join(family[: depth + 1])
            if value:
                taxa[path] = Name(path, value, "", RANKS[depth], family[: depth + 1])
    return list(taxa.values())


def _parent(name: Name) -> str:
    if name.id == "Hsub":
        return "H" + "/".join(URSIDAE[:4])
    if name.id.startswith("H"):
        above = [*name.lineage[:-1]]
        while above and not above[-1]:
            above.pop()
        # The families of carnivores belong to a suborder.
        return "Hsub" if name.lineage in (URSIDAE, CANIDAE) else "H" + "/".join(above) if above else ""
    if name.rank == "genus":
        return "H" + "/".join(name.lineage)
    above = " ".join(_words(name)[:-1])
    return next(other.id for other in NAMES if other.name == above and other.lineage == name.lineage)


def _write(path: Path, columns, rows, named=lambda column: column) -> None:
    lines = ["\t".join(named(column) for column in columns)]
    lines += ["\t".join(row.get(column, "") for column in columns) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
