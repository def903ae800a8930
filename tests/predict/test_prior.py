"""Priors: weights of a table against a computation in NumPy, at every rank, and their errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.predict import Model, PredictOptions, Rank, predict_files
from bioclip_jax.predict.classifiers import TreeOfLifeClassifier
from bioclip_jax.predict.settings import resume_settings
from bioclip_jax.predict.taxa import build_taxa, read_prior, resolve_prior, score

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")


@pytest.fixture(scope="module")
def head(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 species in 60 genera, 20 families."""
    folder = tmp_path_factory.mktemp("taxa")
    lines = ["kingdom,phylum,class,order,family,genus,species"]
    for number in range(240):
        genus, family = number // 4, number // 12
        higher = f"Animalia,P{family % 2},C{family % 3},O{family % 5}"
        lines.append(f"{higher},Family{family:02},Genus{genus:02},epithet{number}")
    (folder / "names.csv").write_text("\n".join(lines).translate(LETTERS) + "\n")
    build_taxa(folder / "names.csv", model, folder / "taxa.safetensors", templates=["a photo of {}."])
    return folder / "taxa.safetensors"


# Names have no digits.
LETTERS = str.maketrans("0123456789", "qwrtzuiopa")


def letters(text: str) -> str:
    return text.translate(LETTERS).capitalize()


def probabilities(classifier: TreeOfLifeClassifier, image: np.ndarray) -> dict[Rank, dict[str, float]]:
    return {
        rank: {
            " ".join([row["genus"], row["species_epithet"]])
            if rank is Rank.SPECIES
            else row[rank.get_label()]: (row["score"])
            for row in classifier.predict(image, rank, min_prob=0.0, k=len(classifier.names))
        }
        for rank in (Rank.SPECIES, Rank.GENUS, Rank.FAMILY, Rank.CLASS, Rank.KINGDOM)
    }


def write(folder: Path, *rows: str, header: str = "taxon,weight") -> Path:
    path = folder / "prior.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)


def test_weights_multiply_the_probabilities_at_every_rank(model, head, image, tmp_path):
    family, genus, species = (
        letters("Family03"),
        letters("Genus10"),
        f"{letters('Genus10')} {'epithet41'.translate(LETTERS)}",
    )
    classifier = TreeOfLifeClassifier(model, head)
    taxa = [classifier.names.taxon(row) for row in range(len(classifier.names))]
    before = probabilities(classifier, image)
    table = write(tmp_path, f"{family},0.25", f"{genus} Linnaeus,5", f'"{species} (L., 1758)",40', "*,0.5")
    resolved = resolve_prior(classifier.names, read_prior(table)).resolution.describe(
        classifier.names, "prior"
    )
    assert "3 names (1 family, 1 genus, 1 species)" in resolved, "the row * is no name"
    classifier.choose(prior=read_prior(table))
    after = probabilities(classifier, image)

    def weight(taxon) -> float:
        if taxon.scientific_name == species:
            return 40.0
        return 5.0 if taxon.genus == genus else 0.25 if taxon.family == family else 0.5

    weighted = {t.scientific_name: before[Rank.SPECIES][t.scientific_name] * weight(t) for t in taxa}
    total = sum(weighted.values())
    expected = {name: value / total for name, value in weighted.items()}
    assert after[Rank.SPECIES] == pytest.approx(expected, rel=2e-5, abs=1e-9)
    for rank in (Rank.GENUS, Rank.FAMILY, Rank.CLASS, Rank.KINGDOM):
        sums: dict[str, float] = {}
        for taxon in taxa:
            name = taxon.rank(rank.get_label())
            sums[name] = sums.get(name, 0.0) + expected[taxon.scientific_name]
        # Several lineages share a class's name, which the rows list apart.
        if rank in (Rank.GENUS, Rank.FAMILY, Rank.KINGDOM):
            assert after[rank] == pytest.approx(sums, rel=2e-5, abs=1e-9), rank


def test_blocks_on_the_device_and_streamed_have_the_same_sums(model, head, image, tmp_path, monkeypatch):
    """Taxa in several blocks, the last one padded, and kept on the devices between passes."""
    table = write(tmp_path, f"{letters('Family03')},0.25", f"{letters('Genus10')},5", "Animalia,2")
    classifier = TreeOfLifeClassifier(model, head)
    classifier.choose(prior=read_prior(table))
    features = model.encode_image(image)
    whole = classifier.scorer(1.0)
    totals = whole.totals(features)
    expected = whole.all_rank_sums(features, totals)
    monkeypatch.setattr(score, "_CPU_BLOCK", 64)
    for resident in (None, {}):
        scorer = classifier.scorer(1.0)
        scorer._resident = resident
        for _ in range(2):
            parts = scorer.totals(features)
            np.testing.assert_allclose(parts.sum, totals.sum, rtol=1e-5)
            for rank, sums in scorer.all_rank_sums(features, parts).items():
                np.testing.assert_allclose(sums, expected[rank], rtol=1e-4, atol=1e-7)
        assert resident is None or len(resident) == 4


def test_a_resumed_run_needs_the_same_weights(model, head, tmp_path):
    settings = []
    for weight in (3, 4):
        path = write(tmp_path, f"{letters('Genus10')},{weight}")
        options = PredictOptions(taxa=head, prior=path, as_result=True)
        classifier = TreeOfLifeClassifier(model, head)
        settings.append(resume_settings(options, classifier, options.read_candidates()))
    assert settings[0]["prior"] != settings[1]["prior"]


