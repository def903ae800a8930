"""Inputs with unreadable, hidden, unsupported and repeated parts, and pipes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bioclip_jax import file_kinds
from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import IMAGE_SUFFIXES, is_hidden_path
from bioclip_jax.predict import input_paths
from bioclip_jax.predict.inputs import Skipped, find_images


def picture(kind: str = "JPEG", seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def make_tar(path: Path, **files: bytes) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """ph/a.jpg and ph/b.jpg below the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("ph").mkdir()
    for seed, name in enumerate("ab"):
        Path(f"ph/{name}.jpg").write_bytes(picture(seed=seed))
    return Path("ph")


def names(*given: str) -> list[str]:
    return [image.name for image in find_images(given)]


def shell_glob(pattern: str) -> list[str]:
    """Expand a pattern as a shell does."""
    return sorted(str(path) for path in Path().glob(pattern) if not path.name.startswith("."))


def both_ways(pattern: str) -> list[list[str]]:
    """Return a pattern, expanded by a shell or not."""
    return [shell_glob(pattern), [pattern]]


@pytest.mark.parametrize("way", [0, 1], ids=["shell", "quoted"])
@pytest.mark.parametrize("bad", ["empty folder", "damaged tar", "tar without images", "folder of texts"])
def test_a_bad_input_is_reported_and_the_others_are_read(bad, way, photos, capsys):
    (photos / "sub").mkdir()
    if bad == "damaged tar":
        (photos / "bad.tar").write_bytes(b"no tar " * 200)
        (photos / "sub/c.jpg").write_bytes(picture())
    if bad == "tar without images":
        make_tar(photos / "bad.tar", **{"a.txt": b"text"})
        (photos / "sub/c.jpg").write_bytes(picture())
    if bad == "folder of texts":
        (photos / "sub/readme.txt").write_text("text")
    rest = ["ph/sub/c.jpg"] if "tar" in bad else []
    assert names(*both_ways("ph/*")[way]) == ["ph/a.jpg", "ph/b.jpg", *rest]
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and message.startswith("skipped: "), message
    assert ("ph/bad.tar" if "tar" in bad else "ph/sub") in message
    # The same in the folder itself; an error if it is the only input.
    assert names("ph") == ["ph/a.jpg", "ph/b.jpg", *rest]
    with pytest.raises(UserError, match="ph/bad.tar" if "tar" in bad else "ph/sub"):
        find_images(["ph/bad.tar" if "tar" in bad else "ph/sub"])


@pytest.mark.parametrize("verb", ["predict --cls a,b", "embed --format json", "index build"])
def test_an_unreadable_folder_is_reported(verb, photos, model_directory, monkeypatch, capsys):
    """Root can read everything, so the system call is replaced by a failing one."""
    (photos / "closed").mkdir()
    scandir = os.scandir

    def refuse(folder):
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    first, *options = verb.split()
    output = {"predict": "x.csv", "embed": "x.json", "index": "x"}[first]
    command = [*verb.split()[:2], "ph"] if first == "index" else [first, "ph", *options]
    assert main([*command, "--model", str(model_directory), "--output", output]) == 0
    assert "skipped: the folder ph/closed cannot be read (Permission denied)" in capsys.readouterr().err
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"the folder ph/closed cannot be read \(Permission denied\)"):
        find_images(["ph/closed"])


@pytest.mark.parametrize("way", [0, 1], ids=["shell", "quoted"])
def test_broken_links_are_reported(way, photos, model_directory, capsys):
    (photos / "c.jpg").symlink_to("nothing.jpg")
    (photos / "loop.jpg").symlink_to("loop.jpg")
    (photos / "loop").symlink_to("loop")
    given = [["ph/a.jpg", "ph/b.jpg", "ph/c.jpg", "ph/loop.jpg"], ["ph/*.jpg"]][way]
    for inputs_given in (given, ["ph"]):
        assert main(["predict", *inputs_given, "--cls", "a,b", "--model", str(model_directory)]) == 0
        out, err = capsys.readouterr()
        assert out.count("\n") == 5, "a header and two labels for two images"
        message = [line for line in err.splitlines() if "cannot be read" in line]
        assert len(message) == 2 and "ph/c.jpg" in message[0] and "ph/loop.jpg" in message[1], err


