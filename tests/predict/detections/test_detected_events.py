"""Events of a detector's crops: pooled over animals, passed through without one."""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path

import pytest
from memory_card import ABSENT

from bioclip_jax.cli import main
from bioclip_jax.predict import predict_files
from bioclip_jax.predict.detections import COLUMNS

LABELS = "fox,owl,newt"


@pytest.fixture
def dated(card, tmp_path) -> Path:
    """A table of the card: all of cam1 in one minute, cam2 in minutes of their own, but 0004 and 0005."""
    seconds = {"cam1/IMG_0001.JPG": 0, "cam1/IMG_0002.JPG": 20, "cam1/IMG_0003.JPG": 40}
    seconds |= {"cam2/IMG_0001.JPG": 0, "cam2/IMG_0002.JPG": 600, "cam2/IMG_0003.JPG": 1200}
    seconds |= {ABSENT: 1800, "cam2/IMG_0005.JPG": 1810}
    table = tmp_path / "table.csv"
    with open(table, "w", newline="") as file:
        rows = [[str(card / name), f"2026-05-01T04:{s // 60:02}:{s % 60:02}"] for name, s in seconds.items()]
        csv.writer(file).writerows([["filepath", "timestamp"], *rows])
    return table


def test_events_pool_animals_and_pass_the_rest_through(card, dated, detections, model_directory, tmp_path):
    options = {"labels": LABELS, "detections": detections, "as_result": True}
    alone = predict_files([dated], str(model_directory), **options)["predictions"]
    result = predict_files([dated], str(model_directory), **options, events=60)
    assert [row | {"event": ""} for row in result["frames"]] == [row | {"event": ""} for row in alone]
    events: dict[str, list[dict]] = {}
    for row in result["predictions"]:
        events.setdefault(row["event"], []).append(row)
    kinds = [(rows[0]["detection"], rows[0]["frames"], len(rows)) for rows in events.values()]
    assert kinds == [("animal", 3, 3), ("vehicle", 1, 1), ("failed", 1, 1), ("blank", 1, 1), *kinds[4:]]
    assert kinds[4][1:] == (2, 3), "a whole photograph and a crop are pooled"
    # Of cam1: two animals of the first photograph and one of the third; the second is blank.
    crops: list[dict[str, float]] = []
    for row in alone:
        if "cam1" in row["file_name"] and row["detection"] == "animal":
            if row["score"] is not None and (not crops or row["classification"] in crops[-1]):
                crops.append({})
            crops[-1][row["classification"]] = row["score"]
    assert len(crops) == 3
    means = {name: math.exp(sum(math.log(crop[name]) for crop in crops) / 3) for name in crops[0]}
    expected = {name: mean / sum(means.values()) for name, mean in means.items()}
    first = next(iter(events.values()))
    assert {row["classification"]: row["score"] for row in first} == pytest.approx(expected, abs=2e-6)
    best = max(crops, key=lambda crop: max(crop.values()))
    [shown] = [row for row in alone if row["score"] == max(best.values()) and row["detection"] == "animal"]
    assert [first[0][name] for name in COLUMNS] == [shown[name] for name in COLUMNS]
    passed = [rows[0] for rows in events.values() if rows[0]["detection"] in ("vehicle", "failed", "blank")]
    assert all(row["score"] is None and row["classification"] == "" for row in passed)
    columns = [list(row) for row in result["predictions"]]
    assert all(names == columns[0] for names in columns), "all rows have the same columns in the same order"


def test_a_report_of_events_shows_their_frames(card, dated, detections, model_directory, tmp_path):
    page, output = tmp_path / "r.html", tmp_path / "o.csv"
    arguments = ["predict", str(dated), "--cls", LABELS, "--detections", str(detections), "--events", "60"]
    arguments += ["--model", str(model_directory), "--output", str(output), "--report", str(page)]
    assert main(arguments) == 0
    data = json.loads(page.read_text().split('id="data">')[1].split("</script>")[0])
    with open(output, newline="") as file:
        ids = list(dict.fromkeys(row["event"] for row in csv.DictReader(file) if row["score"]))
    assert [card[3]["event"] for card in data["cards"]] == ids
    frames = data["cards"][0][3]["frames"]
    assert len(frames) == 2 and all(picture.startswith("data:image/jpeg") for _, picture in frames)
    assert {os.path.basename(name) for name, _ in frames} < {f"IMG_000{n}.JPG" for n in (1, 2, 3)}
    details = dict(data["cards"][0][3]["details"])
    assert (details["event_start"], details["frames"]) == ("2026-05-01T04:00:00", "3")


def test_megadetectors_format_has_no_events(card, detections, capsys):
    arguments = ["predict", str(card), "--cls", LABELS, "--detections", str(detections), "--events", "60"]
    assert main([*arguments, "--format", "megadetector", "--output", "o.json"]) == 2
    assert capsys.readouterr().err.startswith("error: --format megadetector has one entry per photograph")
