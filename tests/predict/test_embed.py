"""The verb embed: images and texts in every format, against pybioclip's command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bioclip_jax.analyze.vector_table import read_vector_table
from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.predict.embed import embed_files, read_texts
from bioclip_jax.predict.embedding.formats import Batch, sample_uuid, write_batches
from bioclip_jax.predict.embedding.metadata import ImageMetadata
from bioclip_jax.predict.input_paths import expand
from bioclip_jax.predict.inputs import ImageFile, find_images

PEERS = Path(__file__).resolve().parents[1] / "peers"
UUID = "69b0a886-7495-5eef-b8ac-0afba0eaabaf"


@pytest.fixture
def folder(tmp_path):
    """pictures/one.png, pictures/two.png, and pictures/note.jpg, which is text."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(pictures / f"{name}.png")
    (pictures / "note.jpg").write_text("no picture")
    return pictures


def test_images_have_the_same_unit_vectors_in_every_format(folder, model, model_directory, tmp_path):
    inputs = [folder / "one.png", folder / "two.png"]
    expected = model.encode_image(inputs)
    for name in ("e.npy", "e.parquet", "e.json"):
        result = embed_files(inputs, str(model_directory), tmp_path / name, normalize=True)
        assert (result["images"], result["embed_dim"], result["unreadable"]) == (2, expected.shape[1], [])
    vectors = np.load(tmp_path / "e.npy")
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=2e-6)
    table = pq.read_table(tmp_path / "e.parquet")
    assert table.column_names == ["uuid", "emb", "path"]
    assert table.schema.metadata[b"fingerprint"].decode() == model.fingerprint
    assert np.array_equal(np.stack(table["emb"].to_numpy()), vectors)
    assert table["path"].to_pylist() == [str(path) for path in inputs]
    assert len({uuid.UUID(text) for text in table["uuid"].to_pylist()}) == 2
    content = json.loads((tmp_path / "e.json").read_text())
    assert content["normalized"] is True and content["fingerprint"] == model.fingerprint
    listed = [content["embeddings"][str(path)] for path in inputs]
    assert np.array_equal(np.array(listed, np.float32), vectors)


def test_an_unreadable_image_is_skipped_or_a_row_of_nan_in_npy(folder, model_directory, tmp_path, capsys):
    for name in ("e.npy", "e.parquet", "e.json"):
        result = embed_files([folder], str(model_directory), tmp_path / name)
        assert len(result["unreadable"]) == 1 and "note.jpg" in result["unreadable"][0]
    assert "note.jpg" in capsys.readouterr().err
    gaps = np.isnan(np.load(tmp_path / "e.npy"))
    assert gaps.all(axis=1).tolist() == gaps.any(axis=1).tolist() == [True, False, False], (
        "row i is not input i"
    )
    inputs = [
        folder / "one.png",
        folder / "note.jpg",
        folder / "two.png",
        folder / "note.jpg",
        folder / "note.jpg",
    ]
    embed_files(inputs, str(model_directory), tmp_path / "e.npy", batch_size=2)
    vectors = np.load(tmp_path / "e.npy")
    assert np.isnan(vectors[:, 0]).tolist() == [False, True, False, True, True]
    rows = json.loads((tmp_path / "e.npy.json").read_text())["rows"]
    assert rows == [str(path) for path in inputs], "the file beside it names other rows"
    assert pq.read_table(tmp_path / "e.parquet").num_rows == 2
    assert len(json.loads((tmp_path / "e.json").read_text())["embeddings"]) == 2


@pytest.mark.shared_data
def test_format_pybioclip_equals_pybioclips_output(photographs, model_directory, tmp_path, capsys):
    model, files = f"local-dir:{model_directory}", [str(path) for path in photographs[:4]]
    environment = {**os.environ, "PYTHONPATH": str(PEERS), "TORCHDYNAMO_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    command = [
        sys.executable,
        "-m",
        "bioclip",
        "embed",
        *files,
        "--model",
        model,
        "--output",
        tmp_path / "theirs.json",
    ]
    theirs = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert theirs.returncode == 0, theirs.stderr
    theirs = (tmp_path / "theirs.json").read_text()
    embed_files(files, model, tmp_path / "ours.json", format="pybioclip")
    ours = (tmp_path / "ours.json").read_text()
    expected, actual = json.loads(theirs), json.loads(ours)
    assert list(actual) == list(expected) and actual["model"] == expected["model"]
    assert list(actual["embeddings"]) == files
    for path in files:
        difference = np.abs(np.subtract(actual["embeddings"][path], expected["embeddings"][path])).max()
        assert difference < 1e-4, f"{path}: pybioclip's vector is {difference} away"
    lengths = np.linalg.norm(list(actual["embeddings"].values()), axis=1)
    assert np.abs(lengths - 1).max() > 0.01, "the vectors are normalized, and pybioclip's are not"
    assert ours == json.dumps(actual, indent=4), "the layout is not pybioclip's"
    embed_files(files[:1], model)
    assert list(json.loads(capsys.readouterr().out)["embeddings"]) == files[:1], (
        "without an output it is standard output"
    )


