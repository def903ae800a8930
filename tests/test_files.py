"""Outputs of every verb: checked before any work, never overwriting inputs, written atomically."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.files import (
    atomic_write,
    check_folder,
    check_output,
    check_outputs,
    read_arrays,
    remove_partials,
    replaced_folder,
    write_text,
)

# A folder in which not even root can create files.
CLOSED = Path("/proc/self")
needs_closed_folder = pytest.mark.skipif(not CLOSED.is_dir(), reason="there is no /proc")


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """A working directory with all kinds of inputs."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(Path("photos") / name)
    Path("photos/metadata.csv").write_text(
        "filepath,genus,species\na.jpg,Malus,domestica\nb.jpg,Malus,sylvestris\n"
    )
    shutil.copy("photos/a.jpg", "a.jpg")
    Path("texts.json").write_text("an apple\n")
    Path("names.csv").write_text("genus,species\nMalus,domestica\n")
    Path("taxa.csv").write_bytes(b"a head of another name")
    Path("taxa.safetensors").write_bytes(b"not read before the check")
    Path("backbone.tsv").write_text("taxonID\tscientificName\ttaxonRank\n1\tMalus domestica\tspecies\n")
    Path("vernacular.csv").write_text("taxonID,vernacularName,language\n1,apple,en\n")
    Path("traits.csv").write_text("species,size\nMalus domestica,1\n")
    pq.write_table(pa.table({"a": [1]}), "vectors.parquet")
    Path("model").mkdir()
    Path("model/open_clip_config.json").write_text("{}")
    Path("model/open_clip_model.safetensors").write_bytes(b"weights")
    Path("index").mkdir()
    Path("index/index.json").write_text("{}")
    Path("shards").mkdir()
    return tmp_path


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


OVERWRITING = {
    "predict --output": "predict photos/metadata.csv --cls a,b --output photos/metadata.csv",
    "predict --bins": "predict a.jpg --bins names.csv --output names.csv",
    "predict --report": "predict photos --cls texts.json --report photos/report.html",
    "predict --log": "predict photos/metadata.csv --cls a,b --log photos/metadata.csv",
    "predict, the model": "predict a.jpg --cls a,b --model model --output model/open_clip_config.json",
    "embed": "embed photos --format json --output photos/b.jpg",
    "embed --texts": "embed --texts texts.json --output texts.json",
    "embed, the model": "embed a.jpg --model model --output model/open_clip_config.json",
    "taxa build": "taxa build names.csv --output names.csv",
    "taxa build, a folder": "taxa build photos --output photos/metadata.csv",
    "taxa list": "taxa list --taxa taxa.csv --output taxa.csv",
    "taxa calibrate --output": "taxa calibrate photos --output photos/metadata.csv",
    "taxa calibrate --plot": "taxa calibrate photos --output t.json --plot photos/a.jpg",
    "taxa calibrate --taxa": "taxa calibrate photos --taxa taxa.safetensors --output taxa.safetensors",
    "align, the table": "shards align names.csv names.csv --backbone backbone.tsv",
    "align, the backbone": "shards align names.csv backbone.tsv --backbone backbone.tsv",
    "align, its folder": "shards align names.csv taxonomy/backbone.tsv --backbone taxonomy",
    "align, the vernacular": "shards align names.csv vernacular.csv --backbone backbone.tsv --vernacular "
    "vernacular.csv",
    "align, the report": "shards align names.csv out.csv --backbone out.report.csv",
    "verify, the table": "shards verify shards --report shards/metadata.csv",
    "verify, the sizes": "shards verify shards --report shards/sizes.json",
    "stats": "shards stats photos --report photos/linked.html",
    "stats, a table's image": "shards stats photos/metadata.csv --report a.html",
    "eval, the table": "eval zero-shot --model model --images photos --labels photos/zero-shot_classes.csv "
    "--output photos",
    "eval, results.json": "eval zero-shot --model model --images photos --labels results.json --output .",
}