def test_ones_and_any_constant_change_no_bit(model, head, image, tmp_path):
    classifier = TreeOfLifeClassifier(model, head, temperature=1.7)
    before = probabilities(classifier, image)
    for rows in (["*,1"], ["*,37.5"], [f"{letters('Family03')},1", "*,1"]):
        classifier.choose(prior=read_prior(write(tmp_path, *rows)))
        assert probabilities(classifier, image) == before, rows


def test_weight_zero_excludes(model, head, image, tmp_path):
    classifier = TreeOfLifeClassifier(model, head)
    before = probabilities(classifier, image)[Rank.SPECIES]
    classifier.choose(prior=read_prior(write(tmp_path, "Animalia,0", f"{letters('Genus10')},2")))
    after = probabilities(classifier, image)[Rank.SPECIES]
    assert len(after) == 4
    kept = {name: before[name] for name in after}
    assert after == pytest.approx({name: p / sum(kept.values()) for name, p in kept.items()}, rel=2e-5)


def test_occurrences_of_a_species_add_up(model, head, tmp_path):
    genus = letters("Genus10")
    first, second = (f"{genus} epithet{number}".translate(LETTERS) for number in (40, 41))
    first, second = (f"{genus} {name.split()[1]}" for name in (first, second))
    header = "scientificName\ttaxonRank\tnumberOfOccurrences"
    rows = [f"{first} L.\tSPECIES\t100", f"{first} minor L.\tSUBSPECIES\t20", f"{second}\tSPECIES\t7"]
    rows.append(f"{genus}\tGENUS\t5000")
    classifier = TreeOfLifeClassifier(model, head)
    prior = resolve_prior(classifier.names, read_prior(write(tmp_path, *rows, header=header)))
    weights = {classifier.names.taxon(row).scientific_name: prior.weights[row] for row in range(240)}
    assert (weights[first], weights[second]) == (120, 7)
    assert set(weights.values()) == {120, 7, 1}


def test_prior_and_temperature(model, head, image, tmp_path):
    table = write(tmp_path, f"{letters('Genus10')},6")
    plain = probabilities(TreeOfLifeClassifier(model, head, temperature=3.0), image)[Rank.SPECIES]
    classifier = TreeOfLifeClassifier(model, head, temperature=3.0)
    classifier.choose(prior=read_prior(table))
    inside = [name for name in plain if name.startswith(letters("Genus10") + " ")]
    total = sum(p * (6 if name in inside else 1) for name, p in plain.items())
    after = probabilities(classifier, image)[Rank.SPECIES]
    assert after[inside[0]] == pytest.approx(6 * plain[inside[0]] / total, rel=2e-5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["Animalia,-1"], "row 1 .Animalia.: the weight is '-1'; give a number from 0"),
        (["Animalia,2", "*,nan"], "row 2 .*'nan'"),
        (["Animalia,many"], "row 1 .*'many'"),
        (["Animalia,inf"], "row 1 .*'inf'"),
        (["Animalia,2", "Animalia,3"], "two weights of Animalia .rows 1 and 2"),
        (["*,1", "others,2"], "several weights of others"),
        (["*,0"], "no weight above 0"),
        (["Animalio,2"], "no taxon called Animalio; 'Animalio' is nearest to Animalia"),
    ],
)
def test_invalid_weights_name_their_row(model, head, tmp_path, rows, message):
    classifier = TreeOfLifeClassifier(model, head)
    with pytest.raises(UserError, match=message):
        classifier.choose(prior=read_prior(write(tmp_path, *rows)))


def test_a_table_without_weights_is_an_error(tmp_path):
    with pytest.raises(UserError, match="has no column weight"):
        read_prior(write(tmp_path, "Animalia", header="taxon"))


@pytest.mark.shared_data
def test_predict_reports_tables_and_unknown_names(model_directory, head, photographs, tmp_path, capsys):
    genus = letters("Genus10")
    subset = tmp_path / "subset.csv"
    subset.write_text(
        "\n".join(["taxon", genus, *(f"Unknownia {letter * 4}" for letter in "abcdefghijklmnopqrstuvwxyz")])
    )
    prior = write(tmp_path, f"{genus},3")
    options = {"taxa": head, "subset": subset, "prior": prior, "skip_unknown": True}
    result = predict_files(photographs[:2], str(model_directory), output=tmp_path / "names.csv", **options)
    assert (result["subset"]["species"], result["subset"]["unknown"], len(result["unknown_names"])) == (
        4,
        26,
        26,
    )
    assert Path(result["unknown_names_file"]).read_text().splitlines() == result["unknown_names"]
    error = capsys.readouterr().err
    assert "4 species of the model" in error and "weights from 1 to 3" in error
    log = tmp_path / "log.json"
    predict_files(
        photographs[:2], str(model_directory), output=tmp_path / "b.csv", log=log, resume=True, **options
    )
    assert str(prior) in json.dumps(json.loads(log.read_text()))
    with pytest.raises(UserError, match="needs --subset or --prior"):
        predict_files(photographs[:1], str(model_directory), taxa=head, skip_unknown=True)
