"""The index of images: build, add, delete and search, in a real LanceDB."""

from __future__ import annotations

import csv
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
import pyarrow.parquet as pq
import pytest
from PIL import Image

import bioclip_jax
from bioclip_jax.cli import main
from bioclip_jax.convert import write_model_directory
from bioclip_jax.errors import UserError
from bioclip_jax.predict.embed import embed_files
from bioclip_jax.predict.search.adder import Adder
from bioclip_jax.predict.search.approximate import RECALL, bring_up_to_date
from bioclip_jax.predict.search.build import build_index, delete_images
from bioclip_jax.predict.search.lock import locked
from bioclip_jax.predict.search.query import search_index
from bioclip_jax.predict.search.rows import make_rows
from bioclip_jax.predict.search.table import LINEAGE, ImageIndex
from bioclip_jax.web.near import Near

TAXA = {
    "apple": ("Rosales", "Rosaceae", "Malus", "domestica"),
    "oak": ("Fagales", "Fagaceae", "Quercus", "robur"),
}


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """Eight pictures with a metadata.csv: four apples, three oaks, and one of nothing known."""
    folder = tmp_path_factory.mktemp("gallery")
    rng = np.random.default_rng(3)
    with open(folder / "metadata.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filepath", "order", "family", "genus", "species", "common_name", "locality", "id"])
        for number in range(8):
            name = "apple" if number < 4 else "oak" if number < 7 else ""
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"{number}.png")
            table.writerow(
                [
                    f"{number}.png",
                    *TAXA.get(name, ("",) * 4),
                    name,
                    "St. John's" if number % 2 else "Kew",
                    number,
                ]
            )
    return folder


@pytest.fixture(scope="module")
def model(model_directory):
    return bioclip_jax.load_model(model_directory, batch_size=8)


@pytest.fixture(scope="module")
def built(gallery, model_directory, tmp_path_factory):
    directory = tmp_path_factory.mktemp("built") / "index #1, 100%"
    result = build_index([gallery], str(model_directory), directory)
    assert [result[name] for name in ("added", "known", "count", "recall")] == [8, 0, 8, None]
    return directory


@pytest.fixture
def index(built, tmp_path):
    """A copy that may be changed."""
    return Path(shutil.copytree(built, tmp_path / "index"))


def paths(rows):
    return [Path(row["path"]).name for row in rows]


def test_an_image_finds_itself_and_then_its_neighbours(gallery, built, model, tmp_path):
    query = gallery / "2.png"
    result = search_index(built, [query], k=8, as_result=True)
    rows = result["neighbours"]
    assert list(rows[0]) == ["query", "rank", "path", "score", *LINEAGE]
    vectors = model.encode_image([gallery / f"{number}.png" for number in range(8)])
    cosines = vectors @ vectors[2]
    assert paths(rows) == [f"{number}.png" for number in np.argsort(-cosines)]
    np.testing.assert_allclose([row["score"] for row in rows], np.sort(cosines)[::-1], atol=1e-5)
    assert rows[0]["species"] == "Malus domestica" and rows[0]["species_epithet"] == "domestica"
    assert [row["rank"] for row in rows] == list(range(1, 9))
    search_index(built, [query], k=8, output=tmp_path / "rows.csv")
    with open(tmp_path / "rows.csv", newline="") as file:
        assert paths(csv.DictReader(file)) == paths(rows)


def test_texts_are_queries_too(built, model, gallery):
    rows = search_index(built, texts=["an apple", "an oak"], k=3, as_result=True)["neighbours"]
    assert [row["query"] for row in rows] == ["an apple"] * 3 + ["an oak"] * 3
    cosines = (
        model.encode_text("an oak") @ model.encode_image([gallery / f"{number}.png" for number in range(8)]).T
    )
    assert paths(rows[3:]) == [f"{number}.png" for number in np.argsort(-cosines[0])[:3]]


@pytest.mark.parametrize(
    "how, expected",
    [
        ({"within": "Rosaceae"}, {0, 1, 2, 3}),
        ({"within": "Quercus robur"}, {4, 5, 6}),
        ({"within": " quercus ROBUR"}, {4, 5, 6}),
        ({"where": "locality = 'St. John''s'"}, {1, 3, 5, 7}),
        ({"within": "Fagales", "where": "locality = 'Kew' OR id_ = 5"}, {4, 5, 6}),
        ({"where": "family = ''"}, {7}),
        ({"where": "`order` = 'Nothing'"}, set()),
    ],
)
def test_filters_leave_the_best_of_those_that_fit(built, gallery, how, expected):
    rows = search_index(built, [gallery / "0.png"], k=10, as_result=True, **how)["neighbours"]
    assert {int(name[0]) for name in paths(rows)} == expected
    everything = search_index(built, [gallery / "0.png"], k=8, as_result=True)["neighbours"]
    assert paths(rows) == [name for name in paths(everything) if int(name[0]) in expected], (
        "their order changed"
    )