@pytest.mark.parametrize("command", OVERWRITING.values(), ids=OVERWRITING)
def test_no_verb_overwrites_its_inputs(command, inputs, capsys):
    os.link("photos/a.jpg", "photos/linked.html")
    Path("photos/report.html").symlink_to("a.jpg")
    shutil.copy("photos/metadata.csv", "photos/zero-shot_classes.csv")
    shutil.copy("photos/metadata.csv", "results.json")
    shutil.copy("backbone.tsv", "out.report.csv")
    shutil.copytree("photos", "shards", dirs_exist_ok=True)
    Path("shards/sizes.json").write_text("{}")
    shutil.make_archive("shards/one", "tar", "photos")
    Path("taxonomy").mkdir()
    shutil.copy("backbone.tsv", "taxonomy/backbone.tsv")
    if "stats" in command:
        # A hard link of the table itself.
        Path("photos/linked.html").unlink()
        os.link("photos/metadata.csv", "photos/linked.html")
        os.link("photos/b.jpg", "a.html")
    before = content_of(inputs)
    assert main(command.split()) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "would overwrite" in message, message
    assert content_of(inputs) == before, "the command has changed files"


@pytest.mark.parametrize(
    "command",
    [
        "predict a.jpg --cls a,b --output x.csv --report linked.html",
        "taxa calibrate photos --output x.json --plot ./x.json",
    ],
)
def test_two_outputs_must_be_two_files(command, inputs, capsys):
    Path("linked.html").symlink_to("x.csv")
    assert main(command.split()) == 2
    assert "are one file" in capsys.readouterr().err


# Each fails at once, although its model, data or weights are missing, because outputs are checked first.
WRITING = {
    "predict --output": "predict a.jpg --cls a,b --output {}/x.csv",
    "predict --report": "predict a.jpg --cls a,b --report {}/x.html",
    "predict --log": "predict a.jpg --cls a,b --log {}/x.txt",
    "predict --log json": "predict a.jpg --cls a,b --log {}/x.json",
    "embed": "embed a.jpg --output {}/x.npy",
    "embed --texts": "embed --texts texts.json --output {}/x.npy",
    "taxa build": "taxa build names.csv --output {}/x.safetensors",
    "taxa list": "taxa list --output {}/x.csv",
    "taxa calibrate --output": "taxa calibrate photos --output {}/x.json",
    "taxa calibrate --plot": "taxa calibrate photos --output x.json --plot {}/x.png",
    "index build": "index build photos --output {}/x",
    "index search": "index search index a.jpg --output {}/x.csv",
    "align": "shards align names.csv {}/x.csv --backbone backbone.tsv",
    "build": "shards build photos {}/x",
    "verify --report": "shards verify shards --report {}/x.csv",
    "verify --repair": "shards verify shards --repair {}/x",
    "stats": "shards stats photos --report {}/x.html",
    "eval": "eval zero-shot --model model --data photos --output {}/x",
    "eval suite": "eval suite.yaml --model model --output {}/x",
    "overview": "analyze overview --model model --data photos --output {}/x.png",
    "between": "analyze between --embeddings vectors.parquet --traits traits.csv --output {}/x",
    "within": "analyze within --embeddings vectors.parquet --factor a --output {}/x",
    "export": "export model {}/x",
    "import": "import model {}/x",
}


@pytest.mark.parametrize("command", WRITING.values(), ids=WRITING)
def test_an_output_that_cannot_be_written_is_refused_before_any_work(command, inputs, capsys):
    shutil.make_archive("shards/one", "tar", "photos")
    folders = ["a.jpg"] + [str(CLOSED)] * CLOSED.is_dir()
    for folder in folders:
        before = content_of(inputs)
        assert main(command.format(folder).split()) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1 and folder in message and "model" not in message, message
        assert "cannot be written" in message or "cannot be made" in message, message
        assert content_of(inputs) == before


