"""Alignment with a small backbone of synonyms, homonyms, hybrids and gaps, in both publishers' formats."""

import polars as pl
import pytest
from made_backbone import BEAR, CASES, align_taxa, write_col, write_gbif

from bioclip_jax.curate.align import Backbone, align_names
from bioclip_jax.text import Taxon


@pytest.fixture(scope="module", params=["gbif", "col"])
def folder(request, tmp_path_factory):
    """A Darwin Core Archive as a folder, with a cache for these tests."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        writer = {"gbif": write_gbif, "col": write_col}[request.param]
        yield writer(tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def aligned(folder):
    return dict(zip(CASES, align_taxa(list(CASES.values()), Backbone(folder))))


@pytest.mark.parametrize("case", ["accepted", "accepted with authorship", "species in full", "capitals"])
def test_accepted_name_is_exact_with_lineage_and_common_name(aligned, case):
    assert (aligned[case].taxon, aligned[case].status) == (BEAR, "exact")


def test_given_common_name_is_kept(aligned):
    assert aligned["its own common name"].taxon.common_name == "bruin"


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("synonym", "Ursus maritimus"),
        ("synonym of a synonym", "Malus domestica"),
        ("synonym of a subspecies", "Canis lupus"),
        ("genus synonym", "Ursus"),
        ("synonyms of two species by author", "Pyrus communis"),
    ],
)
def test_synonym_becomes_the_accepted_name(aligned, case, name):
    result = aligned[case]
    assert (result.taxon.scientific_name, result.status) == (name, "synonym")
    assert f"{CASES[case].scientific_name.removesuffix(' Jones')} is now {name}" in result.note
    assert result.taxon.family in ("Ursidae", "Rosaceae", "Canidae")


def test_synonym_without_accepted_name_is_unresolved(aligned):
    assert aligned["synonym of nothing"].status == "unresolved"
    assert aligned["synonym of nothing"].taxon.scientific_name == "Malus nemo"


@pytest.mark.parametrize(
    ("case", "family"),
    [
        ("homonym by kingdom", "Apiaceae"),
        ("homonym by class", "Sulidae"),
        ("homonym by family", "Prunellidae"),
        ("homonym by author", "Muscicapidae"),
        ("binomial homonym by family", "Apiaceae"),
        ("binomial homonym by genus's author", "Apiaceae"),
    ],
)
def test_homonyms_are_resolved_by_ranks_and_authors(aligned, case, family):
    assert (aligned[case].taxon.family, aligned[case].status) == (family, "exact")


@pytest.mark.parametrize("case", ["homonym undecided", "binomial homonym", "synonyms of two species"])
def test_unresolved_homonyms_are_ambiguous(aligned, case):
    result = aligned[case]
    assert (result.status, result.taxon.scientific_name) == ("ambiguous", CASES[case].scientific_name)
    assert "homonyms: " in result.note and " or " in result.note


def test_name_of_another_kingdom_is_only_proposed(aligned):
    result = aligned["other kingdom"]
    assert (result.status, result.proposal) == ("unresolved", "Salmo salar")
    assert result.taxon.kingdom == "Plantae" and "elsewhere" in result.note


@pytest.mark.parametrize("case", ["hybrid", "hybrid by letter"])
def test_hybrids_are_exact(aligned, case):
    result = aligned[case]
    assert (result.taxon.scientific_name, result.taxon.family, result.status) == (
        "Mentha piperita",
        "Lamiaceae",
        "exact",
    )
    assert "hybrid" in result.note


def test_hybrid_formula_is_resolved_at_its_genus(aligned):
    result = aligned["hybrid formula"]
    assert (result.taxon.scientific_name, result.taxon.family, result.status) == (
        "Salix",
        "Salicaceae",
        "exact",
    )
    assert "hybrid formula" in result.note


@pytest.mark.parametrize(
    ("case", "proposal"),
    [
        ("misspelled", "Ursus arctos"),
        ("misspelled gender", "Ursus maritimus"),
        ("misspelled genus", "Veronica persica"),
        ("misspelled twice", "Veronica persica"),
        ("misspelled word", "Ursus"),
        ("misspelled first letter", "Veronica persica"),
    ],
)
def test_near_miss_is_proposed_and_not_applied(aligned, case, proposal):
    result = aligned[case]
    assert (result.status, result.proposal) == ("fuzzy", proposal)
    assert result.taxon.scientific_name == CASES[case].scientific_name


def test_near_miss_must_not_contradict_given_ranks(aligned):
    result = aligned["misspelled in another kingdom"]
    assert (result.status, result.proposal) == ("unresolved", "")


def test_near_miss_is_applied_on_request(folder):
    (result,) = align_names(
        pl.DataFrame([vars(CASES["misspelled"])]), Backbone(folder), apply_fuzzy=True
    ).to_dicts()
    assert (result["status"], result["species"], result["matched_id"]) == ("fuzzy", "arctos", "101")
    assert result["proposal_score"] == pytest.approx(1 - 1 / len("Ursus arctus"), abs=0.001)
    assert result["given_species"] == "arctus" and "applied" in result["note"]


def test_contradicting_rank_is_replaced_and_noted(aligned):
    result = aligned["family revised"]
    assert (result.taxon.family, result.status) == ("Plantaginaceae", "exact")
    assert "family Scrophulariaceae replaced by Plantaginaceae" in result.note
    assert "filled: kingdom, phylum, class, order" in result.note


def test_rank_missing_in_the_backbone_is_removed(aligned):
    result = aligned["rank lacking"]
    assert result.taxon == Taxon(
        "Animalia", "Chordata", "", "Salmoniformes", "Salmonidae", "Salmo", "salar", 'the "king" of fish'
    )
    assert "class Actinopterygii removed" in result.note
    assert aligned["rank a placeholder"].taxon == result.taxon


@pytest.mark.parametrize("case", ["undetermined", "compared"])
def test_open_nomenclature_is_resolved_at_the_genus(aligned, case):
    result = aligned[case]
    assert (result.taxon.scientific_name, result.taxon.family, result.status) == ("Ursus", "Ursidae", "exact")
    assert "not determined" in result.note and "at genus level" in result.note


@pytest.mark.parametrize(
    ("case", "note"), [("subspecies", "of subspecies"), ("unknown variety", "niger removed")]
)
def test_infraspecific_names_become_their_species(aligned, case, note):
    result = aligned[case]
    assert (result.taxon.scientific_name, result.status) == ("Canis lupus", "exact")
    assert note in result.note


def test_unknown_species_keeps_its_epithet_and_gets_its_genus_lineage(aligned):
    result = aligned["unknown species"]
    assert (result.taxon.scientific_name, result.taxon.order, result.status) == (
        "Ursus spelaeus",
        "Carnivora",
        "unresolved",
    )
    assert "lineage of genus Ursus" in result.note
    assert aligned["unknown family"].taxon == Taxon(
        "Animalia", "Chordata", "Mammalia", "Carnivora", "Nonsensidae"
    )
    assert aligned["unknown"].taxon == CASES["unknown"]


def test_name_above_genus_is_resolved_at_its_rank(aligned):
    assert aligned["family"].taxon == Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Ursidae")
    assert (aligned["family"].status, "at family level" in aligned["family"].note) == ("exact", True)


@pytest.mark.parametrize(
    ("case", "name"),
    [("diacritics", "Isoetes echinospora"), ("doubtful", "Salmo obscurus"), ("quote", "Salmo trutta")],
)
def test_unusual_spellings_in_the_backbone(aligned, case, name):
    assert (aligned[case].taxon.scientific_name, aligned[case].status) == (name, "exact")


def test_common_name_alone_is_only_proposed(aligned, folder):
    result = aligned["common name"]
    assert (result.status, result.proposal, result.taxon) == (
        "fuzzy",
        "Prunella modularis",
        CASES["common name"],
    )
    assert (aligned["common name of two"].status, aligned["nothing"].status) == ("ambiguous", "unresolved")
    applied = align_taxa([CASES["common name"]], Backbone(folder), apply_fuzzy=True)
    assert applied[0].taxon == CASES["common name"]


def test_common_name_is_the_preferred_else_most_frequent_else_first(folder):
    names = {"Ursus maritimus": "polar bear", "Ursus arctos": "Brown Bear", "Prunella modularis": "dunnock"}
    if (folder / "Taxon.tsv").read_text(encoding="utf-8").startswith("dwc:"):
        # The Catalogue of Life has no column for preferred names.
        names["Ursus maritimus"] = "ice bear"
    taxa = [Taxon(genus=name.split()[0], species=name.split()[1]) for name in names]
    assert [result.taxon.common_name for result in align_taxa(taxa, Backbone(folder))] == list(names.values())
    german = align_taxa(taxa, Backbone(folder, language="de"))
    assert [result.taxon.common_name for result in german] == ["", "Braunbär", ""]


def test_alignment_is_independent_of_order_and_repetition(folder, aligned):
    taxa = list(reversed(CASES.values()))
    assert align_taxa(taxa + taxa[:5], Backbone(folder)) == [
        *(aligned[case] for case in reversed(CASES)),
        *(aligned[case] for case in list(reversed(CASES))[:5]),
    ]


@pytest.mark.shared_data
def test_real_names_get_lineages_and_misspelled_ones_proposals(shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    real = pl.read_csv(shared_data / "rare_species_taxa.csv", infer_schema=False).fill_null("")
    species = pl.col("genus") + " " + pl.col("species")
    table = real.unique(["genus", "species"], maintain_order=True).with_row_index("taxonID")
    table = table.with_columns(
        (species + " Author, 1900").alias("scientificName"), taxonRank=pl.lit("species")
    )
    table = table.drop("species", "common_name")
    table.write_csv(tmp_path / "Taxon.tsv", separator="\t", quote_style="never")
    backbone = Backbone(tmp_path / "Taxon.tsv")
    taxa = [Taxon.from_row(row) for row in real.iter_rows(named=True)]
    bare = [Taxon(genus=taxon.genus, species=taxon.species, common_name=taxon.common_name) for taxon in taxa]
    assert [result.taxon for result in align_taxa(bare, backbone)] == taxa

    swapped = [Taxon(genus=taxon.genus, species=_swapped(taxon.species)) for taxon in taxa]
    proposals = {
        taxon.scientific_name: result.proposal for taxon, result in zip(taxa, align_taxa(swapped, backbone))
    }
    # Epithets of three letters are too short to guess.
    assert proposals == {name: name if len(name.split()[-1]) > 3 else "" for name in proposals}
    assert sum(map(bool, proposals.values())) >= len(proposals) - 3


def _swapped(epithet: str) -> str:
    """Swap two unequal adjacent letters as near the middle as possible."""
    positions = [i for i in range(len(epithet) - 1) if epithet[i] != epithet[i + 1]]
    i = min(positions, key=lambda i: abs(i - len(epithet) // 2))
    return epithet[:i] + epithet[i + 1] + epithet[i] + epithet[i + 2 :]
