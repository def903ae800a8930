"""`predict --detections`: crops are named, everything else is passed through and counted."""

from __future__ import annotations

import csv
import json
from itertools import groupby
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from memory_card import ABSENT, CARD, COUNTS, megadetector, speciesnet
from PIL import Image

import bioclip_jax as bj
from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.predict import PredictOptions, load_model, predict_files
from bioclip_jax.predict.classifiers import CustomLabelsClassifier

LABELS = "an owl,a fox,a newt"
COLUMNS = "file_name classification score detection detection_confidence box_x box_y box_width box_height"


def predict(model_directory, card, detections, **options):
    options = {"labels": LABELS, "as_result": True, "batch_size": 8} | options
    return predict_files([card], str(model_directory), PredictOptions(detections=detections, **options))


def groups(rows) -> list[tuple[str, str, float | None, int]]:
    """(photograph, detection, its confidence, number of rows) of each box or image."""
    keys = ("file_name", "detection", "detection_confidence", "box_x", "box_y")
    return [
        ("/".join(Path(name).parts[-2:]), detection, confidence, len(list(part)))
        for (name, detection, confidence, *_), part in groupby(rows, lambda row: tuple(map(row.get, keys)))
    ]


EXPECTED = [
    ("cam1/IMG_0001.JPG", "animal", 0.91, 3),
    ("cam1/IMG_0001.JPG", "animal", 0.4, 3),
    ("cam1/IMG_0002.JPG", "blank", None, 1),
    ("cam1/IMG_0003.JPG", "person", 0.95, 1),
    ("cam1/IMG_0003.JPG", "animal", 0.8, 3),
    ("cam2/IMG_0001.JPG", "vehicle", 0.7, 1),
    ("cam2/IMG_0002.JPG", "failed", None, 1),
    ("cam2/IMG_0003.JPG", "blank", None, 1),
    (ABSENT, "", None, 3),
    ("cam2/IMG_0005.JPG", "animal", 0.99, 3),
]


def test_rows_in_the_order_of_the_photographs(model_directory, card, detections, capsys):
    result = predict(model_directory, card, detections)
    assert result["detections"] == COUNTS and result["images"] == len(CARD) + 1
    rows = result["predictions"]
    assert {" ".join(row) for row in rows} == {COLUMNS}
    assert groups(rows) == EXPECTED
    passed = [row for row in rows if row["detection"] in ("person", "vehicle", "blank", "failed")]
    assert {(row["classification"], row["score"]) for row in passed} == {("", None)}
    assert all((row["box_x"] is None) == (row["detection"] in ("blank", "failed", "")) for row in rows)
    # Boxes are clipped to the photograph.
    assert [rows[-1][f"box_{side}"] for side in ("x", "y", "width", "height")] == [0, 0.3, 0.39, 0.7]
    report = capsys.readouterr().err
    assert "4 animals, 1 person, 1 vehicle; 2 blank images; 1 that the detector could not read" in report
    assert "1 that are not in the file and are predicted whole" in report


def test_scores_are_those_of_crops_made_by_hand(model_directory, card, detections):
    rows = predict(model_directory, card, detections)["predictions"]
    classifier = CustomLabelsClassifier(LABELS.split(","), load_model(model_directory, batch_size=8))
    named = [row for row in rows if row["detection"] in ("animal", "")]
    for index in range(0, len(named), 3):
        row = named[index]
        picture = Image.open(row["file_name"]).convert("RGB")
        if row["detection"]:
            x, y, width, height = (row[f"box_{side}"] for side in ("x", "y", "width", "height"))
            edges = [x * 96, y * 64, (x + width) * 96, (y + height) * 64]
            picture = picture.crop([round(edge) for edge in edges])
        by_hand = {row["classification"]: row["score"] for row in classifier.predict(picture)}
        for row in named[index : index + 3]:
            assert row["score"] == pytest.approx(by_hand[row["classification"]], abs=1e-5)


def test_speciesnet_and_windows_paths_give_the_same_rows(model_directory, card, detections, tmp_path):
    expected = predict(model_directory, card, detections)
    other = tmp_path / "speciesnet.json"
    other.write_text(json.dumps(speciesnet()))
    result = predict(model_directory, card, other)
    assert result["detections"] == COUNTS
    assert result["predictions"] == expected["predictions"]


def test_threshold(model_directory, card, detections):
    result = predict(model_directory, card, detections, detection_threshold=0.05)
    assert result["detections"] == COUNTS | {"animals": 5, "blank": 1}
    result = predict(model_directory, card, detections, detection_threshold=0.9)
    assert result["detections"] == COUNTS | {"animals": 2, "vehicles": 0, "blank": 3}


def test_taxa_and_every_format(model_directory, card, detections, tmp_path, taxa):
    """Passed-through rows come first in these files, where types cannot be inferred."""
    card_with_blank_first = [card / "cam1" / "IMG_0002.JPG", card / "cam1", card / "cam2"]
    options = {"taxa": taxa, "k": 2, "batch_size": 8, "detections": detections}
    tables = {}
    for name in ("a.csv", "a.json", "a.parquet", "a.txt"):
        kind = {"format": "table"} if name == "a.txt" else {}
        predict_files(card_with_blank_first, str(model_directory), output=tmp_path / name, **options, **kind)
    with open(tmp_path / "a.csv", newline="") as file:
        tables["csv"] = list(csv.DictReader(file))
    tables["json"] = json.loads((tmp_path / "a.json").read_text())
    parquet = pq.read_table(tmp_path / "a.parquet")
    tables["parquet"] = parquet.to_pylist()
    assert tables["parquet"] == tables["json"]
    types = {field.name: str(field.type) for field in parquet.schema}
    numbers = ("score", "detection_confidence", "box_x", "box_y", "box_width", "box_height")
    assert {types[name] for name in numbers} == {"double"}, types
    first = tables["json"][0]
    assert first["detection"] == "blank" and first["score"] is None and first["species"] == ""
    assert tables["csv"][0]["score"] == "" == tables["csv"][0]["box_x"]
    expected = [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in tables["json"]
    ]
    assert tables["csv"] == expected
    assert "None" not in (tmp_path / "a.txt").read_text()


