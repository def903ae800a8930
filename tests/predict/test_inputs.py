"""INPUTS: files, folders, globs, tables and tars, and messages for invalid ones."""

import io
import os
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bioclip_jax.errors import UserError
from bioclip_jax.predict.input_paths import expand
from bioclip_jax.predict.inputs import find_images


def jpeg(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """b.jpg, a/c.PNG, notes.txt, .hidden.jpg, shard.tar with two images and a caption, list.csv."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b.jpg").write_bytes(jpeg(1))
    (tmp_path / "a" / "c.PNG").write_bytes(jpeg(2))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.jpg").write_bytes(jpeg(3))
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for name, content in (("k1.jpg", jpeg(4)), ("k1.sci.txt", b"Malus"), ("../k2.jpg", jpeg(5))):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    (tmp_path / "list.csv").write_text(
        f"\ufefffilepath,species\na/c.PNG,x\n{tmp_path}/b.jpg,y\n", encoding="utf-8"
    )
    return tmp_path


def names(images, folder):
    return [os.path.relpath(image.name, folder) for image in images]


def test_folder_yields_visible_images_in_order(folder):
    listed = names(find_images([folder]), folder)
    assert listed == ["a/c.PNG", "b.jpg", "shard.tar/k1.jpg", "k2.jpg"]  # relpath folds shard.tar/../k2.jpg


def test_inputs_keep_their_order(folder):
    (folder / "notes.txt").write_bytes(jpeg())
    listed = find_images([folder / "notes.txt", str(folder / "*.jpg"), folder / "list.csv"])
    assert names(listed, folder) == ["notes.txt", "b.jpg", "a/c.PNG", "b.jpg"]


def test_parquet_lists_files_like_csv(folder):
    columns = {"emb": [[0.0], [1.0], [2.0]], "filepath": ["a/c.PNG", None, str(folder / "b.jpg")]}
    pq.write_table(pa.table(columns), folder / "list.parquet")
    assert names(find_images([folder / "list.parquet"]), folder) == ["a/c.PNG", "b.jpg"]


def test_recursive_glob_descends_into_folders(folder):
    assert names(find_images([f"{folder}/**/*.PNG"]), folder) == ["a/c.PNG"]


def test_tar_members_are_read_without_unpacking(folder):
    images = find_images([folder / "shard.tar"])
    assert [image.read() for image in images] == [jpeg(4), jpeg(5)]
    assert images[0].name == f"{folder}/shard.tar/k1.jpg"


def test_a_file_name_with_brackets_is_not_a_glob(folder):
    (folder / "x[1].jpg").write_bytes(jpeg())
    assert names(find_images([folder / "x[1].jpg"]), folder) == ["x[1].jpg"]


def make_wrong(folder, kind):
    if kind == "missing":
        return folder / "nothing.jpg"
    if kind == "empty folder":
        (folder / "empty").mkdir()
        return folder / "empty"
    if kind == "glob without a match":
        return folder / "*.webp"
    if kind == "CSV without a filepath column":
        (folder / "wrong.csv").write_text("path\nb.jpg\n")
        return folder / "wrong.csv"
    if kind == "CSV without a row":
        (folder / "wrong.csv").write_text("filepath\n")
        return folder / "wrong.csv"
    if kind == "CSV that is not text":
        (folder / "wrong.csv").write_bytes(jpeg())
        return folder / "wrong.csv"
    if kind == "Parquet without a filepath column":
        pq.write_table(pa.table({"path": ["b.jpg"]}), folder / "wrong.parquet")
        return folder / "wrong.parquet"
    if kind == "Parquet that is none":
        (folder / "wrong.parquet").write_text("filepath")
        return folder / "wrong.parquet"
    if kind == "tar that is cut off":
        whole = (folder / "shard.tar").read_bytes()
        (folder / "cut.tar").write_bytes(whole[:700])
        return folder / "cut.tar"
    (folder / "text.tar").write_text("not a tar " * 100)
    return folder / "text.tar"


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "empty folder",
        "glob without a match",
        "CSV without a filepath column",
        "CSV without a row",
        "CSV that is not text",
        "Parquet without a filepath column",
        "Parquet that is none",
        "tar that is cut off",
        "tar that is none",
    ],
)
def test_an_invalid_input_is_one_line(folder, kind):
    wrong = make_wrong(folder, kind)
    # Of many folders and tars, a bad one is reported (test_many_inputs.py).
    others = [] if kind == "empty folder" or kind.startswith("tar") else [folder / "b.jpg"]
    with pytest.raises(UserError) as caught:
        find_images([*others, wrong])
    assert str(wrong) in str(caught.value), f"the message for a {kind} does not name it: {caught.value}"
    assert "\n" not in str(caught.value)


def test_a_tar_without_images_in_a_folder_is_skipped_with_a_report(folder, capsys):
    with tarfile.open(folder / "a" / "texts.tar", "w") as tar:
        tar.add(folder / "notes.txt", "notes.txt")
    assert names(find_images([folder]), folder) == ["a/c.PNG", "b.jpg", "shard.tar/k1.jpg", "k2.jpg"]
    message = capsys.readouterr().err
    assert "texts.tar" in message and message.count("skipped: ") == 1
    with pytest.raises(UserError, match=r"texts\.tar holds no image"):
        find_images([folder / "a" / "texts.tar"])


def test_circular_links_terminate(folder):
    (folder / "a" / "back").symlink_to(folder)
    (folder / "again").symlink_to(folder / "a")
    listed = names(find_images([folder]), folder)
    assert listed == ["a/c.PNG", "again/c.PNG", "b.jpg", "shard.tar/k1.jpg", "k2.jpg"]


def test_expand_is_idempotent(folder):
    paths = expand([folder, str(folder / "*.jpg")])
    assert paths == [str(folder), str(folder / "b.jpg")] == expand(paths)


def test_no_input_is_an_error():
    with pytest.raises(UserError, match="no input"):
        find_images([])


@pytest.mark.parametrize("item", ["", " "])
def test_a_blank_input_is_quoted_in_the_message(item):
    # A shell passes one for an unset variable.
    with pytest.raises(UserError, match=f"^an input is '{item}', which is not a path"):
        find_images([item])
