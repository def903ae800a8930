"""The verbs predict and embed, beside pybioclip's own command."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bioclip_jax
from bioclip_jax.cli import main
from bioclip_jax.predict.classifiers.labels import read_labels

LABELS = ["apple", "a ripe banana", "Solanum lycopersicum", "mushroom"]
PEERS = Path(__file__).resolve().parents[1] / "peers"


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def model(model_directory):
    return bioclip_jax.load_model(model_directory, batch_size=8)


@pytest.fixture
def folder(tmp_path):
    """one.png, two.png and note.jpg, which is text."""
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "note.jpg").write_text("no picture")
    return tmp_path


@pytest.mark.shared_data
def test_scores_are_those_of_pybioclip_on_the_command_line(photographs, model_directory, capsys):
    model = f"local-dir:{model_directory}"
    arguments = ["predict", *map(str, photographs), "--cls", ",".join(LABELS), "--model", model]
    environment = {**os.environ, "PYTHONPATH": str(PEERS), "TORCHDYNAMO_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "bioclip", *arguments]
    theirs = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert theirs.returncode == 0, theirs.stderr
    assert main(arguments) == 0
    ours, theirs = rows_of(capsys.readouterr().out), rows_of(theirs.stdout)
    assert list(ours[0]) == list(theirs[0]) == ["file_name", "classification", "score"]
    assert len(ours) == len(photographs) * len(LABELS)
    score = {(row["file_name"], row["classification"]): float(row["score"]) for row in theirs}
    for row in ours:
        expected = score[row["file_name"], row["classification"]]
        assert abs(float(row["score"]) - expected) < 1e-4, f"pybioclip gives {expected} where we give {row}"
    assert np.ptp(list(score.values())) > 0.1, "the model tells the labels too little apart for a comparison"


def test_classifier_gives_the_best_k_and_sums_to_one(model, folder):
    classifier = bioclip_jax.CustomLabelsClassifier([*LABELS, " apple ", ""], model)
    assert classifier.classes == LABELS, "blanks and doubles are left out"
    rows = classifier.predict(folder / "one.png")
    assert [row["file_name"] for row in rows] == [str(folder / "one.png")] * 4
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True) and sum(scores) == pytest.approx(1, abs=1e-5)
    mixed = classifier.predict([Image.open(folder / "one.png"), folder / "two.png"], k=1)
    assert mixed[0] == rows[0] | {"file_name": "0"} and mixed[1]["file_name"] == str(folder / "two.png")
    assert len(classifier.predict(folder / "one.png", k=99)) == 4


def test_unreadable_images_are_named_and_the_others_predicted(folder, model_directory, capsys):
    output = folder / "out.csv"
    arguments = ["predict", str(folder), "--cls", "a,b", "--model", str(model_directory), "--json"]
    assert main([*arguments, "--output", str(output)]) == 0
    captured = capsys.readouterr()
    assert [line for line in captured.err.splitlines() if "note.jpg" in line], captured.err
    predicted = {row["file_name"] for row in rows_of(output.read_text())}
    assert predicted == {str(folder / "one.png"), str(folder / "two.png")}
    result = json.loads(captured.out)
    assert result["images"] == 3 and len(result["unreadable"]) == 1 and result["output"] == str(output)


def test_a_name_that_is_no_unicode_goes_out_as_it_is(folder, model_directory, monkeypatch):
    name = os.fsencode(folder) + b"/odd \xff.png"
    os.link(folder / "one.png", name)
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["predict", os.fsdecode(name), "--cls", "a", "--model", str(model_directory)]) == 0
    out.flush()
    assert out.buffer.getvalue() == b"file_name,classification,score\n" + name + b",a,1.0\n"


def test_json_puts_the_rows_into_the_result(folder, model_directory, capsys):
    arguments = ["predict", str(folder / "one.png"), "--cls", "a,b", "--k", "1", "--model", str(model_directory)]
    assert main([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["file_name"] for row in result["predictions"]] == [str(folder / "one.png")]


@pytest.mark.parametrize(
    "inputs, options, says",
    [
        (["note.jpg"], [], "note.jpg"),
        (["missing.jpg"], [], "missing.jpg"),
        (["one.png"], ["--cls", " , "], "--cls"),
        (["one.png"], ["--output", "no/folder.csv"], "no/folder.csv"),
        (["one.png"], ["--output", "one.png"], "one.png"),
        (["one.png"], ["--model", "nothing/here"], "nothing/here"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(folder, model_directory, capsys, monkeypatch, inputs, options, says):
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    assert main(["predict", *inputs, "--cls", "a,b", "--model", str(model_directory), *options]) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and says in lines[0], captured.err
    assert captured.out == "" and sorted(folder.rglob("*")) == before, "something was left half-written"


def test_labels_from_text_and_from_a_file(tmp_path):
    (tmp_path / "labels.txt").write_text("apple, red\n\n  pear \n")
    assert read_labels("apple, red,pear,") == ["apple", "red", "pear"]
    assert read_labels(str(tmp_path / "labels.txt")) == ["apple, red", "pear"], "a line of a file may hold a comma"
    assert read_labels("x" * 5000) == ["x" * 5000], "a text too long for a path is a label"
