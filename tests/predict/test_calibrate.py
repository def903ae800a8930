"""The temperature of a taxa head's scores."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import bioclip_jax
from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.predict.classifiers.tree_of_life import TreeOfLifeClassifier
from bioclip_jax.predict.rank import Rank
from bioclip_jax.predict.taxa import calibrate as calibrate_module
from bioclip_jax.predict.taxa.calibrate import (
    Likelihood,
    calibrate_temperature,
    calibration_warnings,
    read_temperature,
)
from bioclip_jax.predict.taxa.embeddings import TaxonEmbeddings
from bioclip_jax.predict.taxa.names import TaxaNames
from bioclip_jax.predict.taxa.reliability import BINS, calibration_error, reliability_bins
from bioclip_jax.predict.taxa.score import TaxaScorer

SPECIES = 6


@pytest.fixture(scope="module")
def model(model_directory):
    return bioclip_jax.load_model(model_directory)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Pictures of noise around one color a species, with their names."""
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    with open(folder / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "kingdom", "genus", "species"])
        for number in range(60):
            species = number % SPECIES
            # Every fifth picture shows another species than it says, so that no classifier is always right.
            shown = (species + 1) % SPECIES if number % 5 == 0 else species
            color = np.random.default_rng(shown).integers(0, 256, 3)
            pixels = np.clip(color + rng.integers(-60, 60, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            writer.writerow([f"{number}.png", "Animalia", f"Genus{species // 2}", f"s{species}"])
    return folder


@pytest.fixture(scope="module")
def classifier(model, tmp_path_factory):
    """Its species are the colors, as the model sees them, so that it knows them well."""
    solid = [
        np.broadcast_to(np.random.default_rng(s).integers(0, 256, 3).astype(np.uint8), (32, 32, 3))
        for s in range(SPECIES)
    ]
    vectors = model.encode_image([np.ascontiguousarray(picture) for picture in solid])
    columns = {
        "genus": [f"Genus{s // 2}" for s in range(SPECIES)],
        "species": [f"s{s}" for s in range(SPECIES)],
    }
    names = TaxaNames.from_columns(columns | {"kingdom": ["Animalia"] * SPECIES})
    path = tmp_path_factory.mktemp("head") / "taxa.safetensors"
    rows = np.arange(SPECIES)
    TaxonEmbeddings.write(
        path,
        names,
        [(rows, vectors[names.source_index])],
        dim=vectors.shape[1],
        fingerprint=model.fingerprint,
    )
    return TreeOfLifeClassifier(model, path)


def test_the_temperature_makes_the_right_species_likelier(classifier, labelled, tmp_path):
    result = calibrate_temperature(
        str(labelled), classifier, tmp_path / "calibration.json", plot=tmp_path / "plot.png"
    )
    assert result["transform"] == classifier.model.transform == "model"
    assert json.loads((tmp_path / "calibration.json").read_text()) == result
    assert Image.open(tmp_path / "plot.png").size > (400, 200)
    before, after = result["before"], result["after"]
    assert after["accuracy"] == before["accuracy"], "a temperature changes no order"
    assert after["nll"] < before["nll"], f"{before['nll']} before, {after['nll']} after"
    assert result["improves"] and result["gain"] == pytest.approx(before["nll"] - after["nll"])
    assert result["images"] == 60 and result["left_out"] == 0 and not calibration_warnings(result)
    assert sum(row["images"] for row in after["reliability"]) == 60
    assert after["ece"]["kingdom"] < 1e-3, "there is one kingdom, so its score is 1 and right"
    found = read_temperature(str(tmp_path / "calibration.json"), classifier.model.fingerprint)
    assert found == result["temperature"] != 1.0
    with pytest.raises(UserError, match="another model"):
        read_temperature(str(tmp_path / "calibration.json"), "0" * 64)
    with pytest.raises(UserError, match="is not a number"):
        read_temperature(str(labelled / "metadata.csv"), "")


def test_scores_at_a_temperature_are_those_of_scaled_logits(classifier, labelled):
    image = str(labelled / "3.png")
    warm = TreeOfLifeClassifier(classifier.model, classifier.head, temperature=2.5)
    plain = {row["species"]: row["score"] for row in classifier.predict(image, k=SPECIES)}
    scaled = np.array(list(plain.values())) ** (1 / 2.5)
    expected = dict(zip(plain, scaled / scaled.sum()))
    for row in warm.predict(image, k=SPECIES):
        assert row["score"] == pytest.approx(expected[row["species"]], abs=1e-5)


def test_too_few_usable_images_are_told(classifier, labelled, tmp_path, model_directory, capsys):
    table = (labelled / "metadata.csv").read_text().replace("Genus", "Other")
    (labelled / "other.csv").write_text(table)
    folder = tmp_path / "others"
    folder.mkdir()
    (folder / "metadata.csv").write_text(table.replace("\n", f"\n{labelled}/", 60))
    arguments = [
        "taxa",
        "calibrate",
        str(folder),
        "--model",
        str(model_directory),
        "--taxa",
        str(classifier.head.path),
    ]
    assert main([*arguments, "--output", str(tmp_path / "c.json")]) == 2
    assert "only 0 of the 60 images" in capsys.readouterr().err
    assert not (tmp_path / "c.json").exists()


class Synthetic:
    """Images of a small tree of taxa around their species' vectors, and a classifier whose scores are exactly right.

    A species is 0.6 of its family and its own direction; an image is drawn by the probabilities that the head
    gives.
    """

    def __init__(self, model, folder, images, scale=12.0):
        self.model = SimpleNamespace(
            fingerprint=model.fingerprint, embedder=model.embedder, transform=model.transform
        )
        rng = np.random.default_rng(5)
        family = np.arange(24) // 4
        vectors = rng.standard_normal((6, 16))[family] + rng.standard_normal((24, 16))
        self.vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        columns = {"kingdom": [f"K{f // 3}" for f in family], "family": [f"F{f}" for f in family]}
        names = TaxaNames.from_columns(
            columns | {"genus": ["G"] * 24, "species": [f"s{n:02}" for n in range(24)]}
        )
        self.vectors = self.vectors[names.source_index]
        path = folder / "taxa.safetensors"
        TaxonEmbeddings.write(
            path, names, [(np.arange(24), self.vectors)], dim=16, fingerprint=model.fingerprint
        )
        self.head, self.names, self.scale = TaxonEmbeddings.open(path), names, scale
        features = rng.standard_normal((images, 16)).astype(np.float32)
        self.features = features / np.linalg.norm(features, axis=1, keepdims=True)
        logits = scale * self.features @ self.vectors.T
        self.probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        self.species = np.array(
            [rng.choice(24, p=row / row.sum()) for row in self.probabilities.astype(float)]
        )

    def scorer(self, temperature):
        return TaxaScorer(self.head, self.scale * self.sharpness / temperature, self.model.embedder.mesh)

    sharpness = 1.0


def calibrated(synthetic, tmp_path, monkeypatch):
    monkeypatch.setattr(calibrate_module, "_features", lambda *_: (synthetic.features, synthetic.species))
    monkeypatch.setattr(calibrate_module, "open_source", lambda *_, **__: synthetic.features)
    monkeypatch.setattr(calibrate_module, "data_files", lambda *_: [])
    monkeypatch.setattr(calibrate_module, "model_files", lambda *_: [])
    synthetic.model.directory = None
    result = calibrate_temperature("synthetic", synthetic, tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text())["temperature"] == result["temperature"]
    return result


def test_likelihoods_at_every_rank_are_those_of_plain_sums(model, tmp_path):
    synthetic = Synthetic(model, tmp_path, 50)
    for temperature in (0.5, 1.0, 3.0):
        logits = (synthetic.scale / temperature * synthetic.features @ synthetic.vectors.T).astype(np.float64)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        found = calibrate_module._log_likelihood(
            synthetic.scorer(temperature), synthetic.features, synthetic.species
        )
        for rank in Rank:
            group = np.searchsorted(synthetic.names.starts(rank), np.arange(24), side="right") - 1
            same = group[None, :] == group[synthetic.species][:, None]
            expected = np.log(np.minimum((p * same).sum(axis=1), 1))
            np.testing.assert_allclose(
                found[:, rank.value], expected, atol=2e-4, err_msg=f"{rank} at {temperature}"
            )


@pytest.mark.parametrize("sharpness", [0.25, 4.0])
def test_scores_that_are_too_sharp_or_too_flat_are_mended(model, tmp_path, monkeypatch, sharpness):
    synthetic = Synthetic(model, tmp_path, 400)
    synthetic.sharpness = sharpness
    result = calibrated(synthetic, tmp_path, monkeypatch)
    # The images were drawn at sharpness 1.
    assert result["improves"] and result["temperature"] == pytest.approx(sharpness, rel=0.15)
    assert result["after"]["nll"] < result["before"]["nll"] - result["gain_error"]


def test_scores_that_are_right_already_are_left_alone(model, tmp_path, monkeypatch):
    result = calibrated(Synthetic(model, tmp_path, 83), tmp_path, monkeypatch)
    assert not result["improves"] and result["temperature"] == 1.0 != result["fitted_temperature"]
    [doubt] = calibration_warnings(result)
    figures = (result["before"]["nll"], result["after"]["nll"], result["gain_error"])
    assert all(f"{figure:.3f}" in doubt for figure in figures) and "83 images" in doubt, doubt


def test_what_helps_species_alone_and_spoils_the_other_ranks_is_not_taken(model, tmp_path):
    """Families are as sure as they should be, and species within them too unsure: the sharper scores that suit species
    would make families too sure.
    """
    synthetic = Synthetic(model, tmp_path, 400)
    family = np.searchsorted(synthetic.names.starts(Rank.FAMILY), np.arange(24), side="right") - 1
    # Within its family, which stays as drawn, an image's species is the most probable one.
    inside = np.where(family[None, :] == family[synthetic.species][:, None], synthetic.probabilities, 0)
    synthetic.species = inside.argmax(axis=1)

    def nll(temperature, rank):
        scorer = synthetic.scorer(temperature)
        found = calibrate_module._log_likelihood(scorer, synthetic.features, synthetic.species)
        return -found[:, rank.value].mean()

    steps = np.exp(np.linspace(-1.5, 1.5, 25))
    of_species = min(steps, key=lambda temperature: nll(temperature, Rank.SPECIES))
    assert of_species < 0.85 and nll(of_species, Rank.FAMILY) > nll(1.0, Rank.FAMILY) + 0.02, (
        "the case is too mild"
    )
    found = Likelihood(synthetic, synthetic.features, synthetic.species).fit()
    assert of_species < found, "the temperature is that of species alone"
    assert nll(found, Rank.FAMILY) < nll(of_species, Rank.FAMILY)
    mean = {
        temperature: np.mean([nll(temperature, rank) for rank in Rank])
        for temperature in (1.0, of_species, found)
    }
    assert mean[found] <= min(mean.values()), mean


def test_a_fit_between_the_steps_is_that_of_a_plain_search(model, tmp_path):
    synthetic = Synthetic(model, tmp_path, 60)
    synthetic.sharpness = 1.7
    found = Likelihood(synthetic, synthetic.features, synthetic.species).fit()

    def nll(temperature):
        scorer = synthetic.scorer(temperature)
        return -calibrate_module._log_likelihood(scorer, synthetic.features, synthetic.species).mean()

    around = [nll(found * factor) for factor in (0.97, 1.0, 1.03)]
    assert around[1] <= min(around), f"{found} is not the best: {around}"


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_reliability_counts_every_image_once(answers):
    confidence, right = (np.array(part) for part in zip(*answers))
    bins = reliability_bins(confidence.astype(float), right)
    assert len(bins) == BINS and sum(row["images"] for row in bins) == len(answers)
    assert sum(row["images"] * row["accuracy"] for row in bins) == pytest.approx(right.sum())
    assert 0 <= calibration_error(bins) <= 1


def test_calibration_error_of_one_bin():
    # Four answers at 0.9, of which two are right: |0.5 - 0.9|.
    assert calibration_error(
        reliability_bins(np.full(4, 0.9), np.array([1, 1, 0, 0], bool))
    ) == pytest.approx(0.4)
