"""A memory card through predict: killed and resumed, with the same rows, in flat memory."""

from __future__ import annotations

import csv
import json

import pytest
from PIL import Image

from bioclip_jax.bench import field_table, measure_field
from bioclip_jax.bench.field import make_card
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import read_exif


def test_card(tmp_path):
    card = make_card(tmp_path, 1_200)
    files = sorted(card.folder.rglob("*.JPG"))
    assert len(files) == 1_200 and Image.open(files[0]).size == (96, 64)
    assert read_exif(files[4]).time[:16] == "2026-05-01T04:41"
    content = json.loads(card.detections.read_text())
    assert 1_180 < len(content["images"]) < 1_200
    boxes = [box for image in content["images"] for box in image["detections"] or []]
    assert len(boxes) == card.boxes and 2.5 < card.boxes / 1_200 < 3.5
    names = {str(path.relative_to(card.folder)) for path in files}
    assert {image["file"] for image in content["images"]} <= names


def test_killed_run_has_the_same_rows_and_memory_is_flat(tmp_path):
    small = measure_field(1_000, kills=0, events=60)
    (tmp_path / "run").mkdir()
    result = measure_field(4_000, kills=2, events=60, folder=tmp_path / "run")
    assert len(result["killed_after"]) == 2
    assert 0 < result["killed_after"][0] < result["killed_after"][1] < result["predicted"]
    assert result["identical"], "the rows of the killed and resumed run differ"
    assert result["outputs"] == ["whole.csv", "whole.frames.csv"]
    with open(tmp_path / "run" / "killed.frames.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["file_name"] for row in rows} == {
        str(path) for path in (tmp_path / "run" / "card").rglob("*.JPG")
    }
    assert {row["detection"] for row in rows} == {"animal", "person", "vehicle", "blank", "failed", ""}
    # The pixels of 3,000 more photographs would be 55 MB.
    grown = result["peak_memory"] - small["peak_memory"]
    assert grown < 25e6, f"3,000 more photographs took {grown / 1e6:.0f} MB more"
    text = field_table(result)
    assert "4,000 photographs" in text and "byte for byte the same" in text


def test_too_few_photographs():
    with pytest.raises(UserError, match="at least 10"):
        measure_field(3)
