"""bfloat16 beside float32: closeness of vectors and scores, records in every output, and mixing."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.predict import load_model
from bioclip_jax.predict.classifiers import CustomLabelsClassifier, TreeOfLifeClassifier
from bioclip_jax.predict.embed import embed_files
from bioclip_jax.predict.inputs import find_images
from bioclip_jax.predict.journal import Journal
from bioclip_jax.predict.options import PredictOptions
from bioclip_jax.predict.predict import predict_files
from bioclip_jax.predict.settings import resume_settings
from bioclip_jax.predict.taxa import build_taxa

NAMES = "genus,species\nMalus,domestica\nPyrus,communis\nCitrus,sinensis\nAgaricus,bisporus\n"
LABELS = ["apple", "pear", "orange", "mushroom", "leek"]


@pytest.fixture(scope="module")
def rounded(model_directory):
    return load_model(model_directory, batch_size=8, precision="bf16")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.mark.shared_data
def test_bf16_scores_photographs_nearly_as_fp32(model, rounded, shared_data):
    files = sorted((shared_data / "produce" / "val" / "images").rglob("*.jpg"))[::3]
    vectors, labels = [], []
    for loaded in (model, rounded):
        vectors.append(loaded.encode_image(files))
        labels.append(CustomLabelsClassifier(LABELS, loaded, cache=False))
    assert not np.array_equal(*vectors), "bf16 was not used"
    cosines = (vectors[0] * vectors[1]).sum(axis=1)
    assert cosines.min() > 0.9995, f"a vector has a cosine of {cosines.min():.5f} with its float32 one"
    np.testing.assert_allclose(np.linalg.norm(vectors[1], axis=1), 1, atol=1e-6)
    ours, theirs = (np.exp(60 * v @ c.txt_embeddings) for v, c in zip(vectors, labels))
    scores = [logits / logits.sum(axis=1, keepdims=True) for logits in (ours, theirs)]
    assert np.abs(scores[0] - scores[1]).max() < 0.05
    best = [score.argmax(axis=1) for score in scores]
    margins = np.sort(scores[0], axis=1)
    clear = margins[:, -1] - margins[:, -2] > 0.05
    assert (best[0] == best[1])[clear].all(), "an image with a clear prediction has another one in bf16"


def test_every_output_records_the_precision(pictures, rounded, model_directory, tmp_path):
    options = {"precision": "bf16", "batch_size": 8}
    result = predict_files(
        [pictures],
        str(model_directory),
        labels="a,b",
        output=tmp_path / "p.csv",
        log=tmp_path / "log.json",
        **options,
    )
    assert result["precision"] == json.loads((tmp_path / "log.json").read_text())["precision"] == "bf16"
    for name in ("e.npy", "e.parquet", "e.json"):
        embed_files([pictures], str(model_directory), tmp_path / name, **options)
    assert json.loads((tmp_path / "e.npy.json").read_text())["precision"] == "bf16"
    assert json.loads((tmp_path / "e.json").read_text())["precision"] == "bf16"
    assert pq.read_schema(tmp_path / "e.parquet").metadata[b"precision"] == b"bf16"
    np.testing.assert_allclose(
        np.load(tmp_path / "e.npy"), rounded.encode_image(sorted(pictures.iterdir())), atol=1e-6
    )
    (tmp_path / "names.csv").write_text(NAMES)
    build_taxa(tmp_path / "names.csv", rounded, tmp_path / "taxa.safetensors")
    classifier = TreeOfLifeClassifier(model_directory, tmp_path / "taxa.safetensors")
    assert classifier.head.about["precision"] == "bf16" and classifier.model.precision == "fp32"
    assert len(classifier.predict([pictures / "0.png"])) == 4, "taxa and images may differ in precision"


def test_a_resumed_run_of_another_precision_is_refused(pictures, model_directory, tmp_path):
    run = {"labels": "a,b", "output": tmp_path / "p.csv", "resume": True, "batch_size": 8}
    predict_files([pictures], str(model_directory), **run)
    (tmp_path / "p.csv").unlink()
    journal = tmp_path / ".p.csv.partial"
    classifier = CustomLabelsClassifier(["a", "b"], load_model(model_directory))
    settings = resume_settings(PredictOptions(**run), classifier, ["a", "b"])
    with (
        pytest.raises(RuntimeError),
        Journal.open(tmp_path / "p.csv", settings, find_images([pictures])) as kept,
    ):
        kept.add(0, [])
        raise RuntimeError("killed")
    assert journal.exists()
    with pytest.raises(UserError, match='precision was "fp32" and is "bf16"'):
        predict_files([pictures], str(model_directory), **run, precision="bf16")
    assert journal.exists(), "the finished images were thrown away"
    header, rest = journal.read_text().split("\n", 1)
    older = {name: value for name, value in json.loads(header).items() if name != "precision"}
    journal.write_text(json.dumps(older) + "\n" + rest)
    predict_files([pictures], str(model_directory), **run)


def test_the_vector_cache_keeps_both_precisions_apart(pictures, model_directory, rounded, tmp_path):
    for precision in ("fp32", "bf16"):
        output = tmp_path / f"{precision}.npy"
        embed_files([pictures], str(model_directory), output, cache=True, precision=precision, batch_size=8)
    vectors = rounded.encode_image(sorted(pictures.iterdir()))
    np.testing.assert_allclose(np.load(tmp_path / "bf16.npy"), vectors, atol=1e-6)
    assert not np.array_equal(np.load(tmp_path / "fp32.npy"), np.load(tmp_path / "bf16.npy"))


def test_an_index_keeps_its_precision_and_takes_queries_of_any(pictures, model_directory, tmp_path, capsys):
    index, query = str(tmp_path / "index"), str(pictures / "1.png")
    model = ["--model", str(model_directory), "--batch-size", "8"]
    images = [str(pictures / "0.png"), query]
    assert main(["index", "build", *images, *model, "--output", index, "--precision", "bf16"]) == 0
    assert json.loads((tmp_path / "index" / "index.json").read_text())["precision"] == "bf16"
    capsys.readouterr()
    assert main(["index", "search", index, query, "--json"]) == 0
    [first, *_] = json.loads(capsys.readouterr().out)["neighbours"]
    assert first["path"] == query and 0.9995 < first["score"] < 1.0001
    more = ["index", "build", str(pictures), *model, "--output", index]
    assert main([*more, "--precision", "fp32"]) == 2
    error = capsys.readouterr().err
    assert "holds vectors in bf16, not fp32; give --precision bf16" in error and "Traceback" not in error
    assert main([*more, "--json"]) == 0, "without --precision the index's own applies"
    assert json.loads(capsys.readouterr().out)["count"] == 3


def test_an_unknown_precision_is_refused_before_the_weights_are_read():
    with pytest.raises(UserError, match="precision 'fp16' does not exist; choose from fp32, bf16"):
        load_model("no model", precision="fp16")
