"""Calibration of the softmax temperature over taxa."""

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
from bioclip_jax.intervals import wilson_interval
from bioclip_jax.predict.classifiers.tree_of_life import TreeOfLifeClassifier
from bioclip_jax.predict.rank import Rank
from bioclip_jax.predict.taxa import calibrate as calibrate_module
from bioclip_jax.predict.taxa.calibrate import (
    Likelihood,
    calibrate_temperature,
    calibration_warnings,
)
from bioclip_jax.predict.taxa.embeddings import TaxonEmbeddings
from bioclip_jax.predict.taxa.names import TaxaNames
from bioclip_jax.predict.taxa.reliability import (
    BINS,
    calibration_error,
    error_interval,
    reliability_bins,
)
from bioclip_jax.predict.taxa.score import TaxaScorer
from bioclip_jax.predict.taxa.temperature import read_temperature

SPECIES = 6


@pytest.fixture(scope="module")
def model(model_directory):
    return bioclip_jax.load_model(model_directory)


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    """A folder of noise images around one color per species, with labels."""
    folder = tmp_path_factory.mktemp("labeled")
    rng = np.random.default_rng(0)
    with open(folder / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "kingdom", "genus", "species"])
        for number in range(60):
            species = number % SPECIES
            # Every fifth image has a wrong label, so that no classifier is always right.
            shown = (species + 1) % SPECIES if number % 5 == 0 else species
            color = np.random.default_rng(shown).integers(0, 256, 3)
            pixels = np.clip(color + rng.integers(-60, 60, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            writer.writerow([f"{number}.png", "Animalia", f"Genus{species // 2}", f"s{species}"])
    return folder


@pytest.fixture(scope="module")
def classifier(model, tmp_path_factory):
    """A classifier whose species are the embeddings of the colors."""
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
    path = tmp_path_factory.mktemp("taxa") / "taxa.safetensors"
    rows = np.arange(SPECIES)
    TaxonEmbeddings.write(
        path,
        names,
        [(rows, vectors[names.source_index])],
        dim=vectors.shape[1],
        fingerprint=model.fingerprint,
    )
    return TreeOfLifeClassifier(model, path)


def test_temperature_improves_the_likelihood(classifier, labeled, tmp_path):
    result = calibrate_temperature(
        str(labeled), classifier, tmp_path / "calibration.json", plot=tmp_path / "plot.png"
    )
    assert result["transform"] == classifier.model.transform == "model"
    assert json.loads((tmp_path / "calibration.json").read_text()) == result
    assert Image.open(tmp_path / "plot.png").size > (400, 200)
    before, after = result["before"], result["after"]
    assert after["accuracy"] == before["accuracy"], "a temperature keeps the order"
    assert after["nll"] < before["nll"], f"{before['nll']} before, {after['nll']} after"
    assert result["improves"] and result["gain"] == pytest.approx(before["nll"] - after["nll"])
    assert result["images"] == 60 and result["left_out"] == 0 and len(calibration_warnings(result)) == 1
    assert sum(row["images"] for row in after["reliability"]) == 60
    assert after["ece"]["kingdom"] < 1e-3, "the only kingdom has probability 1"
    confusion = result["confusion"]
    counts = np.zeros((len(confusion["species"]),) * 2, int)
    for true, predicted, images in confusion["counts"]:
        counts[true, predicted] += images
    of_species = dict(zip(confusion["species"], counts.sum(axis=1).tolist()))
    assert {f"Genus{s // 2} s{s}": 10 for s in range(SPECIES)}.items() <= of_species.items(), of_species
    assert counts.trace() == pytest.approx(60 * after["accuracy"])
    # A fifth of the images show the next species, which the classifier should name.
    row = confusion["species"].index("Genus0 s0")
    predicted = [classifier.predict(str(labeled / f"{n}.png"), k=1)[0]["species"] for n in range(0, 60, 6)]
    expected = [predicted.count(name) for name in confusion["species"]]
    assert counts[row].tolist() == expected
    temperature = read_temperature(str(tmp_path / "calibration.json"), classifier.model.fingerprint)
    assert temperature == result["temperature"] != 1.0
    with pytest.raises(UserError, match="another model"):
        read_temperature(str(tmp_path / "calibration.json"), "0" * 64)
    with pytest.raises(UserError, match="is not a number"):
        read_temperature(str(labeled / "metadata.csv"), "")


def test_scores_at_a_temperature_equal_scaled_logits(classifier, labeled):
    image = str(labeled / "3.png")
    warm = TreeOfLifeClassifier(classifier.model, classifier.head, temperature=2.5)
    plain = {row["species"]: row["score"] for row in classifier.predict(image, k=SPECIES)}
    scaled = np.array(list(plain.values())) ** (1 / 2.5)
    expected = dict(zip(plain, scaled / scaled.sum()))
    for row in warm.predict(image, k=SPECIES):
        assert row["score"] == pytest.approx(expected[row["species"]], abs=1e-5)


def test_too_few_usable_images_are_an_error(classifier, labeled, tmp_path, model_directory, capsys):
    table = (labeled / "metadata.csv").read_text().replace("Genus", "Other")
    (labeled / "other.csv").write_text(table)
    folder = tmp_path / "others"
    folder.mkdir()
    (folder / "metadata.csv").write_text(table.replace("\n", f"\n{labeled}/", 60))
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


def test_candidates_are_chosen_as_for_predict(classifier, labeled, tmp_path, model_directory, capsys):
    """Images of other species are skipped; expected predictions are the best of the three by all scores."""
    chosen = ["Genus0 s0", "Genus0 s1", "Genus1 s2"]
    (tmp_path / "list.csv").write_text("\n".join(["species", *chosen, "Genus9 s9"]))
    arguments = ["taxa", "calibrate", str(labeled), "--model", str(model_directory)]
    arguments += ["--taxa", str(classifier.head.path), "--output", str(tmp_path / "c.json"), "--json"]
    assert main([*arguments, "--skip-unknown"]) == 2
    assert "--skip-unknown needs --subset" in capsys.readouterr().err
    assert main([*arguments, "--subset", str(tmp_path / "list.csv")]) == 2
    assert "Genus9 s9" in capsys.readouterr().err
    assert main([*arguments, "--subset", str(tmp_path / "list.csv"), "--skip-unknown"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["candidates"], result["images"], result["left_out"]) == (3, 30, 30)
    expected = np.zeros((3, 3), int)
    for number in range(60):
        if number % SPECIES < 3:
            rows = classifier.predict(str(labeled / f"{number}.png"), k=SPECIES)
            best = next(row["species"] for row in rows if row["species"] in chosen)
            expected[number % SPECIES, chosen.index(best)] += 1
    counts = np.zeros((3, 3), int)
    for true, predicted, images in result["confusion"]["counts"]:
        counts[true, predicted] = images
    assert result["confusion"]["species"] == chosen and counts.tolist() == expected.tolist()
    assert main([*arguments, "--within", "Genus2"]) == 0
    within = json.loads(capsys.readouterr().out)
    assert (within["candidates"], within["images"]) == (2, 20)


class Synthetic:
    """Image embeddings with a perfectly calibrated classifier over a small tree of taxa.

    A species is the sum of its family's direction and its own; the species of an image is drawn from the
    predicted probabilities.
    """

    def __init__(self, model, folder, images, scale=12.0):
        self.prior = None
        self.model = SimpleNamespace(
            fingerprint=model.fingerprint,
            embedder=model.embedder,
            transform=model.transform,
            precision=model.precision,
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


def test_likelihoods_at_every_rank_equal_plain_sums(model, tmp_path):
    synthetic = Synthetic(model, tmp_path, 50)
    for temperature in (0.5, 1.0, 3.0):
        logits = (synthetic.scale / temperature * synthetic.features @ synthetic.vectors.T).astype(np.float64)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        values = calibrate_module._log_likelihood(
            synthetic.scorer(temperature), synthetic.features, synthetic.species
        )
        for rank in Rank:
            group = np.searchsorted(synthetic.names.starts(rank), np.arange(24), side="right") - 1
            same = group[None, :] == group[synthetic.species][:, None]
            expected = np.log(np.minimum((p * same).sum(axis=1), 1))
            np.testing.assert_allclose(
                values[:, rank.value], expected, atol=2e-4, err_msg=f"{rank} at {temperature}"
            )


@pytest.mark.parametrize("sharpness", [0.25, 4.0])
def test_over_and_underconfidence_are_corrected(model, tmp_path, monkeypatch, sharpness):
    synthetic = Synthetic(model, tmp_path, 400)
    synthetic.sharpness = sharpness
    result = calibrated(synthetic, tmp_path, monkeypatch)
    # Images are drawn at sharpness 1.
    assert result["improves"] and result["temperature"] == pytest.approx(sharpness, rel=0.15)
    assert result["after"]["nll"] < result["before"]["nll"] - result["gain_error"]


def test_calibrated_scores_stay_unchanged(model, tmp_path, monkeypatch):
    result = calibrated(Synthetic(model, tmp_path, 83), tmp_path, monkeypatch)
    assert not result["improves"] and result["temperature"] == 1.0 != result["fitted_temperature"]
    few, warning = calibration_warnings(result)
    assert "only 83 images: give at least 200" in few
    figures = (result["before"]["nll"], result["after"]["nll"], result["gain_error"])
    assert all(f"{figure:.3f}" in warning for figure in figures) and "83 images" in warning, warning


def test_temperature_balances_all_ranks(model, tmp_path):
    """Families are calibrated, species underconfident: sharper scores make families overconfident."""
    synthetic = Synthetic(model, tmp_path, 400)
    family = np.searchsorted(synthetic.names.starts(Rank.FAMILY), np.arange(24), side="right") - 1
    # The family stays as drawn; the species becomes its most probable one.
    inside = np.where(family[None, :] == family[synthetic.species][:, None], synthetic.probabilities, 0)
    synthetic.species = inside.argmax(axis=1)

    def nll(temperature, rank):
        scorer = synthetic.scorer(temperature)
        values = calibrate_module._log_likelihood(scorer, synthetic.features, synthetic.species)
        return -values[:, rank.value].mean()

    steps = np.exp(np.linspace(-1.5, 1.5, 25))
    of_species = min(steps, key=lambda temperature: nll(temperature, Rank.SPECIES))
    assert of_species < 0.85 and nll(of_species, Rank.FAMILY) > nll(1.0, Rank.FAMILY) + 0.02, (
        "the ranks do not conflict"
    )
    fitted = Likelihood(synthetic, synthetic.features, synthetic.species).fit()
    assert of_species < fitted, "the temperature is that of species alone"
    assert nll(fitted, Rank.FAMILY) < nll(of_species, Rank.FAMILY)
    mean = {
        temperature: np.mean([nll(temperature, rank) for rank in Rank])
        for temperature in (1.0, of_species, fitted)
    }
    assert mean[fitted] <= min(mean.values()), mean


def test_fit_between_the_steps_is_optimal(model, tmp_path):
    synthetic = Synthetic(model, tmp_path, 60)
    synthetic.sharpness = 1.7
    fitted = Likelihood(synthetic, synthetic.features, synthetic.species).fit()

    def nll(temperature):
        scorer = synthetic.scorer(temperature)
        return -calibrate_module._log_likelihood(scorer, synthetic.features, synthetic.species).mean()

    around = [nll(fitted * factor) for factor in (0.97, 1.0, 1.03)]
    assert around[1] <= min(around), f"{fitted} is not the best: {around}"


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_reliability_bins_count_every_image_once(predictions):
    confidence, correct = (np.array(part) for part in zip(*predictions))
    bins = reliability_bins(confidence.astype(float), correct)
    assert len(bins) == BINS and sum(row["images"] for row in bins) == len(predictions)
    assert sum(row["images"] * row["accuracy"] for row in bins) == pytest.approx(correct.sum())
    assert 0 <= calibration_error(bins) <= 1


def test_calibration_error_of_one_bin():
    # Four predictions at 0.9, two of them correct: |0.5 - 0.9|.
    assert calibration_error(
        reliability_bins(np.full(4, 0.9), np.array([1, 1, 0, 0], bool))
    ) == pytest.approx(0.4)


def test_few_images_are_reported_with_the_temperatures_interval(classifier, labeled, tmp_path):
    result = calibrate_temperature(str(labeled), classifier, tmp_path / "calibration.json")
    low, high = result["temperature_interval"]
    assert low < result["fitted_temperature"] < high
    [warning] = calibration_warnings(result)
    assert "only 60 images: give at least 200" in warning and f"between {low:.3g} and {high:.3g}" in warning
    assert calibration_warnings(result | {"images": 200}) == []
    for time in ("before", "after"):
        part = result[time]
        assert part["interval"] == wilson_interval(round(60 * part["accuracy"]), 60)
        low, high = part["ece_interval"]
        assert low < high and part["ece"]["species"] < high


def test_the_interval_of_the_error_covers_it():
    """Predictions of known error: 0.8 where 60 % are right."""
    random = np.random.default_rng(0)
    covered = [
        (interval := error_interval(np.full(400, 0.8), random.random(400) < 0.6))[0] < 0.2 < interval[1]
        for _ in range(40)
    ]
    assert sum(covered) >= 34, f"{sum(covered)} of 40 intervals cover the error"


def test_a_learned_head_is_not_calibrated_again(model_directory, labeled, tmp_path, capsys):
    command = ["taxa", "calibrate", str(labeled), "--model", str(model_directory), "--head", str(tmp_path)]
    assert main([*command, "--output", str(tmp_path / "c.json")]) == 2
    assert "is calibrated by its own held-out photographs" in capsys.readouterr().err


def test_a_temperature_of_another_prior_is_warned_about(
    classifier, labeled, tmp_path, model_directory, capsys
):
    """Fitted with a prior, used with the same content under another name, with another one, and with none."""
    priors = {name: tmp_path / f"{name}.csv" for name in ("fitted", "copy", "other")}
    for name, path in priors.items():
        path.write_text(f"taxon,weight\nGenus0 s0,{3 if name == 'other' else 2}\n")
    shared = ["--model", str(model_directory), "--taxa", str(classifier.head.path)]
    calibrate = ["taxa", "calibrate", str(labeled), *shared]
    assert main([*calibrate, "--prior", str(priors["fitted"]), "--output", str(tmp_path / "with.json")]) == 0
    assert main([*calibrate, "--output", str(tmp_path / "without.json")]) == 0

    def warnings(temperature: str, prior: str | None) -> list[str]:
        capsys.readouterr()
        options = [] if prior is None else ["--prior", str(priors[prior])]
        command = ["predict", str(labeled / "0.png"), *shared, "--temperature", temperature, *options]
        assert main(command) == 0
        return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]

    fitted, without = str(tmp_path / "with.json"), str(tmp_path / "without.json")
    assert warnings(fitted, "copy") == warnings(without, None) == warnings("2", "other") == []
    [other], [none], [added] = warnings(fitted, "other"), warnings(fitted, None), warnings(without, "fitted")
    assert f"was fitted with the prior {priors['fitted']}" in other and str(priors["other"]) in other
    assert none.endswith("and this run has no prior; fit it again with the same --prior")
    assert "was fitted with no prior" in added and str(priors["fitted"]) in added
