"""Tables as INPUTS of predict: formats, spellings of paths, and columns appended to rows."""

import csv
import io
import json
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.predict.inputs import find_images
from bioclip_jax.tables import shown_path


@pytest.fixture
def folder(tmp_path):
    """photos/one.png, photos/two.png and one with a decomposed Unicode name, as on a Mac."""
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for name in ("one", "two", unicodedata.normalize("NFD", "käfer")):
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(tmp_path / "photos" / f"{name}.png")
    return tmp_path


def predict(model_directory, capsys, *arguments):
    assert (
        main(
            ["predict", *map(str, arguments), "--cls", "cat,dog", "--k", "1", "--model", str(model_directory)]
        )
        == 0
    )
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.csv", "filepath\n{}\n"),
        ("list.TSV", "site\tFilepath \nx\t{}\n"),
        ("media.csv", "mediaID;filePath;fileMediatype\n1;{};image/png\n"),
        ("list.csv", "\ufefffile_name,site\n{},x\n"),
        ("list.txt", "filepath\n{}\n"),
    ],
)
@pytest.mark.parametrize(
    "path",
    ["photos/one.png", "photos\\one.png", " photos/one.png ", ".\\photos\\one.png"]
    + ["photos/käfer.png", "photos\\käfer.png"],
)
def test_tables_and_spellings_of_paths(folder, name, content, path):
    (folder / name).write_text(content.format(path), encoding="utf-8")
    (image,) = find_images([folder / name])
    assert image.name == f"{folder}/{path}", "results call it as the table does"
    assert image.read()[1:4] == b"PNG"


def test_an_existing_path_is_used_unchanged(folder):
    for name in (" photos", "a\\b.png"):
        (folder / name).write_bytes(b"itself")
    (folder / "list.csv").write_text("filepath\n photos\na\\b.png\n")
    assert [image.read() for image in find_images([folder / "list.csv"])] == [b"itself"] * 2


def test_blanks_of_a_missing_path_are_visible_in_the_message(folder, model_directory, capsys):
    (folder / "list.csv").write_text("filepath,n\nphotos/one.png,1\n three.png,2\n")
    main(["predict", str(folder / "list.csv"), "--cls", "cat,dog", "--model", str(model_directory)])
    assert f"'{folder}/ three.png' cannot be read (No such file" in capsys.readouterr().err


def test_table_columns_are_appended_to_rows(folder, model_directory, capsys, tmp_path):
    table = folder / "list.csv"
    table.write_text("site,score,filepath,code\nnorth,7,photos/one.png,007\nsouth,,photos/two.png,1e3\n")
    expected = {"site": ["north", "south"], "input_score": ["7", ""], "code": ["007", "1e3"]}
    rows = predict(model_directory, capsys, table)
    assert list(rows[0]) == ["file_name", "classification", "score", "site", "input_score", "code"]
    assert {name: [row[name] for row in rows] for name in expected} == expected
    for suffix in ("json", "parquet"):
        predict(model_directory, capsys, table, "--output", tmp_path / f"o.{suffix}")
    actual = json.loads((tmp_path / "o.json").read_text())
    assert {name: [row[name] for row in actual] for name in expected} == expected
    assert pq.read_table(tmp_path / "o.parquet").select(list(expected)).to_pydict() == expected


def test_images_outside_a_table_have_empty_columns(folder, model_directory, capsys, tmp_path):
    columns = {"filepath": ["photos/two.png"], "n": [3], "emb": [[0.5]], "day": pa.array([0], pa.date32())}
    pq.write_table(pa.table(columns), folder / "list.parquet")
    rows = predict(model_directory, capsys, folder / "photos" / "one.png", folder / "list.parquet")
    assert [(row["n"], row["day"]) for row in rows] == [("", ""), ("3", "1970-01-01")] and "emb" not in rows[
        0
    ]
    output = tmp_path / "o.json"
    predict(model_directory, capsys, folder / "list.parquet", "--output", output)
    assert json.loads(output.read_text())[0]["n"] == 3


def test_table_columns_are_appended_with_resume(folder, model_directory, capsys, tmp_path):
    (folder / "list.csv").write_text("filepath,site\nphotos/one.png,x\nphotos/two.png,y\nphotos/one.png,z\n")
    predict(model_directory, capsys, folder / "list.csv", "--resume", "--output", tmp_path / "o.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "o.csv").read_text())))
    assert [row["site"] for row in rows] == ["x", "y", "z"]


def test_notes_on_a_table_are_printed_once(folder, model_directory, capsys):
    (folder / "list.csv").write_bytes(
        "filepath,site,n\nphotos/one.png,Zürich\nphotos/two.png,x,1\n".encode("latin-1")
    )
    main(["predict", str(folder / "list.csv"), "--cls", "cat,dog", "--model", str(model_directory)])
    message = capsys.readouterr().err
    assert message.count("read as Windows-1252") == message.count("1 row has fewer cells") == 1


def test_rows_without_a_path_are_counted(folder, capsys):
    (folder / "list.csv").write_text("filepath,n\nphotos/one.png,1\n,2\n  ,3\n")
    assert len(find_images([folder / "list.csv"])) == 1
    assert capsys.readouterr().err == f"skipped: 2 rows of {folder}/list.csv, whose filepath is empty\n"


def test_a_list_without_a_header_is_an_error(folder):
    (folder / "list.txt").write_text("photos/one.png\nphotos/two.png\n")
    with pytest.raises(
        UserError,
        match="list.txt is a text, not an image; the first line of a list of images must be filepath$",
    ):
        find_images([folder / "list.txt"])


def test_an_image_named_txt_is_an_image(folder):
    (folder / "one.txt").write_bytes((folder / "photos" / "one.png").read_bytes())
    assert len(find_images([folder / "one.txt"])) == 1


def test_other_spellings_on_the_command_line(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for path in ("photos/käfer.png", "photos\\käfer.png", f"{folder}/photos/käfer.png"):
        (image,) = find_images([path])
        assert image.read()[1:4] == b"PNG"


def test_binary_cells_are_not_printed_in_full(folder):
    pq.write_table(
        pa.table({"filepath": [(folder / "photos" / "one.png").read_bytes() * 9]}), folder / "list.parquet"
    )
    (image,) = find_images([folder / "list.parquet"])
    shown = shown_path(image.name)
    assert len(shown) < 2000 and shown.isprintable(), "pixels reach the terminal"
