"""Names aligned with a made-up backbone that has synonyms, homonyms, hybrids and gaps, in both publishers' forms."""

import polars as pl
import pytest
from made_backbone import BEAR, CASES, align_taxa, write_col, write_gbif

from bioclip_jax.curate.align import Backbone, align_names
from bioclip_jax.text import Taxon


@pytest.fixture(scope="module", params=["gbif", "col"])
def folder(request, tmp_path_factory):
    """The Darwin Core Archive as a folder; the cache is one of the tests' own."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        writer = {"gbif": write_gbif, "col": write_col}[request.param]
        yield writer(tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def aligned(folder):
    return dict(zip(CASES, align_taxa(list(CASES.values()), Backbone(folder))))


@pytest.mark.parametrize("case", ["accepted", "accepted with authorship", "species in full", "capitals"])
def test_an_accepted_name_is_exact_and_gets_its_lineage_and_common_name(aligned, case):
    assert (aligned[case].taxon, aligned[case].status) == (BEAR, "exact")


def test_a_common_name_that_is_given_stays(aligned):
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
def test_a_synonym_becomes_the_accepted_name(aligned, case, name):
    found = aligned[case]
    assert (found.taxon.scientific_name, found.status) == (name, "synonym")
    assert f"{CASES[case].scientific_name.removesuffix(' Jones')} is now {name}" in found.note
    assert found.taxon.family in ("Ursidae", "Rosaceae", "Canidae")


def test_a_synonym_of_nothing_is_not_resolved(aligned):
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
def test_homonyms_are_told_apart(aligned, case, family):
    assert (aligned[case].taxon.family, aligned[case].status) == (family, "exact")


@pytest.mark.parametrize("case", ["homonym undecided", "binomial homonym", "synonyms of two species"])
def test_homonyms_that_nothing_tells_apart_are_ambiguous(aligned, case):
    found = aligned[case]
    assert (found.status, found.taxon.scientific_name) == ("ambiguous", CASES[case].scientific_name)
    assert "homonyms: " in found.note and " or " in found.note


def test_a_name_of_another_kingdom_is_not_taken(aligned):
    found = aligned["other kingdom"]
    assert (found.status, found.proposal) == ("unresolved", "Salmo salar")
    assert found.taxon.kingdom == "Plantae" and "elsewhere" in found.note


@pytest.mark.parametrize("case", ["hybrid", "hybrid by letter"])
def test_hybrids(aligned, case):
    found = aligned[case]
    assert (found.taxon.scientific_name, found.taxon.family, found.status) == (
        "Mentha piperita",
        "Lamiaceae",
        "exact",
    )
    assert "hybrid" in found.note


def test_a_hybrid_formula_is_resolved_at_its_genus(aligned):
    found = aligned["hybrid formula"]
    assert (found.taxon.scientific_name, found.taxon.family, found.status) == ("Salix", "Salicaceae", "exact")
    assert "hybrid formula" in found.note


@pytest.mark.parametrize(
    ("case", "proposal"),
    [
        ("misspelt", "Ursus arctos"),
        ("misspelt gender", "Ursus maritimus"),
        ("misspelt genus", "Veronica persica"),
        ("misspelt twice", "Veronica persica"),
        ("misspelt word", "Ursus"),
        ("misspelt first letter", "Veronica persica"),
    ],
)
def test_a_near_miss_is_proposed_and_not_applied(aligned, case, proposal):
    found = aligned[case]
    assert (found.status, found.proposal) == ("fuzzy", proposal)
    assert found.taxon.scientific_name == CASES[case].scientific_name


def test_a_near_miss_keeps_to_the_ranks_given(aligned):
    found = aligned["misspelt in another kingdom"]
    assert (found.status, found.proposal) == ("unresolved", "")


def test_a_near_miss_is_applied_when_asked_for(folder):
    (found,) = align_names(
        pl.DataFrame([vars(CASES["misspelt"])]), Backbone(folder), apply_fuzzy=True
    ).to_dicts()
    assert (found["status"], found["species"], found["matched_id"]) == ("fuzzy", "arctos", "101")
    assert found["proposal_score"] == pytest.approx(1 - 1 / len("Ursus arctus"), abs=0.001)
    assert found["given_species"] == "arctus" and "applied" in found["note"]


def test_a_rank_that_contradicts_is_replaced_and_told(aligned):
    found = aligned["family revised"]
    assert (found.taxon.family, found.status) == ("Plantaginaceae", "exact")
    assert "family Scrophulariaceae replaced by Plantaginaceae" in found.note
    assert "filled: kingdom, phylum, class, order" in found.note


def test_a_rank_that_the_backbone_does_not_have_is_left_out(aligned):
    found = aligned["rank lacking"]
    assert found.taxon == Taxon(
        "Animalia", "Chordata", "", "Salmoniformes", "Salmonidae", "Salmo", "salar", 'the "king" of fish'
    )
    assert "class Actinopterygii removed" in found.note
    assert aligned["rank a placeholder"].taxon == found.taxon


@pytest.mark.parametrize("case", ["undetermined", "compared"])
def test_open_nomenclature_is_resolved_at_the_genus(aligned, case):
    found = aligned[case]
    assert (found.taxon.scientific_name, found.taxon.family, found.status) == ("Ursus", "Ursidae", "exact")
    assert "not determined" in found.note and "at genus level" in found.note


@pytest.mark.parametrize(
    ("case", "note"), [("subspecies", "of subspecies"), ("unknown variety", "niger removed")]
)
def test_below_the_species_the_species_is_taken(aligned, case, note):
    found = aligned[case]
    assert (found.taxon.scientific_name, found.status) == ("Canis lupus", "exact")
    assert note in found.note


def test_an_unknown_species_keeps_its_epithet_and_gets_the_lineage_of_its_genus(aligned):
    found = aligned["unknown species"]
    assert (found.taxon.scientific_name, found.taxon.order, found.status) == (
        "Ursus spelaeus",
        "Carnivora",
        "unresolved",
    )
    assert "lineage of genus Ursus" in found.note
    assert aligned["unknown family"].taxon == Taxon(
        "Animalia", "Chordata", "Mammalia", "Carnivora", "Nonsensidae"
    )
    assert aligned["unknown"].taxon == CASES["unknown"]


def test_a_name_above_the_genus_is_resolved_at_its_rank(aligned):
    assert aligned["family"].taxon == Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Ursidae")
    assert (aligned["family"].status, "at family level" in aligned["family"].note) == ("exact", True)


@pytest.mark.parametrize(
    ("case", "name"),
    [("diacritics", "Isoetes echinospora"), ("doubtful", "Salmo obscurus"), ("quote", "Salmo trutta")],
)
def test_names_that_are_oddly_written_in_the_backbone(aligned, case, name):
    assert (aligned[case].taxon.scientific_name, aligned[case].status) == (name, "exact")


def test_a_common_name_alone_is_looked_up_and_only_proposed(aligned, folder):
    found = aligned["common name"]
    assert (found.status, found.proposal, found.taxon) == (
        "fuzzy",
        "Prunella modularis",
        CASES["common name"],
    )
    assert (aligned["common name of two"].status, aligned["nothing"].status) == ("ambiguous", "unresolved")
    applied = align_taxa([CASES["common name"]], Backbone(folder), apply_fuzzy=True)
    assert applied[0].taxon == CASES["common name"]


def test_the_common_name_is_the_preferred_else_the_frequent_else_the_first(folder):
    names = {"Ursus maritimus": "polar bear", "Ursus arctos": "Brown Bear", "Prunella modularis": "dunnock"}
    if (folder / "Taxon.tsv").read_text(encoding="utf-8").startswith("dwc:"):
        # The Catalogue of Life has no column that prefers one.
        names["Ursus maritimus"] = "ice bear"
    taxa = [Taxon(genus=name.split()[0], species=name.split()[1]) for name in names]
    assert [found.taxon.common_name for found in align_taxa(taxa, Backbone(folder))] == list(names.values())
    german = align_taxa(taxa, Backbone(folder, language="de"))
    assert [found.taxon.common_name for found in german] == ["", "Braunbär", ""]


def test_equal_taxa_in_any_order_are_aligned_alike(folder, aligned):
    taxa = list(reversed(CASES.values()))
    assert align_taxa(taxa + taxa[:5], Backbone(folder)) == [
        *(aligned[case] for case in reversed(CASES)),
        *(aligned[case] for case in list(reversed(CASES))[:5]),
    ]


@pytest.mark.shared_data
def test_real_names_get_their_lineages_and_misspelt_ones_their_proposals(shared_data, tmp_path, monkeypatch):
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
    assert [found.taxon for found in align_taxa(bare, backbone)] == taxa

    swapped = [Taxon(genus=taxon.genus, species=_swapped(taxon.species)) for taxon in taxa]
    proposals = {
        taxon.scientific_name: found.proposal for taxon, found in zip(taxa, align_taxa(swapped, backbone))
    }
    # Epithets of three letters are too short to guess.
    assert proposals == {name: name if len(name.split()[-1]) > 3 else "" for name in proposals}
    assert sum(map(bool, proposals.values())) >= len(proposals) - 3


def _swapped(epithet: str) -> str:
    """The epithet with two unequal neighbouring letters in each other's place, as near its middle as may be."""
    places = [i for i in range(len(epithet) - 1) if epithet[i] != epithet[i + 1]]
    place = min(places, key=lambda i: abs(i - len(epithet) // 2))
    return epithet[:place] + epithet[place + 1] + epithet[place] + epithet[place + 2 :]