MISSING = [
    name
    for name in WRITING
    if name not in ("build", "verify --repair", "eval", "eval suite", "export", "import")
]


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_folder_is_refused_before_any_work(name, inputs, capsys):
    shutil.make_archive("shards/one", "tar", "photos")
    assert main(WRITING[name].format("nowhere").split()) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "does not exist; make it" in message, message
    assert not re.search(r"\b(\w+) \1\b", message), f"a word is repeated: {message}"


# Formats that a verb does not write, and stdout for verbs that need a file.
WRONG_NAMES = {
    "predict": ("predict a.jpg --cls a,b --output x.xlsx", r"end it in \.csv, \.tsv, \.json .* or \.parquet"),
    "predict, compressed": ("predict a.jpg --cls a,b --output x.csv.zip", r"end it in \.csv, \.tsv"),
    "predict, Parquet": ("predict a.jpg --cls a,b --output x.parquet.gz", "compressed already"),
    "predict, in spite of --format": (
        "predict a.jpg --cls a,b --format csv --output x.xlsx",
        r"end it in \.csv",
    ),
    "predict --report": ("predict a.jpg --cls a,b --report x.pdf", r"end its name in \.html"),
    "predict --log": ("predict a.jpg --cls a,b --log -", "does not go to standard output"),
    "embed": ("embed a.jpg --output x.xlsx", r"end it in \.npy, \.parquet, \.json or \.json\.gz"),
    "embed, no text": ("embed a.jpg --format npy --output -", "not text for the terminal"),
    "taxa build": ("taxa build names.csv --output x.xlsx", r"end it in \.safetensors"),
    "taxa build, standard output": ("taxa build names.csv --output -", "does not go to standard output"),
    "taxa list": ("taxa list --model model --output x.XLSX", r"end it in \.csv"),
    "taxa calibrate": ("taxa calibrate photos --output x.xlsx", r"end it in \.json"),
    "taxa calibrate --plot": ("taxa calibrate photos --output x.json --plot x.xlsx", r"end it in \.png"),
    "index search": ("index search index a.jpg --output x.xlsx", r"end it in \.csv"),
    "align": ("shards align names.csv x.xlsx --backbone backbone.tsv", r"name a \.csv, \.tsv or \.parquet"),
    "verify": ("shards verify shards --report x.xlsx", r"end it in \.csv or \.json"),
    "stats": ("shards stats photos --report x.pdf", r"end its name in \.html"),
    "overview": ("analyze overview --model model --data photos --output x.xlsx", r"end its name in \.png"),
}


@pytest.mark.parametrize("command, reason", WRONG_NAMES.values(), ids=WRONG_NAMES)
def test_unsupported_output_formats_are_refused(command, reason, inputs, capsys):
    shutil.make_archive("shards/one", "tar", "photos")
    before = content_of(inputs)
    assert main(command.split()) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and re.search(reason, message), message
    assert content_of(inputs) == before


def test_a_report_inside_the_folder_of_the_repair(inputs, capsys):
    shutil.make_archive("shards/one", "tar", "photos")
    Path("clean").mkdir()
    assert main("shards verify shards --repair clean --report clean/x.csv".split()) == 2
    assert "name another folder" in capsys.readouterr().err and not list(Path("clean").iterdir())


def test_inputs_are_recognized_by_any_name(inputs):
    os.link("a.jpg", "hard.jpg")
    Path("soft.jpg").symlink_to("a.jpg")
    Path("linked").symlink_to("photos")
    for output, read in (("a.jpg", "./photos/../a.jpg"), ("hard.jpg", "a.jpg"), ("soft.jpg", "a.jpg")):
        with pytest.raises(UserError, match="--output would overwrite .*, which is an input"):
            check_outputs({"--output": output}, {"an input": [read]})
    with pytest.raises(UserError, match="would overwrite"):
        check_outputs({"--output": "linked/b.jpg"}, {"an input": Path("photos/b.jpg")})
    check_outputs(
        {"--output": "new.jpg", "--report": None},
        {"an input": ["a.jpg", "nothing", "\0", "a" * 5000, "photos"]},
    )


