"""Groups of copies: exact ones, typical near ones, bursts, and what must not be joined."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "curate"))
from make_copies import COPIES

from bioclip_jax.cli import main
from bioclip_jax.predict import find_duplicates


def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A picture with structure at many scales, different for each seed."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((size[1], size[0], 3))
    for side in (3, 6, 12, 24):
        noise = Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8))
        picture += np.asarray(noise.resize(size, Image.Resampling.BICUBIC), float) / 4
    return Image.fromarray(picture.round().astype(np.uint8))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ph").mkdir()
    for seed in range(6):
        scene(seed).save(f"ph/{seed}.jpg", quality=92)
    return Path("ph")


def rows(path: str = "groups.csv") -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_exact_and_near_copies_are_grouped_and_the_largest_is_kept(folder, capsys):
    shutil.copy("ph/0.jpg", "ph/copy of 0.jpg")
    scene(1).resize((160, 120)).save("ph/small 1.jpg", quality=60)
    scene(1, (640, 480)).save("ph/large 1.png")
    Path("ph/broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    assert main(["duplicates", "ph", "--output", "groups.csv"]) == 0
    captured = capsys.readouterr()
    assert "1 exact and 2 near copies in 2 groups" in captured.err
    assert captured.err.count("skipped: ph/broken.jpg cannot be read") == 1
    found = rows()
    assert [(row["group"], row["filepath"], row["kind"], row["keep"]) for row in found] == [
        ("1", "ph/0.jpg", "", "yes"),
        ("1", "ph/copy of 0.jpg", "exact", "no"),
        ("2", "ph/large 1.png", "", "yes"),
        ("2", "ph/1.jpg", "near", "no"),
        ("2", "ph/small 1.jpg", "near", "no"),
    ]
    assert found[2]["distance"] == "" and all(int(row["distance"]) <= 31 for row in found[3:])
    assert [row["width"] for row in found[2:]] == ["640", "320", "160"]
    assert int(found[1]["bytes"]) == os.path.getsize("ph/0.jpg")
    assert len(list(folder.iterdir())) == 10, "nothing is deleted"


def test_different_photographs_and_links_are_no_copies(folder, capsys):
    Path("ph/link.jpg").symlink_to(Path("ph/0.jpg").absolute())
    os.link("ph/1.jpg", "ph/hard.jpg")
    assert main(["duplicates", "ph", "ph/2.jpg", "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["duplicates"] == [] and result["images"] == 6
    assert "3 images are the same files as others, and count once" in captured.err
    Path("old.csv").write_text("an older result")
    assert main(["duplicates", "ph", "--output", "old.csv"]) == 0
    assert Path("old.csv").read_text() == "group,filepath,kind,distance,keep,width,height,bytes\n"


def test_a_chain_of_similar_pictures_is_not_one_group(folder):
    """Every member is near the one to keep, not only near another member."""
    first, last = (np.asarray(scene(seed), float) for seed in (10, 11))
    for step in range(21):
        blend = Image.fromarray((first + (last - first) * step / 20).round().astype(np.uint8))
        blend.save(f"ph/step {step:02}.png")
    find_duplicates(["ph"], "groups.csv")
    found = [row for row in rows() if "step" in row["filepath"]]
    groups = {row["group"] for row in found}
    assert len(groups) > 1, "the two ends are different pictures"
    assert all(row["distance"] == "" or int(row["distance"]) <= 31 for row in found)
    assert sum(row["keep"] == "yes" for row in found) == len(groups)


def test_results_have_each_format_and_orientation_is_applied(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    scene(0).transpose(Image.Transpose.ROTATE_90).save("ph/turned.jpg", exif=exif, quality=90)
    for name in ("g.csv", "g.tsv", "g.json", "g.parquet"):
        result = find_duplicates(["ph"], name)
        assert result["near"] == 1 and result["output"] == name
    (first, turned) = json.loads(Path("g.json").read_text())
    assert {first["filepath"], turned["filepath"]} == {"ph/0.jpg", "ph/turned.jpg"}
    assert first["width"] == turned["width"] == 320


@pytest.mark.parametrize("threshold", ["-1", "65", "many"])
def test_invalid_thresholds_are_refused(threshold, folder, capsys):
    try:
        status = main(["duplicates", "ph", "--threshold", threshold, "--output", "groups.csv"])
    except SystemExit as exit:
        status = exit.code
    assert status == 2 and capsys.readouterr().err.startswith("error: ")
    assert not Path("groups.csv").exists()


@pytest.mark.shared_data
def test_typical_copies_of_photographs_are_found_and_others_are_not(shared_data, tmp_path):
    """Of 40 shop photographs, beside a hundred others."""
    files = sorted((shared_data / "produce/val/images").rglob("*.jpg"))
    rng = np.random.default_rng(0)
    easy = [name for name in COPIES if "10 %" not in name and "5 %" not in name and name != "mirrored"]
    for number, file in enumerate(files[::5][:40]):
        pixels = np.asarray(Image.open(file).convert("RGB"))
        shutil.copy(file, tmp_path / f"{number}_original.jpg")
        kind = easy[number % len(easy)]
        buffer = io.BytesIO()
        Image.fromarray(COPIES[kind](pixels, rng)).save(buffer, "PNG")
        (tmp_path / f"{number}_copy.png").write_bytes(buffer.getvalue())
    result = find_duplicates([tmp_path], as_result=True)
    groups: dict[int, set[str]] = {}
    for row in result["duplicates"]:
        groups.setdefault(row["group"], set()).add(Path(row["filepath"]).name.split("_")[0])
    assert sum(len(numbers) == 1 for numbers in groups.values()) >= 36
    assert all(len(numbers) == 1 for numbers in groups.values()), "different photographs were joined"