def test_texts_in_every_format(model, model_directory, tmp_path):
    (tmp_path / "texts.txt").write_text(
        "\ufeffa photo of an apple\n\n  Quercus robur, \u201coak\u201d \n", encoding="utf-8"
    )
    texts = read_texts(tmp_path / "texts.txt")
    assert texts == ["a photo of an apple", "Quercus robur, \u201coak\u201d"]
    for name in ("t.npy", "t.parquet", "t.json"):
        assert embed_files([], str(model_directory), tmp_path / name, texts=texts)["texts"] == 2
    vectors = np.load(tmp_path / "t.npy")
    np.testing.assert_allclose(vectors, model.encode_text(texts), atol=2e-6)
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.column_names == ["uuid", "emb", "text"] and table["text"].to_pylist() == texts
    assert list(json.loads((tmp_path / "t.json").read_text())["embeddings"]) == texts
    assert json.loads((tmp_path / "t.npy.json").read_text())["rows"] == texts


def test_cached_images_are_not_encoded_again(folder, model, model_directory, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    embed_files([folder], str(model_directory), tmp_path / "first.npy", cache=True)
    shutil.copy(folder / "two.png", folder / "copy of two.png")
    Image.new("RGB", (50, 50), (200, 30, 30)).save(folder / "new.png")
    encoded = []
    stream = type(model.embedder).stream_indexed

    def recorded(self, images, *arguments, **options):
        pairs = list(images)
        encoded.extend(image.name for _, image in pairs)
        return stream(self, pairs, *arguments, **options)

    monkeypatch.setattr(type(model.embedder), "stream_indexed", recorded)
    embed_files([folder], str(model_directory), tmp_path / "second.npy", cache=True)
    assert {Path(name).name for name in encoded} == {"new.png", "note.jpg"}
    names = ["copy of two.png", "new.png", "one.png", "two.png"]
    np.testing.assert_allclose(
        np.load(tmp_path / "second.npy")[[0, 1, 3, 4]],
        model.encode_image([folder / n for n in names]),
        atol=2e-6,
    )
    encoded.clear()
    embed_files([folder], str(model_directory), tmp_path / "raw.json", format="pybioclip", cache=True)
    assert len(encoded) == 5, "unit vectors were used for unnormalized ones"


def test_table_columns_are_written_to_parquet(folder, model_directory, tmp_path):
    (folder / "metadata.csv").write_text(
        "filepath,species,sex,mass,code,note\none.png,domestica,m,2.5,007,\nnote.jpg,x,y,1,1,\ntwo.png,robur,f,,010,seen\n"
    )
    for inputs in ([folder], [folder / "metadata.csv"]):
        embed_files(inputs, str(model_directory), tmp_path / "e.parquet")
        table = pq.read_table(tmp_path / "e.parquet")
        rows = table.drop_columns(["uuid", "emb", "path"]).to_pylist()
        assert rows == [
            {"species": "domestica", "sex": "m", "mass": 2.5, "code": "007", "note": ""},
            {"species": "robur", "sex": "f", "mass": None, "code": "010", "note": "seen"},
        ]


def test_tar_columns_come_from_its_captions(folder, tmp_path):
    tar = tmp_path / "shard.tar"
    with tarfile.open(tar, "w") as file:
        for kind, content in [
            ("jpg", (folder / "one.png").read_bytes()),
            ("taxonTag.txt", b"a photo of kingdom Plantae genus Malus species domestica."),
            ("common_name.txt", b"apple"),
            ("json", b'{"elevation": 120, "place": "Kew"}'),
        ]:
            (tmp_path / "member").write_bytes(content)
            file.add(tmp_path / "member", f"{UUID}.{kind}")
        file.add(folder / "two.png", "unlabeled.png")
    images = find_images([tar])
    columns = ImageMetadata([str(tar)], images)
    labeled, unlabeled = columns.take([0, 1]).to_pylist()
    assert labeled["kingdom"] == "Plantae" and labeled["species"] == "domestica"
    assert (labeled["elevation"], labeled["place"]) == (120, "Kew")
    assert not any(unlabeled.values()), "an unlabeled image has labels"
    assert columns.take([1, 0, 1])["place"].to_pylist() == [None, "Kew", None]


@given(
    st.lists(
        st.tuples(st.text(max_size=8), st.integers(-99, 99)),
        min_size=1,
        max_size=12,
        unique_by=lambda row: row[0],
    ),
    st.integers(1, 4),
)
def test_files_do_not_depend_on_batch_sizes(tmp_path_factory, rows, size):
    folder = tmp_path_factory.mktemp("formats")
    vectors = np.array([[value / 3, -value] for _, value in rows], np.float32)
    images = [ImageFile(name, f"/nowhere/{name}") for name, _ in rows]

    def batches():
        for start in range(0, len(images), size):
            yield Batch(images[start : start + size], vectors[start : start + size])

    about = {"model": 'a "model"', "normalized": True}
    for format in ("npy", "json", "pybioclip"):
        write_batches(batches(), format, folder / format, about)
    assert np.array_equal(np.load(folder / "npy"), vectors)
    embeddings = {image.name: row.tolist() for image, row in zip(images, vectors)}
    assert (folder / "json").read_text() == json.dumps({**about, "embeddings": embeddings}) + "\n"
    expected = json.dumps({"model": about["model"], "embeddings": embeddings}, indent=4)
    assert (folder / "pybioclip").read_text() == expected


def test_parquet_row_groups_span_batches(tmp_path):
    batch = Batch([str(number) for number in range(500)], np.zeros((500, 4), np.float32))
    write_batches([batch] * 40, "parquet", tmp_path / "e.parquet", {"model": "m"})
    about = pq.ParquetFile(tmp_path / "e.parquet").metadata
    assert (about.num_rows, about.num_row_groups) == (20_000, 3), (
        "small groups make a large file slow to read"
    )


@pytest.mark.parametrize(
    "arguments, fragment",
    [
        ({"output": "e.txt"}, r"\.npy, \.parquet, \.json"),
        ({"output": "no/e.npy"}, "no/e.npy"),
        ({"format": "npy"}, "--output"),
        ({"format": "xml"}, "xml"),
        ({"output": "e.npy", "texts": ["a"]}, "images and texts"),
        ({"inputs": [], "texts": ["a"]}, "pybioclip"),
        ({"inputs": [], "output": "e.npy"}, "no input"),
    ],
)
def test_invalid_arguments_are_errors_before_the_model_is_loaded(folder, monkeypatch, arguments, fragment):
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=fragment):
        embed_files(**{"inputs": ["one.png"], "model": "no model", **arguments})
    assert sorted(path.name for path in folder.iterdir()) == ["note.jpg", "one.png", "two.png"]


