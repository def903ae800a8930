"""Resumed predictions: the journal, completion records, and outputs equal to an uninterrupted run's."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.predict.classifiers import BaseClassifier
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.journal import Journal, image_keys
from bioclip_jax.predict.predict import predict_files
from bioclip_jax.predict.results import write_rows

SETTINGS = {"model": "f00d", "k": 2, "labels": ["a", "b"]}
IMAGES = [ImageFile(f"{index}.jpg", f"{index}.jpg") for index in range(10)]
UNREADABLE = {3: "3.jpg cannot be read", 8: "8.jpg cannot be read"}

# Dies by SIGKILL in the middle of a line, once the journal holds `limit` images.
DYING = """
import json, os, signal, sys
from bioclip_jax.predict.journal import Journal
from bioclip_jax.predict.predict import predict_files
folder, model, output, limit = sys.argv[1:]
add, seen = Journal.add, []
def add_and_die(journal, index, rows):
    add(journal, index, rows)
    seen.append(index)
    if len(seen) == int(limit):
        journal._file.write(b'[%d, [{"file_name": "torn' % (index + 1))
        journal._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
Journal.add = add_and_die
predict_files([folder], model, labels="a,b,c", k=2, output=output, resume=True, batch_size=8)
"""


def rows_of(index: int) -> list[dict]:
    return [{"file_name": f"{index}.jpg", "classification": label, "score": index / 7} for label in "ab"]


def run(output: Path, last: int, group_size: int = 2) -> list[int]:
    """Predict the remaining images up to `last`, and stop there like Ctrl-C unless it is the end."""
    remaining: list[int] = []
    with contextlib.suppress(KeyboardInterrupt), Journal.open(output, SETTINGS, IMAGES) as journal:
        remaining = journal.remaining(group_size)
        for index in remaining:
            if index >= last:
                raise KeyboardInterrupt
            # Images are decoded ahead, so a failure is known before the images preceding it are finished.
            if index + 1 in UNREADABLE and index + 1 not in journal.failures:
                journal.add_failure(index + 1, UNREADABLE[index + 1])
            if index not in UNREADABLE:
                journal.add(index, rows_of(index))
        journal.finish()
        readable = [index for index in range(10) if index not in UNREADABLE]
        assert list(journal.predictions()) == [(IMAGES[index], rows_of(index)) for index in readable]
        assert journal.failures == UNREADABLE
    return remaining


@pytest.mark.parametrize("stop", range(1, 10))
def test_a_resumed_run_starts_at_a_group_and_completes(tmp_path: Path, stop: int):
    output = tmp_path / "out.csv"
    run(output, stop)
    assert [path.name for path in tmp_path.iterdir()] == [".out.csv.partial"]
    first, *_ = run(output, 10)
    kept, finished = (
        len([index for index in range(end) if index not in UNREADABLE]) for end in (first, stop)
    )
    assert kept % 2 == 0, "the run resumes in the middle of a group"
    assert 0 <= finished - kept <= 2 * 2, f"{finished} images were finished, but it resumed from {kept}"
    assert list(tmp_path.iterdir()) == [], "the journal is left"


@given(data=st.data())
def test_a_truncated_journal_resumes(data: st.DataObject, tmp_path_factory):
    output = tmp_path_factory.mktemp("cut") / "out.csv"
    run(output, data.draw(st.integers(1, 9)))
    journal = output.with_name(".out.csv.partial")
    content = journal.read_bytes()
    journal.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    run(output, 10)


def test_other_settings_are_refused_with_their_differences(tmp_path: Path):
    output = tmp_path / "out.csv"
    run(output, 5)
    before = (tmp_path / ".out.csv.partial").read_bytes()
    other = SETTINGS | {"k": 3, "labels": ["a", "c"] * 50}
    with pytest.raises(UserError) as error, Journal.open(output, other, IMAGES):
        pytest.fail("the block must not run")
    message = str(error.value)
    for part in ("out.csv", "k was 2 and is 3", "the labels differ", ".out.csv.partial"):
        assert part in message, message
    assert "\n" not in message and (tmp_path / ".out.csv.partial").read_bytes() == before


def test_two_processes_cannot_open_a_journal(tmp_path: Path):
    with (
        Journal.open(tmp_path / "out.csv", SETTINGS, IMAGES),
        pytest.raises(UserError, match="another process"),
        Journal.open(tmp_path / "out.csv", SETTINGS, IMAGES),
    ):
        pytest.fail("the block must not run")


def test_a_run_without_a_prediction_leaves_no_journal(tmp_path: Path):
    with (
        contextlib.suppress(KeyboardInterrupt),
        Journal.open(tmp_path / "out.csv", SETTINGS, IMAGES) as journal,
    ):
        journal.add_failure(3, UNREADABLE[3])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_image_named_twice_is_predicted_twice(model_directory: Path, tmp_path: Path):
    image, page = str(tmp_path / "a.png"), tmp_path / "page.html"
    Image.new("RGB", (32, 40), "red").save(image)
    for resume in (False, True):
        output = tmp_path / f"{resume}.csv"
        options = {"labels": "a,b,c", "batch_size": 8, "output": output, "report": page, "resume": resume}
        predict_files([image, image], str(model_directory), **options)
        assert output.read_text().count(image) == 2 * 3
        data = page.read_text().split('id="data">')[1].split("</script>")[0]
        assert [len(predictions) for _, predictions, *_ in json.loads(data)["cards"]] == [3, 3], (
            "the two are one card"
        )


def test_keys_depend_on_name_location_and_file_state(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(b"one")
    path = str(tmp_path / "a.jpg")
    images = [ImageFile("a", path), ImageFile("b", path, 512, 3)]
    keys = image_keys(images)
    assert len(set(keys.tolist())) == 2 and image_keys(images[::-1]).tolist() == keys[::-1].tolist()
    (tmp_path / "a.jpg").write_bytes(b"other")
    assert not set(image_keys(images).tolist()) & set(keys.tolist()), "a changed file keeps its key"


def test_added_and_removed_images_leave_the_others_finished(tmp_path: Path, capsys):
    output = tmp_path / "out.csv"
    run(output, 7)
    capsys.readouterr()
    changed = [*IMAGES[2:9], ImageFile("new.jpg", "new.jpg"), IMAGES[0]]
    done = {image.name for index, image in enumerate(IMAGES[:7]) if index not in UNREADABLE}
    with Journal.open(output, SETTINGS, changed) as journal:
        remaining = [changed[index].name for index in journal.remaining(2)]
        assert remaining == [
            image.name for image in changed if image.name not in done and image.name != "3.jpg"
        ]
        for index in journal.remaining(2):
            journal.add(index, rows_of(99))
        rows = {image.name: rows for image, rows in journal.predictions()}
    assert rows["0.jpg"] == rows_of(0) and rows["6.jpg"] == rows_of(6) and rows["new.jpg"] == rows_of(99)
    assert "1.jpg" not in rows, "a removed image still has a prediction"
    assert list(rows) == [image.name for image in changed if image.name != "3.jpg"], (
        "predictions are not in image order"
    )
    assert "not the 10 of the interrupted run" in capsys.readouterr().err


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    for name, color in (("a", "red"), ("b", "blue"), ("c", "green")):
        Image.new("RGB", (32, 40), color).save(folder / f"{name}.png")
    return folder


def test_a_finished_output_is_kept_from_other_options_and_not_predicted_again(
    album: Path, model_directory: Path, tmp_path: Path, capsys, monkeypatch
):
    output = tmp_path / "out.csv"
    command = ["predict", str(album), "--model", str(model_directory), "--output", str(output)]
    command += ["--resume", "--cls"]
    assert main([*command, "x,y,z"]) == 0
    assert f"predicted 3 images: {output}" in capsys.readouterr().err
    before = output.read_bytes()
    options = (["--k", "1"], ["--unknown", "0.5"], ["--format", "table"], ["--exif", "ignore"])
    refused = ([*command, "x,y"], *([*command, "x,y,z", *more] for more in options))
    for arguments in refused:
        assert main(arguments) == 2
        message = capsys.readouterr().err
        assert str(output) in message and "other options" in message and "--resume" in message, message
        assert output.read_bytes() == before, "the refused run has written"
    with monkeypatch.context() as patch:
        patch.setattr(BaseClassifier, "stream_with_vectors", lambda *_: pytest.fail("it was predicted again"))
        assert main([*command, "x,y,z"]) == 0
    assert "finished already" in capsys.readouterr().err and output.read_bytes() == before
    # More images keep the settings, and without --resume the settings may change.
    Image.new("RGB", (32, 40), "white").save(album / "d.png")
    assert main([*command, "x,y,z"]) == 0
    assert output.read_text().count("d.png") == 3
    assert main([part for part in [*command, "x,y"] if part != "--resume"]) == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [], (
        "a stale record is left"
    )
    assert main([*command, "x,y"]) == 2 and "exists already" in capsys.readouterr().err


def test_edited_table_columns_are_written_again(album: Path, model_directory: Path, tmp_path: Path, capsys):
    output, table = tmp_path / "out.csv", album / "list.csv"
    command = ["predict", str(table), "--model", str(model_directory), "--output", str(output)]
    command += ["--resume", "--cls", "x,y"]
    for note in ("old", "new"):
        table.write_text(f"filepath,note\na.png,{note}\n")
        assert main(command) == 0
        assert note in output.read_text(), f"{note} is missing: {capsys.readouterr().err}"


def test_an_edited_output_is_not_replaced(album: Path, model_directory: Path, tmp_path: Path, capsys):
    output = tmp_path / "out.csv"
    command = ["predict", str(album), "--model", str(model_directory), "--output", str(output)]
    command += ["--resume", "--cls", "x,y"]
    assert main(command) == 0
    output.write_text(output.read_text() + "my own note\n")
    assert main(command) == 2 and "was changed" in capsys.readouterr().err
    assert "my own note" in output.read_text()


@pytest.mark.parametrize("resume", [True, False])
def test_an_interrupted_run_reports_what_is_kept(
    album: Path, model_directory: Path, tmp_path: Path, capsys, monkeypatch, resume
):
    stream = BaseClassifier.stream_with_vectors

    def interrupted(classifier, *arguments):
        yield next(stream(classifier, *arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(BaseClassifier, "stream_with_vectors", interrupted)
    output = tmp_path / "out.csv"
    command = ["predict", str(album), "--model", str(model_directory), "--output", str(output)]
    command += ["--cls", "x,y"]
    assert main([*command, *(["--resume"] if resume else [])]) == 130
    message = capsys.readouterr().err.strip().splitlines()[-1]
    if resume:
        assert (
            message.startswith("interrupted: 1 of 3 images are kept")
            and "run the same command again" in message
        )
    else:
        assert message.startswith("interrupted: nothing is kept") and "--resume" in message
    assert not output.exists()


def test_a_killed_run_resumes_to_identical_bytes(
    model_directory: Path, tmp_path: Path, tmp_path_factory, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(45):
        Image.fromarray(random.integers(0, 256, (32, 40, 3), np.uint8)).save(folder / f"{index:02}.png")
    (folder / "05.png").write_text("no picture")
    (folder / "44.png").write_text("no picture")
    output = tmp_path / "out.csv"
    command = [sys.executable, "-c", DYING, str(folder), str(model_directory), str(output), "35"]
    died = subprocess.run(command, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.csv.partial", "images"]
    shutil.copy(tmp_path / ".out.csv.partial", tmp_path / ".out.parquet.partial")
    finished = len(
        [line for line in (tmp_path / ".out.csv.partial").read_bytes().splitlines() if b"torn" not in line]
    )
    assert finished >= 35

    options = {"labels": "a,b,c", "k": 2, "batch_size": 8}
    uninterrupted = predict_files([folder], str(model_directory), as_result=True, **options)
    assert len(uninterrupted["predictions"]) == 2 * 43
    for suffix in ("csv", "parquet"):
        whole, resumed = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
        result = predict_files([folder], str(model_directory), output=resumed, resume=True, **options)
        assert result["unreadable"] == uninterrupted["unreadable"] and len(result["unreadable"]) == 2
        write_rows(uninterrupted["predictions"], suffix, whole)
        assert resumed.read_bytes() == whole.read_bytes(), f"the {suffix} of the resumed run differs"
    assert not list(tmp_path.glob(".*.partial")), "a journal is left"


def test_a_file_system_without_locks_works_with_a_note(no_flock, model_directory, tmp_path, capsys):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "a.png")
    predict_files(
        [tmp_path / "a.png"], str(model_directory), labels="a,b", output=tmp_path / "out.csv", resume=True
    )
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3
    assert f"note: the file system of {tmp_path} has no file locks" in capsys.readouterr().err
