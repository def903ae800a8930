"""Predictions that go on where they were stopped, and files that are those of an undisturbed run to the byte."""

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
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.predict import predict_files
from bioclip_jax.predict.question import Question
from bioclip_jax.predict.results import write_rows
from bioclip_jax.predict.resume import Journal, by_image, image_keys, mentions

QUESTION = {"model": "f00d", "k": 2, "labels": ["a", "b"]}
IMAGES = [ImageFile(f"{place}.jpg", f"{place}.jpg") for place in range(10)]
BAD = {3: "3.jpg cannot be read", 8: "8.jpg cannot be read"}

# Dies by SIGKILL in the middle of a line, after so many images are in the journal.
DYING = """
import json, os, signal, sys
from bioclip_jax.predict.predict import predict
from bioclip_jax.predict.question import Question
from bioclip_jax.predict.results import write_rows
from bioclip_jax.predict.resume import Journal
folder, model, output, lives = sys.argv[1:]
add, seen = Journal.add, []
def add_and_die(journal, place, rows):
    add(journal, place, rows)
    seen.append(place)
    if len(seen) == int(lives):
        journal._file.write(b'[%d, [{"file_name": "torn' % (place + 1))
        journal._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
Journal.add = add_and_die
predict([folder], model, labels="a,b,c", k=2, output=output, resume=True, batch_size=8)
"""


def rows_of(place: int) -> list[dict]:
    return [{"file_name": f"{place}.jpg", "classification": label, "score": place / 7} for label in "ab"]


def run(output: Path, last: int, together: int = 2) -> list[int]:
    """Goes on with the images up to `last`, and stops there like Ctrl-C where that is not the end."""
    rest: list[int] = []
    with contextlib.suppress(KeyboardInterrupt), Journal.open(output, QUESTION, IMAGES) as journal:
        rest = journal.rest(together)
        for place in rest:
            if place >= last:
                raise KeyboardInterrupt
            # What cannot be read is known before the images ahead of it are done.
            if place + 1 in BAD and place + 1 not in journal.bad:
                journal.add_bad(place + 1, BAD[place + 1])
            if place not in BAD:
                journal.add(place, rows_of(place))
        journal.finish()
        found = list(journal.answers())
        assert [image for image, _ in found] == [
            image for place, image in enumerate(IMAGES) if place not in BAD
        ]
        assert [rows for _, rows in found] == [rows_of(place) for place in range(10) if place not in BAD]
        assert journal.bad == BAD
    return rest


@pytest.mark.parametrize("stop", range(1, 10))
def test_it_goes_on_at_a_piece_and_ends_with_every_answer(tmp_path: Path, stop: int):
    output = tmp_path / "out.csv"
    run(output, stop)
    assert [path.name for path in tmp_path.iterdir()] == [".out.csv.partial"]
    first, *_ = run(output, 10)
    kept, finished = (len([place for place in range(end) if place not in BAD]) for end in (first, stop))
    assert kept % 2 == 0, "the rest begins in the middle of what was answered together"
    assert 0 <= finished - kept <= 2 * 2, f"{finished} images were done, and it went on from {kept}"
    assert list(tmp_path.iterdir()) == [], "the journal is left"


@given(data=st.data())
def test_a_journal_that_was_cut_anywhere_goes_on(data: st.DataObject, tmp_path_factory):
    output = tmp_path_factory.mktemp("cut") / "out.csv"
    run(output, data.draw(st.integers(1, 9)))
    journal = output.with_name(".out.csv.partial")
    content = journal.read_bytes()
    journal.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    run(output, 10)


def test_another_question_is_told_with_what_differs(tmp_path: Path):
    output = tmp_path / "out.csv"
    run(output, 5)
    before = (tmp_path / ".out.csv.partial").read_bytes()
    other = QUESTION | {"k": 3, "labels": ["a", "c"] * 50}
    with pytest.raises(UserError) as told, Journal.open(output, other, IMAGES):
        pytest.fail("the block must not run")
    message = str(told.value)
    for part in ("out.csv", "k was 2 and is 3", "the labels are others", ".out.csv.partial"):
        assert part in message, message
    assert "\n" not in message and (tmp_path / ".out.csv.partial").read_bytes() == before


