"""Options of predict: checked before a model is loaded, and logged by pybioclip's names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.predict.options import PredictOptions
from bioclip_jax.predict.predict import predict_files
from bioclip_jax.predict.rank import Rank
from bioclip_jax.predict.settings import candidate_settings, selection_settings


@pytest.mark.parametrize(
    "options, parts",
    [
        ({"labels": "a", "bins": "b.csv"}, ["--cls", "--bins"]),
        ({"labels": "a", "rank": "genus"}, ["--rank", "--cls"]),
        ({"bins": "bins.csv", "subset": "s.csv"}, ["--subset", "--bins"]),
        ({"labels": "a", "within": "Mammalia"}, ["--within", "--cls"]),
        ({"labels": "a", "min_confidence": 0.5}, ["--min-confidence", "--cls"]),
        ({"k": 3, "min_confidence": 0.5}, ["--min-confidence", "--k"]),
        ({"labels": "a", "temperature": 2}, ["--temperature"]),
        ({"rank": "tribe"}, ["tribe", "kingdom", "species"]),
        ({"k": 0}, ["--k is 0"]),
        ({"unknown": 1.5}, ["--unknown is 1.5"]),
        ({"min_confidence": 0}, ["--min-confidence is 0"]),
        ({"labels": " , "}, ["no label"]),
        ({"bins": "missing.csv"}, ["missing.csv"]),
        ({"taxa": "missing.safetensors"}, ["missing.safetensors", "taxa build"]),
        ({"subset": "missing.csv"}, ["missing.csv"]),
        ({"labels": "a", "resume": True}, ["--resume", "--output"]),
        ({"labels": "a", "report": "page.txt"}, ["page.txt", ".html"]),
        ({"labels": "a", "report": "no/page.html"}, ["no/page.html"]),
        ({"labels": "a", "log": "old.json"}, ["old.json", "exists"]),
        ({"labels": "a", "output": "same.csv", "log": "same.csv"}, ["--output", "--log"]),
        ({"labels": "a", "output": "/dev/null", "resume": True}, ["--resume", "--output"]),
        ({"labels": "a", "batch_size": 0}, ["--batch-size is 0"]),
    ],
)
def test_invalid_options_are_one_line_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch, options: dict, parts: list
):
    monkeypatch.chdir(tmp_path)
    Path("old.json").write_text("{}")
    Path("bins.csv").write_text("label,bin\na,b\n")
    with pytest.raises(UserError) as error:
        predict_files(["no.jpg"], "no model", **options)
    message = str(error.value)
    assert all(part in message for part in parts) and "\n" not in message, message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bins.csv", "old.json"]


def test_outputs_do_not_overwrite_files_that_are_read(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    Path("images/a.jpg").write_bytes(b"a")
    Path("list.csv").write_text("filepath\nimages/a.jpg\n")
    Path("bins.csv").write_text("label,bin\na,b\n")
    Path("labels.txt").write_text("a\n")
    Path("subset.csv").write_text("genus\nMalus\n")
    Path("link.txt").symlink_to("labels.txt")
    os.link("images/a.jpg", "linked.csv")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    labels = {"labels": "a"}
    for options, parts in (
        (labels | {"output": "linked.csv"}, ["--output", "images/a.jpg", "an input"]),
        (labels | {"log": "./images/../images/a.jpg"}, ["--log", "images/a.jpg", "an input"]),
        (labels | {"output": "list.csv"}, ["--output", "list.csv", "an input"]),
        ({"bins": "bins.csv", "output": "bins.csv"}, ["--output", "--bins"]),
        ({"labels": "labels.txt", "output": "link.txt"}, ["--output", "--cls"]),
        ({"subset": "subset.csv", "log": "subset.csv"}, ["--log", "--subset"]),
        ({"taxa": "labels.txt", "output": "labels.txt"}, ["--output", "--taxa"]),
        (labels | {"output": "link.txt", "log": "labels.txt"}, ["--output", "--log"]),
    ):
        with pytest.raises(UserError) as error:
            predict_files(["list.csv"], "no model", **options)
        assert all(part in str(error.value) for part in parts), f"{options}: {error.value}"
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_settings_are_logged_by_pybioclips_names(tmp_path: Path):
    (tmp_path / "subset.csv").write_text("genus\nMalus\n")
    options = PredictOptions(rank="Genus", subset=tmp_path / "subset.csv", unknown=0.1)
    assert options.rank is Rank.GENUS
    assert candidate_settings(options) == {"subset": str(tmp_path / "subset.csv")}
    assert selection_settings(options) == {"rank": "genus", "min_prob": 1e-9, "k": 5, "unknown": 0.1}
    assert candidate_settings(PredictOptions(labels="a, b")) == {"classes": "a, b"}
    assert selection_settings(PredictOptions(labels="a", k=3)) == {"k": 3}
    assert selection_settings(PredictOptions(labels="a")) == {}, "pybioclip returns all labels"
