"""Classifier methods and command outputs against pybioclip, run once in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bioclip_jax import CustomLabelsBinningClassifier, CustomLabelsClassifier, Rank, TreeOfLifeClassifier
from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.predict.taxa.build import build_taxa
from bioclip_jax.predict.taxa.embeddings import TaxonEmbeddings
from bioclip_jax.predict.taxa.encode import Recipe

PEER = Path(__file__).resolve().parents[1] / "peers" / "classifiers_peer.py"
GIVEN = ["apple", "", " apple ", "pear", "pear", "  "]
# Lines of a file: blank ones, a repeated one, and one with a comma, at which pybioclip's command splits.
LINES = "apple\n\npear, red\n apple \n\n"
BINS = {"apple": "fruit", "pear": "fruit", "oak": "tree"}
TAXA, WITHOUT = 24, (3, 17)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("peer")


@pytest.fixture(scope="module")
def images(folder) -> list[str]:
    """Three non-square images of different hues, so that their vectors differ."""
    paths = []
    for index, shape in enumerate([(40, 60), (90, 50), (64, 70)]):
        pixels = np.random.default_rng(index).integers(0, 256, (*shape, 3)) * np.eye(3)[index] + 40 * index
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")
        paths.append(str(folder / f"{index}.png"))
    return paths


@pytest.fixture(scope="module")
def published(model, folder) -> Path:
    """Text embeddings in the published format, two of them zero."""
    names = [
        [["K", "P", "C", "O", f"F{i % 2}", f"G{i % 5}", f"s{i}"], "a name" if i % 3 else ""]
        for i in range(TAXA)
    ]
    columns = np.ascontiguousarray(
        model.encode_text([f"{ranks[5]} {ranks[6]} {name}" for ranks, name in names]).T
    )
    columns[:, WITHOUT] = 0
    np.save(folder / "txt_emb_species.npy", columns)
    (folder / "txt_emb_species.json").write_text(json.dumps(names))
    (folder / "labels.txt").write_text(LINES)
    return folder / "txt_emb_species.npy"


@pytest.fixture(scope="module")
def theirs(published, images, folder, model_directory, peer_environment) -> dict:
    """The results of pybioclip."""
    command = [
        sys.executable,
        str(PEER),
        str(model_directory),
        str(folder),
        str(folder / "labels.txt"),
        *images,
    ]
    peer = subprocess.run(
        command, env=peer_environment | {"TORCHDYNAMO_DISABLE": "1"}, capture_output=True, text=True
    )
    assert peer.returncode == 0, peer.stderr[-2000:]
    return json.loads(peer.stdout)


@pytest.fixture(scope="module")
def head(published, model, folder) -> TaxonEmbeddings:
    # These vectors are not encoded from the names, so the check of their pairing is replaced.
    path = folder / "taxa.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bioclip_jax.predict.taxa.build.check_pairing", lambda *given: Recipe(given[3]))
        build_taxa(published, model, path)
    return TaxonEmbeddings.open(path, model.fingerprint)


def scores(rows: list[dict], *names: str) -> dict:
    """Return the sorted scores of each image and prediction, as equal labels are in any order."""
    actual: dict = {}
    for row in rows:
        actual.setdefault(tuple(row[name] for name in ("file_name", *names)), []).append(row["score"])
    return {key: sorted(values) for key, values in actual.items()}


def check_scores(ours: list[dict], theirs: list[dict], *names: str) -> None:
    actual, expected = scores(ours, *names), scores(theirs, *names)
    assert actual.keys() == expected.keys(), f"only one has {actual.keys() ^ expected.keys()}"
    for key, values in expected.items():
        assert actual[key] == pytest.approx(values, abs=1e-4), (
            f"{key}: pybioclip has {values}, we have {actual[key]}"
        )


def test_labels_as_given_have_pybioclips_probabilities(
    model, images, theirs, folder, model_directory, capsys
):
    rows = CustomLabelsClassifier(GIVEN, model, labels_as_given=True).predict(images)
    assert len(rows) == len(images) * len(GIVEN)
    check_scores(rows, theirs["given"], "classification")
    command = ["predict", *images, "--model", str(model_directory), "--json", "--labels-as-given", "--cls"]
    for labels, key in ((",".join(GIVEN), "given"), (str(folder / "labels.txt"), "file")):
        assert main([*command, labels]) == 0
        check_scores(json.loads(capsys.readouterr().out)["predictions"], theirs[key], "classification")
    merged = CustomLabelsClassifier(GIVEN, model).predict(images)
    assert scores(merged, "classification") != scores(rows, "classification"), "merging has changed nothing"
    assert "dropped 2 blank and 2 repeated of 6 labels" in capsys.readouterr().err


def test_taxa_without_a_published_vector_score_as_in_pybioclip(model, head, images, theirs, capsys):
    classifier = TreeOfLifeClassifier(model, head)
    check_scores(classifier.predict(images, k=TAXA), theirs["taxa"], "species")
    check_scores(classifier.predict(images, Rank.FAMILY, k=99), theirs["families"], "family")
    best = {row["species"] for row in classifier.predict(images, k=1)}
    assert not best & {f"G{index % 5} s{index}" for index in WITHOUT}


def test_predict_reports_the_number_of_taxa_without_a_vector(
    head, published, model, folder, images, model_directory, capsys
):
    command = ["predict", images[0], "--model", str(model_directory), "--json", "--taxa"]
    assert main([*command, str(head.path)]) == 0
    assert f"2 of the {TAXA} taxa" in capsys.readouterr().err
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bioclip_jax.predict.taxa.build.check_pairing", lambda *given: Recipe(given[3]))
        build = ["taxa", "build", str(published), "--model", str(model_directory), "--complete", "--output"]
        assert main([*build, str(folder / "complete.safetensors")]) == 0
    assert main([*command, str(folder / "complete.safetensors")]) == 0
    assert "cannot be predicted" not in capsys.readouterr().err
    assert (
        np.linalg.norm(TaxonEmbeddings.open(folder / "complete.safetensors").rows(np.arange(TAXA)), axis=1)
        > 0.99
    ).all()


def test_features_equal_pybioclips(model, images, theirs):
    classifier = CustomLabelsClassifier(["a", "b"], model)
    pictures = [Image.open(image) for image in images]
    actual = classifier.create_image_features(pictures)
    assert actual.dtype == np.float32 and actual.shape == (3, model.config.embed_dim)
    np.testing.assert_allclose(actual, theirs["unit"], atol=1e-4)
    np.testing.assert_allclose(
        classifier.create_image_features(images, normalize=False), theirs["raw"], atol=1e-4
    )
    np.testing.assert_allclose(
        classifier.create_image_features_for_image(images[0], True), theirs["one"], atol=1e-4
    )
    assert np.abs(np.linalg.norm(theirs["raw"], axis=1) - 1).min() > 0.01, (
        "raw vectors are unit vectors anyway"
    )


def test_forward_and_text_vectors_are_pybioclips(model, head, images, theirs):
    taxa = TreeOfLifeClassifier(model, head)
    classifiers = {
        "given": CustomLabelsClassifier(GIVEN, model, labels_as_given=True),
        "bins": CustomLabelsBinningClassifier(BINS, model),
        "taxa": taxa,
    }
    x = np.stack([taxa.preprocess(image) for image in images])
    np.testing.assert_allclose(x[:, :, ::16, ::16], theirs["pixels"], atol=1e-5)
    for name, classifier in classifiers.items():
        np.testing.assert_allclose(classifier(x), theirs["forward"][name], atol=1e-4, err_msg=name)
        assert classifier.forward(x).shape == (3, classifier.txt_embeddings.shape[1]), name
    np.testing.assert_allclose(classifiers["given"].txt_embeddings, theirs["label_vectors"], atol=1e-4)
    np.testing.assert_allclose(taxa.get_txt_embeddings(), theirs["taxa_vectors"], atol=1e-6)
    taxa.apply_filter(taxa.create_taxa_filter("genus", ["G1"]))
    np.testing.assert_allclose(taxa.get_txt_embeddings(), theirs["subset_vectors"], atol=1e-6)
    np.testing.assert_allclose(taxa(x), theirs["forward"]["subset"], atol=1e-4)
    assert taxa.txt_embeddings.shape[1] == TAXA
    with pytest.raises(UserError, match=r"not \[3, 9, 9\]"):
        taxa(x[0, :, :9, :9])


def test_embeddings_in_json_are_pybioclips_and_every_file_records_their_kind(
    theirs, images, folder, model_directory, tmp_path, capsys
):
    their_file = json.loads((folder / "theirs.json").read_text())["embeddings"]
    command = ["embed", *images, "--model", str(model_directory), "--output"]

    def check(name: str, expected: str, *options: str) -> None:
        path = tmp_path / name
        assert main([*command, str(path), *options]) == 0
        if path.suffix == ".json":
            about = json.loads(path.read_text())
            vectors, normalized = [about["embeddings"][image] for image in images], about["normalized"]
        elif path.suffix == ".npy":
            about = json.loads((tmp_path / f"{name}.json").read_text())
            vectors, normalized = np.load(path), about["normalized"]
            assert about["rows"] == images, "the file beside a .npy does not name its rows"
        else:
            table = pq.read_table(path)
            vectors, normalized = table["emb"].to_pylist(), json.loads(table.schema.metadata[b"normalized"])
        np.testing.assert_allclose(vectors, theirs[expected], atol=1e-4, err_msg=f"{name} {options}")
        assert normalized is (expected == "unit"), f"{name} {options} records normalized: {normalized}"

    np.testing.assert_allclose([their_file[image] for image in images], theirs["raw"], atol=1e-6)
    for name, default in (("e.json", "raw"), ("e.npy", "unit"), ("e.parquet", "unit")):
        check(name, default)
        check(name, "unit", "--normalize")
        check(name, "raw", "--no-normalize")
    capsys.readouterr()
    for wrong in (["--format", "pybioclip", "--normalize"], ["--text", "a", "--no-normalize"]):
        inputs = images[:1] if "--text" not in wrong else []
        assert (
            main(
                [
                    "embed",
                    *inputs,
                    "--model",
                    str(model_directory),
                    "--output",
                    str(tmp_path / "x.json"),
                    *wrong,
                ]
            )
            == 2
        )
        assert "normalize" in capsys.readouterr().err