def test_two_processes_do_not_share_a_journal(tmp_path: Path):
    with (
        Journal.open(tmp_path / "out.csv", QUESTION, IMAGES),
        pytest.raises(UserError, match="another process"),
        Journal.open(tmp_path / "out.csv", QUESTION, IMAGES),
    ):
        pytest.fail("the block must not run")


def test_a_run_without_an_answer_leaves_nothing(tmp_path: Path):
    with (
        contextlib.suppress(KeyboardInterrupt),
        Journal.open(tmp_path / "out.csv", QUESTION, IMAGES) as journal,
    ):
        journal.add_bad(3, BAD[3])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3))))
def test_rows_find_their_images(told: list[tuple[str, int]]):
    images = [ImageFile(name, name) for name, _ in told]
    asked = list(mentions(images))
    assert asked == images
    rows = [{"file_name": image.name, "n": n} for image, (_, count) in zip(asked, told) for n in range(count)]
    found = dict(by_image(rows, images))
    assert list(found) == [place for place, (_, count) in enumerate(told) if count]
    for place, part in found.items():
        name, count = told[place]
        assert part == [{"file_name": name, "n": n} for n in range(count)]


def test_an_image_that_is_named_twice_in_a_row_is_two(model_directory: Path, tmp_path: Path):
    image, page = str(tmp_path / "a.png"), tmp_path / "page.html"
    Image.new("RGB", (32, 40), "red").save(image)
    for resume in (False, True):
        output = tmp_path / f"{resume}.csv"
        options = {"labels": "a,b,c", "batch_size": 8, "output": output, "report": page, "resume": resume}
        predict_files([image, image], str(model_directory), **options)
        assert output.read_text().count(image) == 2 * 3
        data = page.read_text().split('id="data">')[1].split("</script>")[0]
        assert [len(answers) for _, answers, _ in json.loads(data)["cards"]] == [3, 3], "the two are one card"