def test_the_model_of_an_index_is_the_named_one_or_its_own(built, model_directory, tmp_path):
    index = ImageIndex(built)
    assert index.model_for() == str(model_directory) and index.model_for("another") == "another"
    assert Near(built).model == str(model_directory), "the page has a rule of its own"
    bare = ImageIndex.create(tmp_path / "bare", 4, fingerprint="f", model=None, source="hf-hub:some/model")
    for act in (bare.model_for, lambda: Near(tmp_path / "bare").model):
        with pytest.raises(UserError, match="hf-hub:some/model.*--model"):
            act()


def test_what_index_build_prints_has_no_figure_that_is_none(gallery, model_directory, tmp_path, capsys):
    (tmp_path / "broken.png").write_text("no picture")
    command = ["index", "build", str(gallery), str(tmp_path), "--model", str(model_directory)]
    assert main([*command, "--output", str(tmp_path / "index")]) == 0
    printed = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert printed["search"] == "exact" and printed["unreadable"] == "1" and printed["added"] == "8"
    assert not {"None", "[]"} & {value.strip() for value in printed.values()}, printed
    assert "recall" not in printed and "nprobes" not in printed


def test_an_unknown_taxon_is_told_with_the_nearest(built, gallery):
    with pytest.raises(UserError, match="Rosacea'.*did you mean Rosaceae"):
        search_index(built, [gallery / "0.png"], within="Rosacea")
    with pytest.raises(UserError, match="x' OR 'a' = 'a"):
        search_index(built, [gallery / "0.png"], within="x' OR 'a' = 'a")


@pytest.mark.parametrize(
    "where",
    ["family =", "nothing = 3", "genus = 'x') OR (1 = 1", "id_ > 5 +", "id_ > 5; id_ > 6", "id_ > 5 id_"],
)
def test_a_wrong_filter_is_one_line(index, gallery, where):
    for act in (
        lambda: search_index(index, texts=["x"], where=where),
        lambda: delete_images(index, where=where),
    ):
        with pytest.raises(UserError) as caught:
            act()
        assert repr(where) in str(caught.value) and "\n" not in str(caught.value)
    assert len(ImageIndex(index)) == 8


def test_adding_takes_what_is_new_and_what_has_changed(index, gallery, model_directory, tmp_path):
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
    assert nearest["path"].endswith("yellow.png") and nearest["score"] > 0.9999, (
        "the old vector is still there"
    )
    assert json.loads((index / "index.json").read_text())["count"] == 9


def test_a_changed_file_takes_its_own_row_whatever_else_the_index_holds(index, gallery, tmp_path):
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
        "b.png kept its old vector"
    )
    # What a row held goes on under another name.
    Image.new("RGB", (30, 30), "green").save(folder / "b.png")
    shutil.copy(folder / "a.png", folder / "c.png")
    Image.new("RGB", (30, 30), "yellow").save(folder / "a.png")
    result = build_index([folder], None, index)
    assert [result[name] for name in ("replaced", "added", "count")] == [2, 1, 11]


def test_one_process_at_a_time(index, gallery, model_directory, tmp_path):
    new = tmp_path / "new"
    refused = pytest.raises(UserError, match="being built by another process")
    with locked(new), refused:
        build_index([gallery], str(model_directory), new)
    assert not new.exists(), "a folder without an index was left"
    with locked(index), refused:
        build_index([gallery], str(model_directory), index)
    with locked(index), refused:
        delete_images(index, where="genus = ''")
    assert delete_images(index, where="genus = ''")["deleted"] == 1, "the lock stayed"


def test_a_search_without_a_hit_leaves_no_older_result(built, gallery, tmp_path):
    for name, content in (("r.csv", f"query,rank,path,score,{','.join(LINEAGE)}\n"), ("r.json", "[]\n")):
        (tmp_path / name).write_text("old")
        ask = {"where": "`order` = 'Nothing'", "output": tmp_path / name}
        assert search_index(built, [gallery / "0.png"], **ask)["output"] == str(tmp_path / name)
        assert (tmp_path / name).read_text() == content
    search_index(built, [gallery / "0.png"], k=1, output=tmp_path / "hit.parquet")
    search_index(built, [gallery / "0.png"], where="genus = 'x'", output=tmp_path / "none.parquet")
    hit, none = pq.read_table(tmp_path / "hit.parquet"), pq.read_table(tmp_path / "none.parquet")
    assert none.schema == hit.schema and none.num_rows == 0