def test_a_glob_that_includes_the_table_counts_every_photograph_once(photos, model_directory, capsys):
    (photos / "metadata.csv").write_text("filepath,sex\nb.jpg,f\na.jpg,m\n")
    for given in both_ways("ph/*"):
        assert names(*given) == ["ph/a.jpg", "ph/b.jpg"]
        assert (
            "2 images of ph/metadata.csv are also other inputs; each is used once" in capsys.readouterr().err
        )
    assert (
        names("ph", "ph/metadata.csv")
        == names("ph/a.jpg", "ph/b.jpg", "ph/metadata.csv")
        == ["ph/a.jpg", "ph/b.jpg"]
    )
    os.rename("ph/metadata.csv", "ph/labels.csv")
    assert names(*shell_glob("ph/*")) == ["ph/a.jpg", "ph/b.jpg"]
    assert names("ph/a.jpg", "ph/labels.csv") == ["ph/a.jpg", "ph/b.jpg", "ph/a.jpg"], (
        "a list that was named itself"
    )
    os.rename("ph/labels.csv", "ph/metadata.csv")
    assert names("ph/metadata.csv") == ["ph/b.jpg", "ph/a.jpg"]
    # The table's columns are still appended.
    command = ["embed", *shell_glob("ph/*"), "--model", str(model_directory), "--output", "x.parquet"]
    assert main(command) == 0
    import pyarrow.parquet as pq

    assert pq.read_table("x.parquet").select(["path", "sex"]).to_pylist() == [
        {"path": "ph/a.jpg", "sex": "m"},
        {"path": "ph/b.jpg", "sex": "f"},
    ]


def test_an_unrelated_table_in_the_folder_is_reported(photos, model_directory, capsys):
    (photos / "weather.csv").write_text("day,rain\n1,2\n")
    assert main(["embed", *shell_glob("ph/*"), "--model", str(model_directory), "--output", "x.parquet"]) == 0
    assert "skipped: ph/weather.csv has none of the columns filepath" in capsys.readouterr().err
    # A table that is named explicitly is an error.
    with pytest.raises(UserError, match="weather.csv has none of the columns filepath"):
        find_images(["ph/weather.csv", "ph/a.jpg"])


def test_skipped_files_are_counted_by_kind(photos, capsys):
    for name in ("c.pdf", "D.PDF", "e.mp4", "f.mov", "notes.txt", "metadata.csv", ".hidden"):
        (photos / name).write_bytes(b"x")
    make_tar(photos / "t.tar", **{"k.pdf": b"x", "k.jpg": picture(), "k.txt": b"a caption"})
    skipped = Skipped()
    found = [image.name for image in find_images(["ph"], None, skipped)]
    assert not capsys.readouterr().err, "the caller reports what it asked for"
    skipped.report()
    assert found == ["ph/a.jpg", "ph/b.jpg", "ph/t.tar/k.jpg"]
    assert skipped.by_kind == {".pdf": 3, ".mov": 1, ".mp4": 1, ".txt": 1}
    assert capsys.readouterr().err == (
        "1 .mov, 1 .mp4 skipped: predict, embed and index build read frames of videos with --every SECONDS\n"
        "3 .pdf, 1 .txt skipped\n"
    )
    Path("videos").mkdir()
    Path("videos/a.mp4").write_bytes(b"x")
    for given in ("videos", "videos/a.mp4"):
        with pytest.raises(UserError, match=r"holds no image \(1 .mp4 skipped: .*--every SECONDS"):
            find_images([given])


def test_a_missing_extra_is_named_for_the_files_that_need_it(photos, capsys, monkeypatch):
    for name in ("c.heic", "D.HEIC", "e.cr2", "f.mp4"):
        (photos / name).write_bytes(b"x")
    monkeypatch.setattr(file_kinds.importlib.util, "find_spec", lambda name: None)
    file_kinds.has_extra.cache_clear()
    try:
        for every, advice in ((None, "; predict, embed and index build read"), (1.0, "; predict, embed")):
            assert [image.name for image in find_images(["ph"], every)] == ["ph/a.jpg", "ph/b.jpg"]
            lines = capsys.readouterr().err.splitlines()
            assert "2 .heic skipped: pip install 'bioclip-jax[heic]'" in lines
            assert "1 .cr2 skipped: pip install 'bioclip-jax[raw]'" in lines
            assert any(
                line.startswith(f"1 .mp4 skipped: pip install 'bioclip-jax[video]'{advice}") for line in lines
            )
        with pytest.raises(UserError, match=r"pip install 'bioclip-jax\[video\]'"):
            find_images(["ph/f.mp4"], 1)
    finally:
        monkeypatch.undo()
        file_kinds.has_extra.cache_clear()


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_listed_suffix_is_found_and_decoded(suffix, photos):
    """Pillow writes each format by its suffix."""
    Image.new("RGB", (20, 10), "red").save(photos / f"z{suffix}")
    os.rename(photos / f"z{suffix}", photos / f"Z{suffix.upper()}")
    Image.new("RGB", (20, 10), "red").save(photos / f"k{suffix}")
    make_tar(photos / "t.tar", **{f"K{suffix.upper()}": (photos / f"k{suffix}").read_bytes()})
    from bioclip_jax.pipeline.images.decoding import decode
    from bioclip_jax.pipeline.sources import open_source

    listed = [image for image in find_images(["ph"]) if Path(image.name).stem.lower() in "zk"]
    assert sorted(image.name for image in listed) == sorted(
        [f"ph/Z{suffix.upper()}", f"ph/k{suffix}", f"ph/t.tar/K{suffix.upper()}"]
    )
    for content in [image.read() for image in listed] + [open_source("ph/t.tar")[0].image]:
        pixels = decode(content)
        assert (
            pixels.shape == (10, 20, 3)
            and pixels[..., 0].min() > (100 if suffix in (".pgm", ".pbm") else 200) - 50
        )