def test_keys_follow_names_and_files(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(b"one")
    path = str(tmp_path / "a.jpg")
    images = [ImageFile("a", path), ImageFile("b", path, 512, 3)]
    keys = image_keys(images)
    assert len(set(keys.tolist())) == 2 and image_keys(images[::-1]).tolist() == keys[::-1].tolist()
    (tmp_path / "a.jpg").write_bytes(b"other")
    assert not set(image_keys(images).tolist()) & set(keys.tolist()), (
        "a file that was changed is taken for the old one"
    )


def test_images_added_and_removed_leave_the_others_finished(tmp_path: Path, capsys):
    output = tmp_path / "out.csv"
    run(output, 7)
    capsys.readouterr()
    changed = [*IMAGES[2:9], ImageFile("new.jpg", "new.jpg"), IMAGES[0]]
    done = {image.name for place, image in enumerate(IMAGES[:7]) if place not in BAD}
    with Journal.open(output, QUESTION, changed) as journal:
        left = [changed[place].name for place in journal.rest(2)]
        assert left == [image.name for image in changed if image.name not in done and image.name != "3.jpg"]
        for place in journal.rest(2):
            journal.add(place, rows_of(99))
        found = {image.name: rows for image, rows in journal.answers()}
    assert found["0.jpg"] == rows_of(0) and found["6.jpg"] == rows_of(6) and found["new.jpg"] == rows_of(99)
    assert "1.jpg" not in found, "an image that is gone still has an answer"
    assert list(found) == [image.name for image in changed if image.name != "3.jpg"], (
        "the order is not the images'"
    )
    assert "not the 10 of the interrupted run" in capsys.readouterr().err


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    for name, color in (("a", "red"), ("b", "blue"), ("c", "green")):
        Image.new("RGB", (32, 40), color).save(folder / f"{name}.png")
    return folder


def test_a_finished_output_is_neither_replaced_by_other_options_nor_made_again(
    album: Path, model_directory: Path, tmp_path: Path, capsys, monkeypatch
):
    output = tmp_path / "out.csv"
    command = [
        "predict",
        str(album),
        "--model",
        str(model_directory),
        "--output",
        str(output),
        "--resume",
        "--cls",
    ]
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
        patch.setattr(Question, "rows", lambda *_: pytest.fail("what is finished was predicted again"))
        assert main([*command, "x,y,z"]) == 0
    assert "finished already" in capsys.readouterr().err and output.read_bytes() == before
    # More images are the same question, and without --resume another one may be asked.
    Image.new("RGB", (32, 40), "white").save(album / "d.png")
    assert main([*command, "x,y,z"]) == 0
    assert output.read_text().count("d.png") == 3
    assert main([part for part in [*command, "x,y"] if part != "--resume"]) == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [], (
        "a stale record is left"
    )
    assert main([*command, "x,y"]) == 2 and "there already" in capsys.readouterr().err


def test_a_table_whose_columns_were_edited_is_written_anew(
    album: Path, model_directory: Path, tmp_path: Path, capsys
):
    output, table = tmp_path / "out.csv", album / "list.csv"
    command = [
        "predict",
        str(table),
        "--model",
        str(model_directory),
        "--output",
        str(output),
        "--resume",
        "--cls",
        "x,y",
    ]
    for note in ("old", "new"):
        table.write_text(f"filepath,note\na.png,{note}\n")
        assert main(command) == 0
        assert note in output.read_text(), f"{note} is not there: {capsys.readouterr().err}"


def test_an_output_that_was_edited_is_not_replaced(
    album: Path, model_directory: Path, tmp_path: Path, capsys
):
    output = tmp_path / "out.csv"
    command = [
        "predict",
        str(album),
        "--model",
        str(model_directory),
        "--output",
        str(output),
        "--resume",
        "--cls",
        "x,y",
    ]
    assert main(command) == 0
    output.write_text(output.read_text() + "my own note\n")
    assert main(command) == 2 and "was changed" in capsys.readouterr().err
    assert "my own note" in output.read_text()


@pytest.mark.parametrize("resume", [True, False])
def test_an_interrupted_run_says_what_is_kept(
    album: Path, model_directory: Path, tmp_path: Path, capsys, monkeypatch, resume
):
    rows = Question.rows

    def interrupted(question, *rest):
        found = rows(question, *rest)
        yield next(found)
        yield next(found)
        # The first image is done with the first row of the second.
        yield next(found)
        raise KeyboardInterrupt

    monkeypatch.setattr(Question, "rows", interrupted)
    output = tmp_path / "out.csv"
    command = [
        "predict",
        str(album),
        "--model",
        str(model_directory),
        "--output",
        str(output),
        "--cls",
        "x,y",
    ]
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


def test_a_killed_run_goes_on_to_the_same_bytes(
    model_directory: Path, tmp_path: Path, tmp_path_factory, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for place in range(45):
        Image.fromarray(random.integers(0, 256, (32, 40, 3), np.uint8)).save(folder / f"{place:02}.png")
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
    undisturbed = predict_files([folder], str(model_directory), as_result=True, **options)
    assert len(undisturbed["predictions"]) == 2 * 43
    for suffix in ("csv", "parquet"):
        whole, resumed = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
        result = predict_files([folder], str(model_directory), output=resumed, resume=True, **options)
        assert result["unreadable"] == undisturbed["unreadable"] and len(result["unreadable"]) == 2
        write_rows(undisturbed["predictions"], suffix, whole)
        assert resumed.read_bytes() == whole.read_bytes(), f"the {suffix} of the resumed run differs"
    assert not list(tmp_path.glob(".*.partial")), "a journal is left"


def test_a_file_system_without_locks(no_flock, model_directory, tmp_path, capsys):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "a.png")
    predict_files(
        [tmp_path / "a.png"], str(model_directory), labels="a,b", output=tmp_path / "out.csv", resume=True
    )
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3
    assert f"note: the file system of {tmp_path} has no file locks" in capsys.readouterr().err