def test_card_without_animals_has_the_same_columns(model_directory, card, tmp_path, taxa):
    nothing = megadetector(images=[{"file": name, "detections": []} for name in [*CARD, ABSENT]])
    path = tmp_path / "nothing.json"
    path.write_text(json.dumps(nothing))
    result = predict(model_directory, card, path, labels=None, taxa=taxa)
    rows = result["predictions"]
    assert {row["detection"] for row in rows} == {"blank"} and len(rows) == len(CARD) + 1
    animals = tmp_path / "animals.json"
    animals.write_text(json.dumps(megadetector()))
    expected = predict(model_directory, card, animals, labels=None, taxa=taxa)["predictions"]
    assert list(rows[0]) == list(expected[0])


def test_input_table_keeps_its_columns(model_directory, card, detections, tmp_path):
    table = tmp_path / "cards.csv"
    names = [*sorted(CARD), "cam1/IMG_0001.JPG"]
    table.write_text("filepath,site\n" + "".join(f"{card / name},site {i}\n" for i, name in enumerate(names)))
    rows = predict_files([table], str(model_directory), labels=LABELS, detections=detections, as_result=True)
    sites = [(row["detection_confidence"], row["site"]) for row in rows["predictions"]]
    # The photograph that is listed twice keeps the columns of each of its rows.
    assert sites[:6] == [(0.91, "site 0")] * 3 + [(0.4, "site 0")] * 3
    assert sites[-6:] == [(0.91, "site 7")] * 3 + [(0.4, "site 7")] * 3


def test_unreadable_crop_and_photograph(model_directory, card, tmp_path, capsys):
    content = megadetector()
    content["images"][0]["detections"][1]["bbox"] = [0.5, 0.5, 0.01, 0.01]
    path = tmp_path / "md.json"
    path.write_text(json.dumps(content))
    result = predict(model_directory, card, path)
    [problem] = result["unreadable"]
    assert "IMG_0001.JPG" in problem and "1 x 1 pixels" in problem and "--detection-threshold" in problem
    assert groups(result["predictions"]) == [EXPECTED[0], *EXPECTED[2:]]


def test_repeated_command_and_changed_detections(model_directory, card, detections, tmp_path, capsys):
    output = tmp_path / "names.csv"
    command = ["predict", str(card), "--model", str(model_directory), "--cls", LABELS, "--batch-size", "8"]
    command += ["--detections", str(detections), "--output", str(output), "--resume"]
    assert main(command) == 0
    first = output.read_bytes()
    assert main(command) == 0
    assert "is finished already" in capsys.readouterr().err
    # Only a person's box changes, which is no crop.
    content = json.loads(detections.read_text())
    content["images"][2]["detections"][0]["conf"] = 0.5
    detections.write_text(json.dumps(content))
    assert main(command) == 0
    assert output.read_bytes() == first.replace(b",person,0.95,", b",person,0.5,") != first
    assert main([*command, "--detection-threshold", "0.5"]) == 2
    assert "detection_threshold was 0.2 and is 0.5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["IMG_0001.JPG"], "unclear which of the inputs"),
        (["elsewhere.jpg"], "no image of .* is among the inputs"),
        (["cam1/IMG_0001.JPG", "./cam1/IMG_0001.JPG"], "unclear which of the inputs"),
        (["cam1/IMG_0001.JPG", "cam1/IMG_0001.JPG"], "more than once"),
        (["a/cam1/IMG_0001.JPG", "b/cam1/IMG_0001.JPG"], "unclear which of the inputs"),
    ],
)
def test_unclear_photographs_are_refused(model_directory, card, tmp_path, files, message):
    path = tmp_path / "md.json"
    path.write_text(json.dumps(megadetector(images=[{"file": name, "detections": []} for name in files])))
    with pytest.raises(UserError, match=message) as error:
        predict(model_directory, card, path)
    assert "\n" not in str(error.value)


def test_thresholds_are_checked():
    with pytest.raises(UserError, match="--detection-threshold is 0"):
        PredictOptions(detections="md.json", detection_threshold=0)


def test_crops_in_python(model, card, detections):
    found = bj.find_crops([card], detections)
    assert found.counts == COUNTS and len(found.crops) == 5
    assert found.crops[0].box == (0.1, 0.2, 0.5, 0.5) and found.crops[3].box is None
    classifier = CustomLabelsClassifier(LABELS.split(","), model)
    rows = classifier.predict(list(found.crops), k=1)
    assert [row["file_name"] for row in rows] == [crop.name for crop in found.crops]
    assert model.encode_image(list(found.crops)).shape[0] == 5


def test_photographs_with_boxes_of_their_own_are_refused(model_directory, card, detections, tmp_path):
    table = tmp_path / "boxes.csv"
    header = "filepath,box_x,box_y,box_width,box_height\n"
    table.write_text(f"{header}{card / 'cam1/IMG_0001.JPG'},0.1,0.1,0.5,0.5\n")
    with pytest.raises(UserError, match="has a box in an input table already"):
        predict_files([table], str(model_directory), labels=LABELS, detections=detections, as_result=True)