HIDDEN = (
    *("._a.jpg", ".trash/a.jpg", "__MACOSX/a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/a.jpg"),
    *("$RECYCLE.BIN/a.jpg", "$Recycle.Bin/a.jpg", "System Volume Information/a.jpg", "lost+found/a.jpg"),
)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_system_files_are_not_photographs(hidden, photos):
    (photos / hidden).parent.mkdir(parents=True, exist_ok=True)
    (photos / hidden).write_bytes(picture())
    make_tar(photos / "t.tar", **{"./k.jpg": picture(), hidden: picture(), f"sub/{hidden}": picture()})
    expected = ["ph/a.jpg", "ph/b.jpg", "ph/t.tar/./k.jpg"]
    assert names("ph") == expected
    for given in (*both_ways("ph/*"), ["ph/**/*"]):
        assert sorted(set(names(*given))) == expected, given
    assert is_hidden_path(hidden) and not is_hidden_path("./../a/b.jpg")


def test_a_compressed_tar_is_an_error_with_advice(photos, capsys):
    with tarfile.open("t.tar.gz", "w:gz") as tar:
        tar.add("ph/a.jpg")
    for name in ("t.tar.gz", "T.TGZ"):
        os.rename("t.tar.gz", name) if not Path(name).exists() else None
        with pytest.raises(UserError, match=f"{name} is a compressed tar; uncompress it"):
            find_images([name])
        os.rename(name, "t.tar.gz")
    assert names("ph/a.jpg", "t.tar.gz") == ["ph/a.jpg"]
    assert "skipped: t.tar.gz is a compressed tar" in capsys.readouterr().err


def test_an_image_from_a_pipe(photos, model_directory, capsys):
    """A named pipe, like a shell's <(cat a.jpg)."""
    os.mkfifo("pipe")
    content = Path("ph/a.jpg").read_bytes()
    command = [
        "predict",
        "pipe",
        "ph/a.jpg",
        "--cls",
        "a,b",
        "--model",
        str(model_directory),
        "--report",
        "x.html",
    ]
    writer = threading.Thread(target=Path("pipe").write_bytes, args=(content,))
    writer.start()
    assert main(command) == 0
    writer.join()
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.replace("pipe,", "ph/a.jpg,") for row in rows[:2]] == rows[2:], (
        "the pipe's image has other scores"
    )


@pytest.mark.skipif(not Path("/dev/stdin").exists(), reason="there is no /dev/stdin")
@pytest.mark.parametrize("name", ["/dev/stdin", "-"])
def test_an_image_from_standard_input(name, photos):
    code = (
        "import sys; from bioclip_jax.predict.inputs import find_images; "
        "print(find_images(sys.argv[1:])[0].read() == open('ph/a.jpg', 'rb').read())"
    )
    command = [sys.executable, "-c", code, name]
    with subprocess.Popen(["cat", "ph/a.jpg"], stdout=subprocess.PIPE) as cat:
        message = subprocess.run(command, stdin=cat.stdout, capture_output=True, text=True)
    assert message.stdout == "True\n", message.stderr
    # A file as standard input is read from its beginning.
    with open("ph/a.jpg", "rb") as file:
        message = subprocess.run(command, stdin=file, capture_output=True, text=True)
    assert message.stdout == "True\n", message.stderr


def test_empty_and_oversized_pipes_are_errors(photos, monkeypatch):
    os.mkfifo("pipe")
    for content, reason in ((b"", "delivers nothing"), (b"x" * 100, "delivers more than")):
        monkeypatch.setattr(input_paths, "_LARGEST_PIPED", 50)
        writer = threading.Thread(target=Path("pipe").write_bytes, args=(content,))
        writer.start()
        with pytest.raises(UserError, match=f"pipe {reason}"):
            find_images(["pipe"])
        writer.join()


def test_a_pipe_listed_in_a_table(photos):
    os.mkfifo(photos / "pipe")
    (photos / "list.csv").write_text("filepath\npipe\n")
    writer = threading.Thread(target=lambda: Path("ph/pipe").write_bytes(b"content"))
    writer.start()
    [image] = find_images(["ph/list.csv"])
    assert image.read() == b"content"
    writer.join()
