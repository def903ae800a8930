"""Build, update and delete from an index of images, with LanceDB."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from bioclip_jax.cli import main
from bioclip_jax.convert import write_model_directory
from bioclip_jax.errors import UserError
from bioclip_jax.predict.embed import embed_files
from bioclip_jax.predict.search.approximate import update_index
from bioclip_jax.predict.search.build import _locked, build_index, delete_images
from bioclip_jax.predict.search.query import search_index
from bioclip_jax.predict.search.table import ImageIndex
from bioclip_jax.predict.search.writer import IndexWriter, make_rows
from bioclip_jax.web.similar import SimilarImages


def paths(rows):
    return [Path(row["path"]).name for row in rows]


def test_model_is_the_given_one_or_the_builder(built, model_directory, tmp_path):
    index = ImageIndex(built)
    assert index.model_for() == str(model_directory) and index.model_for("another") == "another"
    assert SimilarImages(built).model == str(model_directory), "the page uses another rule"
    bare = ImageIndex.create(tmp_path / "bare", 4, fingerprint="f", model=None, source="hf-hub:some/model")
    for act in (bare.model_for, lambda: SimilarImages(tmp_path / "bare").model):
        with pytest.raises(UserError, match="hf-hub:some/model.*--model"):
            act()


def test_printed_result_has_no_empty_values(gallery, model_directory, tmp_path, capsys):
    (tmp_path / "broken.png").write_text("no picture")
    command = ["index", "build", str(gallery), str(tmp_path), "--model", str(model_directory)]
    assert main([*command, "--output", str(tmp_path / "index")]) == 0
    printed = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert printed["search"] == "exact" and printed["unreadable"] == "1" and printed["added"] == "8"
    assert not {"None", "[]"} & {value.strip() for value in printed.values()}, printed
    assert "recall" not in printed and "nprobes" not in printed


def test_build_adds_new_and_changed_images(index, gallery, model_directory, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    shutil.copy(gallery / "1.png", more / "the same again.png")
    Image.new("RGB", (30, 30), (250, 250, 0)).save(more / "yellow.png")
    (more / "broken.png").write_text("no picture")
    first = build_index([gallery, more], str(model_directory), index)
    assert [first[name] for name in ("images", "added", "replaced", "known", "count")] == [11, 1, 0, 9, 9]
    assert len(first["unreadable"]) == 1 and "broken.png" in first["unreadable"][0]
    Image.new("RGB", (30, 30), (0, 0, 250)).save(more / "yellow.png")
    second = build_index([more], None, index)
    assert [second[name] for name in ("added", "replaced", "known", "count")] == [0, 1, 1, 9]
    nearest = search_index(index, [more / "yellow.png"], k=1, as_result=True)["neighbours"][0]
    assert nearest["path"].endswith("yellow.png") and nearest["score"] > 0.9999, "the old vector remains"
    assert json.loads((index / "index.json").read_text())["count"] == 9


def test_changed_file_replaces_its_own_row(index, gallery, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, color in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (30, 30), color).save(folder / f"{name}.png")
    assert build_index([folder], None, index)["added"] == 2
    shutil.copy(folder / "a.png", folder / "b.png")
    result = build_index([folder], None, index)
    assert [result[name] for name in ("replaced", "known", "count")] == [1, 1, 10]
    rows = search_index(index, [folder / "a.png"], k=2, as_result=True)["neighbours"]
    assert sorted(paths(rows)) == ["a.png", "b.png"] and rows[1]["score"] > 0.9999, (
        "b.png keeps its old vector"
    )
    # Replaced content is added under another name.
    Image.new("RGB", (30, 30), "green").save(folder / "b.png")
    shutil.copy(folder / "a.png", folder / "c.png")
    Image.new("RGB", (30, 30), "yellow").save(folder / "a.png")
    result = build_index([folder], None, index)
    assert [result[name] for name in ("replaced", "added", "count")] == [2, 1, 11]


def test_index_is_locked_while_it_changes(index, gallery, model_directory, tmp_path):
    new = tmp_path / "new"
    refused = pytest.raises(UserError, match="being built by another process")
    with _locked(new), refused:
        build_index([gallery], str(model_directory), new)
    assert not new.exists(), "a folder without an index remains"
    with _locked(index), refused:
        build_index([gallery], str(model_directory), index)
    with _locked(index), refused:
        delete_images(index, where="genus = ''")
    assert delete_images(index, where="genus = ''")["deleted"] == 1, "the lock remains"


def test_damaged_index_is_an_error(index, gallery):
    next((index / "images.lance" / "data").iterdir()).unlink()
    for act in (
        lambda: search_index(index, [gallery / "0.png"]),
        lambda: search_index(index, [gallery / "0.png"], within="Rosaceae"),
        lambda: delete_images(index, where="genus = 'Malus'"),
        lambda: build_index([gallery], None, index),
        lambda: update_index(ImageIndex(index), exact_below=1),
    ):
        with pytest.raises(UserError, match=rf"the index {index} is damaged \(Not found.*build it again"):
            act()


def test_index_finds_its_model_from_another_folder(gallery, model_directory, tmp_path, monkeypatch):
    shutil.copytree(model_directory, tmp_path / "small")
    monkeypatch.chdir(tmp_path)
    build_index([gallery], "small", "index")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert search_index("../index", [gallery / "0.png"], k=1, as_result=True)["neighbours"]
    shutil.rmtree(tmp_path / "small")
    for act in (
        lambda: search_index("../index", [gallery / "0.png"]),
        lambda: build_index([gallery], None, "../index"),
    ):
        with pytest.raises(UserError, match=r"small of the index \.\./index does not exist.*--model"):
            act()


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
def test_non_unicode_file_names(index, gallery, tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    Image.new("RGB", (30, 30), "teal").save(odd)
    assert build_index([odd], None, index)["added"] == 1
    assert paths(search_index(index, [odd], k=1, as_result=True)["neighbours"]) == ["caf?.png"]
    assert delete_images(index, paths=[odd])["deleted"] == 1


def test_delete_by_path_folder_and_filter(index, gallery):
    assert delete_images(index, paths=[str(gallery / "0.png"), str(gallery / "1.png")]) == {
        "deleted": 2,
        "count": 6,
    }
    assert delete_images(index, where="genus = 'Quercus'") == {"deleted": 3, "count": 3}
    rows = search_index(index, [gallery / "0.png"], k=10, as_result=True)["neighbours"]
    assert sorted(paths(rows)) == ["2.png", "3.png", "7.png"]
    with pytest.raises(UserError, match="it's absent"):
        delete_images(index, paths=["it's absent.png"])
    assert delete_images(index, paths=[str(gallery)])["count"] == 0
    assert search_index(index, [gallery / "0.png"], as_result=True)["neighbours"] == []


def test_index_from_embed_equals_index_from_images(built, gallery, model_directory, tmp_path):
    embed_files([gallery], str(model_directory), tmp_path / "e.parquet")
    shutil.copy(tmp_path / "e.parquet", tmp_path / "e.PARQUET")
    result = build_index([f"{tmp_path}/*.PARQUET"], None, tmp_path / "index")
    assert (result["added"], result["count"]) == (8, 8)
    again = build_index([tmp_path / "e.parquet"], None, tmp_path / "index")
    assert (again["added"], again["known"], again["count"]) == (0, 8, 8)
    ask = {"k": 8, "as_result": True, "within": "Rosaceae"}
    with pytest.raises(UserError, match="--model"):
        search_index(tmp_path / "index", [gallery / "5.png"], **ask)
    rows = search_index(tmp_path / "index", [gallery / "5.png"], str(model_directory), **ask)["neighbours"]
    assert rows == search_index(built, [gallery / "5.png"], **ask)["neighbours"]
    # Unnormalized vectors are normalized.
    embed_files([gallery], str(model_directory), tmp_path / "raw.parquet", normalize=False)
    build_index([tmp_path / "raw.parquet"], None, tmp_path / "raw")
    vectors = [
        np.stack(ImageIndex(path).values(["vector"])["vector"].to_numpy())
        for path in (built, tmp_path / "raw")
    ]
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-5)


def test_vectors_of_another_model_are_refused(index, gallery, bundle, tmp_path):
    params = {**bundle.params, "logit_scale": bundle.params["logit_scale"] + np.float32(0.5)}
    other = dataclasses.replace(bundle, params=params)
    other = write_model_directory(other, tmp_path / "other", replay_projector=True)
    for act in (
        lambda: search_index(index, [gallery / "0.png"], str(other)),
        lambda: build_index([gallery], str(other), index),
    ):
        with pytest.raises(UserError, match="holds vectors of .*, not of "):
            act()
    embed_files([gallery / "0.png"], str(other), tmp_path / "e.parquet")
    with pytest.raises(UserError, match="holds vectors of .*, not of "):
        build_index([tmp_path / "e.parquet"], None, index)
    assert len(ImageIndex(index)) == 8


def test_invalid_index_folders_are_errors_and_stay_unchanged(gallery, model_directory, tmp_path):
    with pytest.raises(UserError, match="not an index"):
        search_index(gallery, [gallery / "0.png"])
    with pytest.raises(UserError, match="not an index"):
        build_index([gallery], str(model_directory), gallery)
    for number, content in enumerate(["[]", "{}", "{", '{"fingerprint": "f"}']):
        (damaged := tmp_path / f"damaged{number}").mkdir()
        (damaged / "index.json").write_text(content)
        with pytest.raises(UserError, match="not an index"):
            ImageIndex(damaged)
        shutil.rmtree(damaged)
    (tmp_path / "broken.png").write_text("no picture")
    (tmp_path / "broken2.png").write_text("no picture either")
    with pytest.raises(UserError, match="none of the 2"):
        build_index([tmp_path], str(model_directory), tmp_path / "index")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.png", "broken2.png"]


def test_column_of_another_type_is_an_error(tmp_path):
    index = ImageIndex.create(tmp_path / "index", 2, fingerprint="f", model=None, source="synthetic")
    vectors = np.eye(2, dtype=np.float32)
    index.add(make_rows(["a", "b"], ["a", "b"], vectors, pa.table({"mass.g": [1, 2]})))
    index.add(make_rows(["c", "d"], ["c", "d"], vectors, pa.table({"sex": ["m", "f"]})))
    assert [row["mass_g"] for row in index.search(vectors[:1], 4)[0]].count(None) == 2
    with pytest.raises(UserError, match="mass_g.*int64"):
        index.add(make_rows(["e", "f"], ["e", "f"], vectors, pa.table({"mass.g": ["heavy", "light"]})))
    assert len(index) == 4


def test_interrupted_build_keeps_its_images(gallery, model_directory, tmp_path, capsys, monkeypatch):
    add = IndexWriter.add

    def add_and_stop(writer, rows):
        add(writer, rows)
        raise KeyboardInterrupt

    command = [
        "index",
        "build",
        str(gallery),
        "--model",
        str(model_directory),
        "--output",
        str(tmp_path / "index"),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(IndexWriter, "add", add_and_stop)
        assert main(command) == 130
    message = capsys.readouterr().err.strip().splitlines()[-1]
    kept = len(ImageIndex(tmp_path / "index"))
    assert (
        message.startswith("interrupted: ")
        and f"holds {kept} images; run the same command again" in message
        and kept
    )
    assert main(command) == 0 and len(ImageIndex(tmp_path / "index")) == 8


_BUILD = """
import sys
import bioclip_jax.predict.search.writer as writer
writer._ROWS = 1
from bioclip_jax.predict.search.build import build_index
build_index([sys.argv[1]], sys.argv[2], sys.argv[3], batch_size=8)
"""


def test_killed_build_resumes(model_directory, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(5)
    for number in range(160):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(pictures / f"{number:03}.png")
    index = tmp_path / "index"
    command = [sys.executable, "-c", _BUILD, str(pictures), str(model_directory), str(index)]
    process = subprocess.Popen(command, env=os.environ)
    while process.poll() is None and len(list(index.glob("images.lance/data/*"))) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = len(ImageIndex(index))
    assert 0 < left < 160, "the build finished before it was killed"
    assert len(search_index(index, [pictures / "000.png"], k=left, as_result=True)["neighbours"]) == left
    result = build_index([pictures], None, index)
    assert (result["known"], result["added"], result["count"]) == (left, 160 - left, 160)


def test_missing_lancedb_is_an_error(tmp_path):
    code = (
        "import sys; sys.modules['lancedb'] = None\n"
        "import bioclip_jax.predict.search.build, bioclip_jax.predict.search.query\n"
        "assert not {'jax', 'torch', 'pandas'} & set(sys.modules), 'the command line would pay for these'\n"
        "from bioclip_jax.predict.search.table import ImageIndex\n"
        "ImageIndex.create(sys.argv[1], 4, fingerprint='f', model=None, source='s')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "i")], check=False, capture_output=True, text=True
    )
    assert "UserError" in done.stderr and "pip install 'bioclip-jax[search]'" in done.stderr, done.stderr
    assert not any(tmp_path.iterdir())


def test_file_system_without_locks(no_flock, gallery, model_directory, tmp_path, capsys):
    result = build_index([gallery / "0.png"], str(model_directory), tmp_path / "index")
    assert result["count"] == 1
    assert "has no file locks" in capsys.readouterr().err