def test_a_file_without_texts_is_an_error(tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("empty.txt", "binary.txt", "missing.txt"):
        with pytest.raises(UserError, match=name):
            read_texts(tmp_path / name)


def test_uuid_comes_from_the_file_name_or_the_path(folder):
    (folder / f"{UUID}.jpg").write_bytes(b"")
    [own], [one], [two] = (find_images([folder / name]) for name in (f"{UUID}.jpg", "one.png", "two.png"))
    assert sample_uuid(own) == UUID
    assert sample_uuid(one) == sample_uuid(one) != sample_uuid(two)


def test_tables_with_conflicting_types_are_an_error(folder, tmp_path):
    for name, value in (("a", [1.5]), ("b", [[1]])):
        pq.write_table(pa.table({"filepath": ["one.png"], "x": value}), tmp_path / f"{name}.parquet")
    images = [ImageFile("one.png", "one.png")]
    with pytest.raises(UserError, match="agree"):
        ImageMetadata([str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")], images)


def columns_of(*inputs):
    paths = expand(inputs)
    images = find_images(paths)
    return ImageMetadata(paths, images).take(range(len(images)))


def test_numeric_identifiers_keep_all_digits(folder):
    long = ["123456789012345678901", "123456789012345678902"]
    (folder / "list.csv").write_text(f"filepath,id,mass\none.png,{long[0]},1e3\ntwo.png,{long[1]},2.5\n")
    actual = columns_of(folder / "list.csv")
    assert actual["id"].to_pylist() == long and actual["mass"].to_pylist() == [1000.0, 2.5]


def test_a_repeated_image_takes_its_next_metadata_row(folder):
    (folder / "list.CSV").write_text("filepath,sex\none.png,m\ntwo.png,f\none.png,x\n")
    actual = columns_of(folder / "list.CSV", folder / "two.png")["sex"].to_pylist()
    assert actual == ["m", "f", "x", "f"]
    assert columns_of(folder / "two.png", f"{folder}/*.CSV")["sex"].to_pylist() == ["f", "m", "f", "x"]


def test_a_folders_table_may_have_file_name_or_no_usable_column(folder, capsys):
    (folder / "metadata.csv").write_text("file_name,sex\none.png,m\ntwo.png,f\n")
    assert columns_of(folder)["sex"].to_pylist() == [None, "m", "f"]
    (folder / "metadata.csv").write_text("picture,sex\none.png,m\n")
    assert columns_of(folder).column_names == []
    message = capsys.readouterr().err
    assert "metadata.csv" in message and message.count("\n") == 1
    with pytest.raises(UserError, match="filepath"):
        columns_of(folder / "metadata.csv")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux")
def test_names_that_are_not_unicode_are_written_to_parquet(folder, model_directory, tmp_path):
    odd = os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")
    shutil.copy(folder / "one.png", odd)
    embed_files([odd], str(model_directory), tmp_path / "e.parquet")
    assert pq.read_table(tmp_path / "e.parquet")["path"].to_pylist() == [f"{folder}/caf?.png"]


def test_analyses_read_raw_and_unit_vectors_alike(folder, model_directory, tmp_path):
    vectors = {}
    for normalize in (True, False):
        embed_files(
            [folder / "one.png", folder / "two.png"],
            str(model_directory),
            tmp_path / "e.parquet",
            normalize=normalize,
        )
        vectors[normalize], _ = read_vector_table(tmp_path / "e.parquet")
    np.testing.assert_allclose(vectors[False], vectors[True], atol=1e-6)


@pytest.mark.parametrize("cache", [True, False])
def test_an_interrupted_run_reports_what_is_kept(
    folder, model_directory, tmp_path, capsys, monkeypatch, cache
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def interrupted(*_, **__):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("bioclip_jax.predict.embed.stream_vectors", interrupted)
    command = ["embed", str(folder), "--model", str(model_directory), "--output", str(tmp_path / "e.npy")]
    assert main([*command, *(["--cache"] if cache else [])]) == 130
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("interrupted: ") and (
        "run the same command again" in message if cache else "--cache" in message
    )
    assert not list(tmp_path.glob("*.npy*"))


def test_a_finished_run_reports_counts_and_output(folder, model_directory, tmp_path, capsys):
    output = tmp_path / "e.npy"
    command = ["embed", str(folder), "--model", str(model_directory), "--output", str(output)]
    assert main(command) == 0
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message == f"embedded 2 images, skipped 1 unreadable: {output}, row names in {output}.json"
    assert main([*command, "--json"]) == 0
    assert "embedded" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["bytes", "number", "text"])
def test_paths_of_a_parquet_table_may_be_bytes_or_numbers(folder, model_directory, tmp_path, kind):
    names = {"bytes": [b"one.png", b"two.png"], "number": [1, 2], "text": ["one.png", "two.png"]}[kind]
    for number, name in enumerate(("one.png", "two.png"), 1):
        (folder / str(number)).write_bytes((folder / name).read_bytes())
    pq.write_table(pa.table({"filepath": names, "sex": ["f", "m"]}), folder / "list.parquet")
    embed_files([folder / "list.parquet"], str(model_directory), tmp_path / "e.parquet")
    table = pq.read_table(tmp_path / "e.parquet")
    expected = ["1", "2"] if kind == "number" else ["one.png", "two.png"]
    assert [os.path.basename(path) for path in table["path"].to_pylist()] == expected
    assert table["sex"].to_pylist() == ["f", "m"]