def test_a_damaged_index_is_told(index, gallery):
    next((index / "images.lance" / "data").iterdir()).unlink()
    for act in (
        lambda: search_index(index, [gallery / "0.png"]),
        lambda: search_index(index, [gallery / "0.png"], within="Rosaceae"),
        lambda: delete_images(index, where="genus = 'Malus'"),
        lambda: build_index([gallery], None, index),
        lambda: bring_up_to_date(ImageIndex(index), exact_below=1),
    ):
        with pytest.raises(UserError, match=rf"the index {index} is damaged \(Not found.*build it again"):
            act()


def test_the_index_knows_its_model_from_anywhere(gallery, model_directory, tmp_path, monkeypatch):
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
        with pytest.raises(UserError, match=r"small of the index \.\./index is not there.*--model"):
            act()


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux")
def test_names_that_are_no_unicode_are_indexed_and_deleted(index, gallery, tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    Image.new("RGB", (30, 30), "teal").save(odd)
    assert build_index([odd], None, index)["added"] == 1
    assert paths(search_index(index, [odd], k=1, as_result=True)["neighbours"]) == ["caf?.png"]
    assert delete_images(index, paths=[odd])["deleted"] == 1


def test_deleting_by_path_folder_and_filter(index, gallery):
    assert delete_images(index, paths=[str(gallery / "0.png"), str(gallery / "1.png")]) == {
        "deleted": 2,
        "count": 6,
    }
    assert delete_images(index, where="genus = 'Quercus'") == {"deleted": 3, "count": 3}
    rows = search_index(index, [gallery / "0.png"], k=10, as_result=True)["neighbours"]
    assert sorted(paths(rows)) == ["2.png", "3.png", "7.png"]
    with pytest.raises(UserError, match="it's not there"):
        delete_images(index, paths=["it's not there.png"])
    assert delete_images(index, paths=[str(gallery)])["count"] == 0
    assert search_index(index, [gallery / "0.png"], as_result=True)["neighbours"] == []


def test_vectors_that_embed_wrote_become_the_same_index(built, gallery, model_directory, tmp_path):
    embed_files([gallery], str(model_directory), tmp_path / "e.parquet")
    shutil.copy(tmp_path / "e.parquet", tmp_path / "e.PARQUET")
    result = build_index([f"{tmp_path}/*.PARQUET"], None, tmp_path / "index")
    assert (result["added"], result["count"]) == (8, 8)
    again = build_index([tmp_path / "e.parquet"], None, tmp_path / "index")
    assert (again["added"], again["known"], again["count"]) == (0, 8, 8)
    ask = {"k": 8, "as_result": True, "within": "Rosaceae"}
    with pytest.raises(UserError, match="--model"):
        search_index(tmp_path / "index", [gallery / "5.png"], **ask)
    found = search_index(tmp_path / "index", [gallery / "5.png"], str(model_directory), **ask)["neighbours"]
    assert found == search_index(built, [gallery / "5.png"], **ask)["neighbours"]
    # Vectors of any length become unit vectors, as those that the index makes itself.
    embed_files([gallery], str(model_directory), tmp_path / "raw.parquet", normalize=False)
    build_index([tmp_path / "raw.parquet"], None, tmp_path / "raw")
    vectors = [
        np.stack(ImageIndex(path).values(["vector"])["vector"].to_numpy())
        for path in (built, tmp_path / "raw")
    ]
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-5)


def test_another_models_vectors_are_refused(index, gallery, bundle, tmp_path):
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


def test_what_is_no_index_is_told_and_left_alone(gallery, model_directory, tmp_path):
    with pytest.raises(UserError, match="no index"):
        search_index(gallery, [gallery / "0.png"])
    with pytest.raises(UserError, match="no index"):
        build_index([gallery], str(model_directory), gallery)
    for number, content in enumerate(["[]", "{}", "{", '{"fingerprint": "f"}']):
        (damaged := tmp_path / f"damaged{number}").mkdir()
        (damaged / "index.json").write_text(content)
        with pytest.raises(UserError, match="no index"):
            ImageIndex(damaged)
        shutil.rmtree(damaged)
    (tmp_path / "broken.png").write_text("no picture")
    (tmp_path / "broken2.png").write_text("no picture either")
    with pytest.raises(UserError, match="none of the 2"):
        build_index([tmp_path], str(model_directory), tmp_path / "index")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.png", "broken2.png"]


def clustered(number: int, dim: int = 32, seed: int = 0) -> np.ndarray:
    centres = np.random.default_rng(9).standard_normal((20, dim))
    rng = np.random.default_rng(seed)
    return (centres[rng.integers(0, 20, number)] + 0.6 * rng.standard_normal((number, dim))).astype(
        np.float32
    )


