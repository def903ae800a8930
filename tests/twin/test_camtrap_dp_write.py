"""Writing Camtrap DP: lossless, atomic, with the files that belong to it."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from one_row_package import change, make

from bioclip_jax.errors import UserError
from bioclip_jax.twin.observe.camtrap_dp import FIELDS, find_problems, read_package, write_package


def assert_equal(left, right):
    for table in FIELDS:
        assert left.tables[table].equals(right.tables[table]), table


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.shared_data
def test_the_example_is_rewritten_without_loss(shared_data, tmp_path):
    example = shared_data / "twin" / "camtrap_dp"
    package = read_package(example)
    write_package(package, tmp_path / "out")
    again = read_package(tmp_path / "out")
    assert_equal(package, again)
    assert again.descriptor == package.descriptor
    photographs = [f"media/{path.name}" for path in (example / "media").iterdir()]
    tables = [f"{table}.csv" for table in FIELDS]
    assert names(tmp_path / "out") == sorted(["datapackage.json", *photographs, *tables])
    for name in photographs:
        assert (tmp_path / "out" / name).read_bytes() == (example / name).read_bytes()


_TEXT = st.text(max_size=6) | st.text(st.sampled_from(' ab",;\t\n\r\\#|\ufeff\x00é'), max_size=6)
_CELL = _TEXT | st.sampled_from(["", "NA", "NaN", "nan", "null", "1e5", "00", '"', '""', " ", "=1+1"])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(_CELL, _CELL, _CELL, _CELL), max_size=4),
    column=_TEXT.filter(
        lambda name: name.strip("\ufeff\x00") and name not in {f.name for f in FIELDS["media"]}
    ),
)
def test_any_cells_survive(package, rows, column):
    """Quotation marks, line breaks, any Unicode, blanks, and an unknown column of any name."""
    columns = ["mediaID", "fileName", "mediaComments", column]
    media = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    others = [name for name in package.media.columns if name not in columns]
    media = media.with_columns(pl.lit("").alias(name) for name in others).select(
        *package.media.columns, column
    )
    changed = dataclasses.replace(package, media=media)
    with tempfile.TemporaryDirectory() as folder:
        write_package(changed, Path(folder, "out"))
        assert_equal(read_package(Path(folder, "out")), changed)


@pytest.fixture
def package(tmp_path):
    """A package with an inline resource, a resource of two files, a photograph and unlisted files."""
    folder = make(tmp_path / "package", "1.0.1")

    def edit(descriptor):
        descriptor["resources"] += [
            {"name": "individuals", "data": [{"id": 1, "name": "Reinaert"}]},
            {"name": "maps", "path": ["maps/a.txt", "b.txt", "https://example.org/c.txt"]},
        ]
        descriptor["unknown"] = {"kept": [1.5, None]}

    change(folder, edit)
    for name in ("maps/a.txt", "b.txt", "media/a.jpg", "reliability.json", ".hidden", "private/diary.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    return read_package(folder)


CARRIED = ["b.txt", "maps/a.txt", "media/a.jpg", "reliability.json"]
WRITTEN = sorted(["datapackage.json", "deployments.csv", "media.csv", "observations.csv", *CARRIED])


def test_resources_media_and_files_beside_the_tables_are_carried(package, tmp_path):
    out = tmp_path / "out"
    write_package(package, out, files={"probabilities.parquet": package.folder / "b.txt"})
    assert names(out) == sorted([*WRITTEN, "probabilities.parquet"])
    assert [(out / name).read_text() for name in CARRIED] == CARRIED
    assert (out / "probabilities.parquet").read_text() == "b.txt"
    again = read_package(out)
    assert again.descriptor["resources"][3:] == package.descriptor["resources"][3:]
    assert again.descriptor["unknown"] == {"kept": [1.5, None]}
    assert "1.0.1" in again.descriptor["profile"]


def test_files_are_copied_where_links_are_impossible(package, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_package(package, tmp_path / "out")
    assert names(tmp_path / "out") == WRITTEN
    assert (tmp_path / "out" / "media" / "a.jpg").stat().st_nlink == 1


def test_links_in_a_folder_of_photographs_are_followed(package, tmp_path):
    (tmp_path / "card.jpg").write_text("photograph")
    (package.folder / "media" / "a.jpg").unlink()
    (package.folder / "media" / "a.jpg").symlink_to(tmp_path / "card.jpg")
    write_package(package, tmp_path / "out")
    assert not (tmp_path / "out" / "media" / "a.jpg").is_symlink()
    assert (tmp_path / "out" / "media" / "a.jpg").read_text() == "photograph"


def test_a_link_to_the_photographs_stays_a_link(package, tmp_path):
    shutil.move(package.folder / "media", tmp_path / "photographs")
    (package.folder / "media").symlink_to(Path("..", "photographs"), target_is_directory=True)
    before = names(tmp_path / "photographs")
    (tmp_path / "deep").mkdir()
    for folder in (tmp_path / "deep" / "out", package.folder):
        write_package(package, folder, overwrite=True)
        assert (folder / "media").is_symlink()
        assert (folder / "media" / "a.jpg").read_text() == "media/a.jpg"
        check = find_problems(read_package(folder), media_files=True)
        assert check.filter(pl.col("table") == "media").is_empty()
    # Replacing a package does not touch what its links point at.
    new = dataclasses.replace(package, folder=None, descriptor=plain(package))
    for name in set(CARRIED) - {"media/a.jpg"}:
        (tmp_path / "deep" / "out" / name).unlink()
    write_package(new, tmp_path / "deep" / "out", overwrite=True)
    assert names(tmp_path / "photographs") == before


def plain(package):
    """The descriptor without further resources."""
    return package.descriptor | {"resources": package.descriptor["resources"][:3]}


def test_missing_files_leave_nothing(package, tmp_path):
    with pytest.raises(UserError, match="out cannot be written"):
        write_package(package, tmp_path / "out", files={"probabilities.parquet": tmp_path / "none"})
    (package.folder / "b.txt").unlink()
    with pytest.raises(UserError, match="b.txt, a file of the package's resources, does not exist"):
        write_package(package, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["package"]


def test_a_new_package_takes_media_from_a_folder_of_photographs(package, tmp_path):
    photographs = tmp_path / "photographs"
    (photographs / "media").mkdir(parents=True)
    for name in ("media/a.jpg", "unlisted.jpg"):
        (photographs / name).write_text(name)
    new = dataclasses.replace(package, descriptor=plain(package), folder=photographs)
    write_package(new, tmp_path / "out")
    assert names(tmp_path / "out") == [name for name in WRITTEN if name.endswith((".csv", "e.json", ".jpg"))]
    write_package(dataclasses.replace(new, folder=None), tmp_path / "alone")
    assert "media/a.jpg" not in names(tmp_path / "alone")


def test_overwriting_never_loses_a_file(package, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    write_package(package, out)
    with pytest.raises(UserError, match="already has a package; name another folder, or overwrite it"):
        write_package(package, out)
    (out / "notes.txt").write_text("mine")
    before = names(out)
    with pytest.raises(UserError, match=r"has files that the new package lacks \(notes.txt\); move"):
        write_package(package, out, overwrite=True)
    assert names(out) == before
    (out / "notes.txt").unlink()
    emptied = dataclasses.replace(package, observations=package.observations.clear())
    write_package(emptied, out, overwrite=True)
    assert read_package(out).observations.height == 0 and names(out) == WRITTEN

    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="has files and is not a Camtrap DP; name a new or empty folder"):
            write_package(package, other, overwrite=overwrite)
    assert names(other) == ["thesis.txt"]
    with pytest.raises(UserError, match="is a file; name a folder"):
        write_package(package, other / "thesis.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out", "package"]


def test_a_package_is_rewritten_in_its_place_with_everything_in_it(package):
    before = names(package.folder)
    changed = dataclasses.replace(package, media=package.media.with_columns(extra=pl.lit("x")))
    write_package(changed, package.folder, overwrite=True)
    assert names(package.folder) == before
    assert_equal(read_package(package.folder), changed)


@pytest.mark.parametrize(
    "path", ["../a.jpg", "absolute", "maps/../../a.jpg", "..\\a.jpg", "C:\\a.jpg", "~/a.jpg"]
)
def test_media_outside_the_package_are_never_followed(package, tmp_path, path):
    (tmp_path / "a.jpg").write_text("secret")
    path = str(tmp_path / "a.jpg") if path == "absolute" else path
    hostile = dataclasses.replace(package, media=package.media.with_columns(filePath=pl.lit(path)))
    write_package(hostile, tmp_path / "out")
    assert_equal(read_package(tmp_path / "out"), hostile)
    assert names(tmp_path / "out") == [name for name in WRITTEN if name != "media/a.jpg"]
    problems = find_problems(hostile).filter(pl.col("table") == "media")
    is_backslash = "\\" in path  # which the standard's pattern allows
    assert problems["column"].to_list() == ([] if is_backslash and ".." not in path else ["filePath"])


_KILLED = """
import os, signal, sys
from bioclip_jax.twin.observe.camtrap_dp import read_package, write_package
original, count = getattr(os, sys.argv[3]), 0
def kill(*arguments, **options):
    global count
    count += 1
    if count == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **options)
setattr(os, sys.argv[3], kill)
write_package(read_package(sys.argv[1]), sys.argv[2], overwrite=True)
"""


@pytest.mark.parametrize(("call", "count"), [("fsync", 2), ("link", 3), ("rename", 1), ("rename", 2)])
def test_a_killed_write_leaves_the_old_package_or_none(package, tmp_path, call, count):
    """Killed while writing tables, while linking files, before and between the two renames."""
    out = tmp_path / "out"
    old = dataclasses.replace(package, observations=package.observations.clear())
    write_package(old, out)
    command = [sys.executable, "-c", _KILLED, str(package.folder), str(out), call, str(count)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    if out.exists():
        assert_equal(read_package(out), old)
    else:
        out.mkdir()  # as a user may who finds no package
    # A write that fails still cleans up, and restores what was moved aside.
    with pytest.raises(UserError, match="already has a package"):
        write_package(package, out)
    assert_equal(read_package(out), old)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "package"]
    assert json.loads((out / "datapackage.json").read_text())["unknown"] == {"kept": [1.5, None]}
