"""The temperature of a taxa head's scores."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import bioclip_jax
from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.predict.classifiers.tree_of_life import TreeOfLifeClassifier
from bioclip_jax.predict.taxa.calibrate import BINS, calibrate, calibration_error, read_temperature, reliability
from bioclip_jax.predict.taxa.head import TaxaHead
from bioclip_jax.predict.taxa.names import TaxaNames

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
    columns = {"genus": [f"Genus{s // 2}" for s in range(SPECIES)], "species": [f"s{s}" for s in range(SPECIES)]}
    names = TaxaNames.from_columns(columns | {"kingdom": ["Animalia"] * SPECIES})
    path = tmp_path_factory.mktemp("head") / "taxa.safetensors"
    rows = np.arange(SPECIES)
    TaxaHead.write(path, names, [(rows, vectors[names.place])], dim=vectors.shape[1], fingerprint=model.fingerprint)
    return TreeOfLifeClassifier(model, path)


def test_the_temperature_makes_the_right_species_likelier(classifier, labelled, tmp_path):
    result = calibrate(str(labelled), classifier, tmp_path / "calibration.json", plot=tmp_path / "plot.png")
    assert json.loads((tmp_path / "calibration.json").read_text()) == result
    assert Image.open(tmp_path / "plot.png").size > (400, 200)
    before, after = result["before"], result["after"]
    assert after["accuracy"] == before["accuracy"], "a temperature changes no order"
    assert after["nll"] < before["nll"], f"{before['nll']} before, {after['nll']} after"
    assert result["fitted_on"] == result["measured_on"] == 30 and result["left_out"] == 0
    assert sum(row["images"] for row in after["reliability"]) == 30
    assert after["ece"]["kingdom"] < 1e-3, "there is one kingdom, so its score is 1 and right"
    found = read_temperature(str(tmp_path / "calibration.json"), classifier.model.fingerprint)
    assert found == result["temperature"] != 1.0
    with pytest.raises(UserError, match="another model"):
        read_temperature(str(tmp_path / "calibration.json"), "0" * 64)
    with pytest.raises(UserError, match="no number"):
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
    arguments = ["taxa", "calibrate", str(folder), "--model", str(model_directory), "--taxa", str(classifier.head.path)]
    assert main([*arguments, "--output", str(tmp_path / "c.json")]) == 2
    assert "only 0 of the 60 images" in capsys.readouterr().err
    assert not (tmp_path / "c.json").exists()


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_reliability_counts_every_image_once(answers):
    confidence, right = (np.array(part) for part in zip(*answers))
    bins = reliability(confidence.astype(float), right)
    assert len(bins) == BINS and sum(row["images"] for row in bins) == len(answers)
    assert sum(row["images"] * row["accuracy"] for row in bins) == pytest.approx(right.sum())
    assert 0 <= calibration_error(bins) <= 1


def test_calibration_error_of_one_bin():
    # Four answers at 0.9, of which two are right: |0.5 - 0.9|.
    assert calibration_error(reliability(np.full(4, 0.9), np.array([1, 1, 0, 0], bool))) == pytest.approx(0.4)