def test_the_approximate_index_reaches_its_recall_and_states_it(tmp_path):
    vectors = clustered(3000)
    index = ImageIndex.create(tmp_path / "index", 32, fingerprint="f", model=None, source="made up")
    names = [str(number) for number in range(3000)]
    columns = pa.table({"family": ["Rosaceae" if number % 50 == 0 else "other" for number in range(3000)]})
    index.add(make_rows(names[:2000], names[:2000], vectors[:2000], columns[:2000]))
    report = bring_up_to_date(index, exact_below=1000)
    assert report["recall"] >= RECALL and report["count"] == 2000
    index.add(make_rows(names[2000:], names[2000:], vectors[2000:], columns[2000:]))
    assert bring_up_to_date(index, exact_below=1000)["recall"] >= RECALL, "what was added later is not found"
    index = ImageIndex(tmp_path / "index")
    assert index.about["nprobes"] and index.table.list_indices(), "no approximate index was made"
    queries = clustered(40, seed=1)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = queries @ unit.T / np.linalg.norm(queries, axis=1, keepdims=True)
    hits = 0
    for row, rows in zip(cosines, index.search(queries, 10)):
        hits += len({int(found["path"]) for found in rows} & set(np.argsort(-row)[:10]))
        assert all(abs(found["score"] - row[int(found["path"])]) < 1e-5 for found in rows), (
            "scores are not the cosines"
        )
    assert hits / 400 >= RECALL, f"recall {hits / 400} on new queries"
    few = np.arange(0, 3000, 50)
    for row, rows in zip(cosines, index.search(queries[:5], 10, where="family = 'Rosaceae'")):
        expected = few[np.argsort(-row[few])[:10]]
        assert [int(found["path"]) for found in rows] == expected.tolist(), (
            "a filter must leave the exact best"
        )


def test_a_column_of_another_type_is_told(tmp_path):
    index = ImageIndex.create(tmp_path / "index", 2, fingerprint="f", model=None, source="made up")
    vectors = np.eye(2, dtype=np.float32)
    index.add(make_rows(["a", "b"], ["a", "b"], vectors, pa.table({"mass.g": [1, 2]})))
    index.add(make_rows(["c", "d"], ["c", "d"], vectors, pa.table({"sex": ["m", "f"]})))
    assert [row["mass_g"] for row in index.search(vectors[:1], 4)[0]].count(None) == 2
    with pytest.raises(UserError, match="mass_g.*int64"):
        index.add(make_rows(["e", "f"], ["e", "f"], vectors, pa.table({"mass.g": ["heavy", "light"]})))
    assert len(index) == 4


def test_an_interrupted_build_keeps_what_it_has_and_says_so(
    gallery, model_directory, tmp_path, capsys, monkeypatch
):
    add = Adder.add

    def add_and_stop(adder, rows):
        add(adder, rows)
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
        patch.setattr(Adder, "add", add_and_stop)
        assert main(command) == 130
    told = capsys.readouterr().err.strip().splitlines()[-1]
    kept = len(ImageIndex(tmp_path / "index"))
    assert (
        told.startswith("interrupted: ")
        and f"holds {kept} images; run the same command again" in told
        and kept
    )
    assert main(command) == 0 and len(ImageIndex(tmp_path / "index")) == 8


_BUILD = """
import sys
import bioclip_jax.predict.search.adder as adder
adder._ROWS = 1
from bioclip_jax.predict.search.build import build_index
build_index([sys.argv[1]], sys.argv[2], sys.argv[3], batch_size=8)
"""


def test_a_killed_build_leaves_an_index_that_goes_on(model_directory, tmp_path):
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
    assert 0 < left < 160, "it was not killed in the middle"
    assert len(search_index(index, [pictures / "000.png"], k=left, as_result=True)["neighbours"]) == left
    result = build_index([pictures], None, index)
    assert (result["known"], result["added"], result["count"]) == (left, 160 - left, 160)


def test_lancedb_is_needed_only_here_and_its_absence_told(tmp_path):
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


def test_a_file_system_without_locks(no_flock, gallery, model_directory, tmp_path, capsys):
    result = build_index([gallery / "0.png"], str(model_directory), tmp_path / "index")
    assert result["count"] == 1
    assert "has no file locks" in capsys.readouterr().err


def test_results_do_not_overwrite_queries_or_the_index(gallery, built, tmp_path):
    shutil.copy(gallery / "0.png", tmp_path / "query")
    (tmp_path / "link.csv").symlink_to(tmp_path / "query")
    for output in (tmp_path / "query", tmp_path / "link.csv"):
        with pytest.raises(UserError, match="--output would overwrite .*query, which is an input"):
            search_index(built, [tmp_path / "query"], output=output)
    before = (Path(built) / "index.json").read_bytes()
    with pytest.raises(UserError, match="which is part of the index"):
        search_index(built, [gallery / "0.png"], output=Path(built) / "index.json", format="json")
    assert (Path(built) / "index.json").read_bytes() == before