def test_a_file_on_a_file_system_that_ignores_case(tmp_path):
    Path(tmp_path / "a.csv").write_text("a")
    if not Path(tmp_path / "A.CSV").exists():
        pytest.skip("this file system is case-sensitive")
    with pytest.raises(UserError, match="would overwrite"):
        check_outputs({"--output": tmp_path / "A.CSV"}, {"an input": tmp_path / "a.csv"})


def test_outputs_that_cannot_be_written(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere/x.csv")
    (tmp_path / "file").write_text("")
    for output, reason in (
        (tmp_path, "is a folder; name a file in it"),
        (tmp_path / "dangling", "does not exist; make it"),
        (tmp_path / "file" / "x.csv", "cannot be written"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(UserError, match=reason):
            check_output(output)
    check_output(tmp_path / "loop")
    check_output(Path(os.devnull))
    with pytest.raises(UserError, match="is a file; name a folder"):
        check_folder(tmp_path / "file")
    check_folder(tmp_path / "new" / "newer", parents=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "file", "loop"]


@pytest.mark.skipif(sys.platform == "win32", reason="users are switched as POSIX does")
def test_permissions_of_a_user(tmp_path, monkeypatch):
    """As another user than root, who has all permissions."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "protected.csv").write_text("a result to be kept")
    (tmp_path / "closed").chmod(0o555)
    (tmp_path / "protected.csv").chmod(0o444)
    monkeypatch.chdir(tmp_path)
    before = os.geteuid()
    if before == 0:
        # Parent folders may be closed to other users, so paths are relative.
        os.chown(".", 65534, 65534)
        os.seteuid(65534)
    try:
        for output in ("closed/x.csv", "protected.csv"):
            with pytest.raises(UserError, match="Permission denied"):
                check_output(Path(output))
        for folder in ("closed", "closed/new"):
            with pytest.raises(UserError, match="Permission denied"):
                check_folder(Path(folder))
    finally:
        if before == 0:
            os.seteuid(0)


def test_writes_are_atomic(tmp_path):
    output = tmp_path / "results.csv"
    output.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(output) as partial:
        assert partial.suffix == ".csv" and partial.parent == tmp_path
        partial.write_text("half")
        raise RuntimeError
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
    (tmp_path / "link.csv").symlink_to("results.csv")
    write_text(tmp_path / "link.csv", "new")
    assert (tmp_path / "link.csv").is_symlink() and output.read_text() == "new"
    # A killed process leaves its partial file under a unique name.
    with pytest.raises(KeyboardInterrupt), atomic_write(output) as partial:
        partial.write_text("half")
        kept = shutil.copy(partial, tmp_path / f"{partial.name}x")
        raise KeyboardInterrupt
    assert Path(kept).exists()
    remove_partials(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.csv", "results.csv"]


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    output = tmp_path / "twin"
    for text in ("old", "new"):
        with replaced_folder(output) as partial:
            (partial / f"{text}.txt").write_text(text)
    with pytest.raises(RuntimeError), replaced_folder(output) as partial:
        (partial / "half.txt").write_text("half")
        raise RuntimeError
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "twin",
        "twin/new.txt",
    ]


def test_long_names(tmp_path):
    output = tmp_path / ("ß" * 120 + ".csv")
    write_text(output, "a")
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


@pytest.mark.parametrize("content", [b"", b"text", b"half", b"flipped", b"array", b"other"])
def test_damaged_arrays_are_a_value_error(tmp_path, content):
    """Each way in which NumPy fails by another exception, or not at all."""
    path = tmp_path / "arrays.npz"
    np.savez(path, a=np.arange(1000.0))
    assert read_arrays(path)["a"].sum() == 499_500
    whole = path.read_bytes()
    if content == b"array":
        with path.open("wb") as file:
            np.save(file, np.arange(3))
    else:
        flipped = whole[:500] + bytes([whole[500] ^ 255]) + whole[501:]
        path.write_bytes({b"half": whole[: len(whole) // 2], b"flipped": flipped}.get(content, content))
    with pytest.raises(ValueError, match="damaged"):
        read_arrays(path)
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "none.npz")
