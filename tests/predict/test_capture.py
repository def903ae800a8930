"""Columns of EXIF (`--add`) in the output, the report and Parquet."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from exif_bytes import MAKE, MODEL, ORIGINAL, SERIAL, exif, photograph, place, text

from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.predict import PredictOptions, predict_files
from bioclip_jax.predict.results import write_rows


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    whole = exif(
        [text(MAKE, "RECONYX"), text(MODEL, "HF2X")],
        [text(ORIGINAL, "2020:05:30 04:57:37"), text(SERIAL, "H5")],
        place(51.496, -4.774, 12.5),
    )
    (folder / "b.jpg").write_bytes(photograph(whole))
    (folder / "a.png").write_bytes(photograph(b"", "PNG"))
    later = exif(camera=[text(ORIGINAL, "2021:01:02 03:04:05")], main=[text(MODEL, "<b>HF2X</b>")])
    (folder / "c.webp").write_bytes(photograph(later, "WEBP"))
    hostile = exif([text(MODEL, b"\xff\xfe\x01")], [text(ORIGINAL, "0000:00:00 00:00:00")], place(400, 4))
    (folder / "d.jpg").write_bytes(photograph(hostile))
    return folder


EXPECTED = [
    {"date_taken": "", "latitude": "", "longitude": "", "altitude": "", "camera": "", "camera_serial": ""},
    {"date_taken": "2020-05-30T04:57:37", "latitude": "51.496", "longitude": "-4.774", "altitude": "12.5"}
    | {"camera": "RECONYX HF2X", "camera_serial": "H5"},
    {"date_taken": "2021-01-02T03:04:05", "latitude": "", "longitude": "", "altitude": ""}
    | {"camera": "<b>HF2X</b>", "camera_serial": ""},
    {"date_taken": "", "latitude": "", "longitude": "", "altitude": "", "camera": "", "camera_serial": ""},
]


def test_csv_json_and_parquet_have_the_columns(photos, model_directory, tmp_path, capsys):
    arguments = ["predict", str(photos), "--model", str(model_directory), "--cls", "cat,dog", "--k", "1"]
    arguments += ["--add", "camera,date,place"]
    for suffix in ("csv", "json", "parquet"):
        assert main([*arguments, "--output", str(tmp_path / f"o.{suffix}")]) == 0
    with open(tmp_path / "o.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{name: row[name] for name in EXPECTED[0]} for row in rows] == EXPECTED
    assert list(rows[0]) == ["file_name", "classification", "score", *EXPECTED[0]]
    numbers = [(None, None, None), (51.496, -4.774, 12.5), (None, None, None), (None, None, None)]
    for rows in (
        json.loads((tmp_path / "o.json").read_text()),
        pq.read_table(tmp_path / "o.parquet").to_pylist(),
    ):
        assert [(row["latitude"], row["longitude"], row["altitude"]) for row in rows] == numbers
        assert [row["camera"] for row in rows] == [row["camera"] for row in EXPECTED]
    assert "note: 2 of 4 images have no date in their EXIF" in capsys.readouterr().err


def test_embed_adds_them_to_parquet(photos, model_directory, tmp_path, capsys):
    output = tmp_path / "e.parquet"
    arguments = ["embed", str(photos), "--model", str(model_directory), "--add", "date,place", "--output"]
    assert main([*arguments, str(output)]) == 0
    rows = pq.read_table(output).to_pylist()
    assert [row["latitude"] for row in rows] == [None, 51.496, None, None]
    assert [row["date_taken"] for row in rows] == [row["date_taken"] for row in EXPECTED]
    capsys.readouterr()
    assert main([*arguments, str(tmp_path / "e.npy")]) == 2
    assert (
        capsys.readouterr().err == "error: --add puts columns into Parquet; name a .parquet with --output\n"
    )


def test_coordinates_only_if_asked(photos, model_directory):
    result = predict_files([photos], str(model_directory), labels="cat,dog", add="date", as_result=True)
    assert list(result["predictions"][0]) == ["file_name", "classification", "score", "date_taken"]


def test_the_report_shows_columns_of_exif_and_of_a_table(photos, model_directory, tmp_path):
    with open(photos / "t.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["filepath", "site", "species", "empty"],
                ["b.jpg", "<i>North</i>", "vulgaris", ""],
                ["c.webp", "", "", ""],
            ]
        )
    report = tmp_path / "r.html"
    options = PredictOptions(labels="cat,dog", add="date,camera", as_result=True, report=report)
    predict_files([photos / "t.csv"], str(model_directory), options)
    page = report.read_text()
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])
    assert [dict(card[3].get("details", [])) for card in data["cards"]] == [
        {"date_taken": "2020-05-30T04:57:37", "camera": "RECONYX HF2X", "camera_serial": "H5"}
        | {"site": "<i>North</i>", "species": "vulgaris"},
        {"date_taken": "2021-01-02T03:04:05", "camera": "<b>HF2X</b>"},
    ]
    assert "2020-05-30 to 2021-01-02" in page and "Images by camera" in page
    assert "<i>North</i>" not in page and "<b>HF2X</b>" not in page


def test_an_unknown_choice_is_one_line(capsys):
    assert main(["predict", "x.jpg", "--add", "dates"]) == 2
    assert capsys.readouterr().err == "error: --add cannot add 'dates'; did you mean date?\n"
    with pytest.raises(UserError, match="cannot add ''; choose from date, place, camera"):
        PredictOptions(add=["date", ""])


def test_parquet_types_a_column_that_starts_empty(tmp_path):
    rows = [{"file_name": "a", "latitude": None, "note": None}] * 70_000
    rows += [{"file_name": "b", "latitude": 1.5, "note": "x"}]
    assert write_rows(rows, "parquet", tmp_path / "o.parquet") == 70_001
    table = pq.read_table(tmp_path / "o.parquet")
    assert table.schema.field("latitude").type == pa.float64()
    assert table.slice(70_000).to_pylist() == rows[-1:]
