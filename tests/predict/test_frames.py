"""Pages of TIFFs and frames of videos: listing, decoding, columns, resuming."""

from __future__ import annotations

import csv
import json
import struct
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "pipeline"))
from make_pictures import dng, halves, heic, rotated, shade, tiff, video

from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import ReadOptions, tiff_pages
from bioclip_jax.predict.embedding import digests, sample_uuid
from bioclip_jax.predict.image_file import ImageFile, image_file, read_upright
from bioclip_jax.predict.inputs import find_images
from bioclip_jax.predict.journal import image_keys
from bioclip_jax.predict.report.page import thumbnails

READ = ReadOptions()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ph").mkdir()
    return Path("ph")


def gray(image: ImageFile) -> int:
    """The value that `shade` drew."""
    return round(float(np.asarray(read_upright(image, READ)).mean()))


def names(*given, **options) -> list[str]:
    return [image.name for image in find_images(given, **options)]


def test_each_page_of_a_tiff_is_an_image(folder):
    Path("ph/scan.tif").write_bytes(tiff([shade(50), shade(100), shade(150)]))
    Path("ph/single.tiff").write_bytes(tiff([shade(7)]))
    with tarfile.open("ph/t.tar", "w") as tar:
        tar.add("ph/scan.tif", "k.tif")
    pages = [f"#page={number}" for number in (1, 2, 3)]
    expected = [f"ph/scan.tif{page}" for page in pages] + ["ph/single.tiff"]
    assert names("ph") == expected + [f"ph/t.tar/k.tif{page}" for page in pages]
    assert [gray(image) for image in find_images(["ph"])] == [50, 100, 150, 7, 50, 100, 150]
    # As an input, and in a table, as reports and corrections list pages.
    assert names("ph/scan.tif#page=2") == ["ph/scan.tif#page=2"]
    Path("list.csv").write_text("filepath\nph/scan.tif#page=3\nph/single.tiff\n")
    assert [gray(image) for image in find_images(["list.csv"])] == [150, 7]


def typed_tiff(kinds: list[int]) -> bytes:
    """A TIFF with a directory of shade 20 * number for each NewSubfileType."""
    pages = [shade(20 * number) for number in range(len(kinds))]
    content = bytearray(tiff(pages, tiffinfo={254: 0}))
    (start,) = struct.unpack_from("<I", content, 4)
    for kind in kinds:
        (count,) = struct.unpack_from("<H", content, start)
        entries = [start + 2 + 12 * number for number in range(count)]
        (entry,) = (entry for entry in entries if struct.unpack_from("<H", content, entry)[0] == 254)
        struct.pack_into("<HHII", content, entry, 254, 4, 1, kind)
        (start,) = struct.unpack_from("<I", content, start + 2 + 12 * count)
    return bytes(content)


def test_thumbnails_levels_of_pyramids_and_masks_are_no_pages(folder):
    Path("ph/pyramid.tif").write_bytes(typed_tiff([0, 1, 1]))
    Path("ph/scan.tif").write_bytes(typed_tiff([0, 1, 2, 4]))
    assert names("ph") == ["ph/pyramid.tif", "ph/scan.tif#page=1", "ph/scan.tif#page=3"]
    assert gray(find_images(["ph/scan.tif"])[1]) == 40


def test_hostile_directories_end(tmp_path):
    """A chain that leads back, one of a million pages, and tags without end."""
    loop = b"II*\0" + struct.pack("<IHI", 8, 0, 8)
    chain = bytearray(b"II*\0" + struct.pack("<I", 8))
    for number in range(100_000):
        chain += struct.pack("<HI", 0, 8 + 6 * (number + 1))
    wide = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 1 << 60)
    for name, content, pages in (("loop", loop, 1), ("wide", wide, 0), ("short", b"II*\0\x08", 0)):
        (tmp_path / name).write_bytes(content)
        with open(tmp_path / name, "rb") as file:
            assert len(tiff_pages(file)) == pages, name
    (tmp_path / "chain.tif").write_bytes(chain)
    with pytest.raises(UserError, match="chain.tif has more than 65,536 pages; split it"):
        find_images([tmp_path / "chain.tif"])


def clip(count: int = 30, **options) -> bytes:
    return video([shade(5 * number) for number in range(count)], **options)


def test_videos_are_read_only_with_every(folder, capsys):
    Path("ph/clip.mp4").write_bytes(clip())
    Path("ph/still.png").write_bytes(b"")
    assert names("ph") == ["ph/still.png"]
    assert "1 .mp4 skipped: predict, embed and index build read frames of videos" in capsys.readouterr().err
    assert names("ph", every=1) == [*(f"ph/clip.mp4#t={time}" for time in (0, 1, 2)), "ph/still.png"]
    assert not capsys.readouterr().err
    frames = find_images(["ph/clip.mp4"], 0.7)
    assert [image.name for image in frames] == [
        f"ph/clip.mp4#t={time}" for time in ("0", "0.7", "1.4", "2.1", "2.8")
    ]
    assert [round(gray(image) / 5) for image in frames] == [0, 7, 14, 21, 28]
    assert round(gray(image_file("ph/clip.mp4#t=2.8")) / 5) == 28


@pytest.mark.parametrize("every", [0, -1, 0.0001, float("nan")])
def test_impossible_intervals_are_refused(every, folder):
    Path("ph/clip.mp4").write_bytes(clip(2))
    with pytest.raises(UserError, match="--every is"):
        find_images(["ph"], every)


def test_damaged_videos_are_reported_and_the_others_read(folder, model_directory, capsys):
    Path("ph/a.mp4").write_bytes(clip(12))
    Path("ph/cut.mp4").write_bytes(clip()[:1500])
    Path("ph/empty.mov").write_bytes(b"")
    Path("ph/text.avi").write_text("not a video " * 99)
    command = ["predict", "ph", "--every", "1", "--model", str(model_directory), "--cls", "a,b", "--json"]
    assert main(command) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert {row["file_name"] for row in result["predictions"]} == {"ph/a.mp4#t=0", "ph/a.mp4#t=1"}
    assert len(result["unreadable"]) == 3 and result["images"] == 5 and result["skipped"] == {}
    lines = [line for line in captured.err.splitlines() if line.startswith("skipped: ")]
    assert [line.split()[1] for line in lines] == ["ph/cut.mp4", "ph/empty.mov", "ph/text.avi"]
    assert "Traceback" not in captured.err and "moov" not in captured.err.replace(lines[0], "")


def test_frames_are_predicted_as_pictures_of_the_same_content(folder, model_directory, capsys):
    """And take the columns of their video's row; a resumed run is the same."""
    shades = [shade(5 * number, (224, 224)) for number in range(30)]
    Path("ph/clip.avi").write_bytes(video(shades, codec="mjpeg", container="avi"))
    Path("ph/scan.tif").write_bytes(tiff([shades[0], shades[20]]))
    for number in (0, 20):
        shades[number].save(f"ph/{number:02}.png")
    Path("list.csv").write_text(
        "filepath,site\nph/clip.avi,north\nph/scan.tif,south\nph/00.png,east\nph/20.png,\n"
    )
    command = [
        "predict",
        "list.csv",
        "--every",
        "2",
        "--model",
        str(model_directory),
        "--cls",
        "a,b",
        "--k",
        "1",
    ]
    assert main([*command, "--output", "one.csv", "--report", "one.html"]) == 0
    assert main([*command, "--output", "two.csv", "--resume"]) == 0
    assert Path("one.csv").read_text() == Path("two.csv").read_text()
    with open("one.csv", newline="") as file:
        rows = {row["file_name"]: row for row in csv.DictReader(file)}
    assert [row["site"] for row in rows.values()] == ["north", "north", "south", "south", "east", ""]
    for time, page, number in ((0, 1, 0), (2, 2, 20)):
        scores = [
            float(rows[name]["score"])
            for name in (f"ph/clip.avi#t={time}", f"ph/scan.tif#page={page}", f"ph/{number:02}.png")
        ]
        assert max(scores) - min(scores) < 0.02, scores
    assert rows["ph/scan.tif#page=2"]["score"] == rows["ph/20.png"]["score"]


def test_frames_have_identities_of_their_own(folder):
    name = "01234567-89ab-cdef-0123-456789abcdef.mp4"
    Path(f"ph/{name}").write_bytes(clip())
    frames = find_images(["ph"], 1)
    again = [image_file(image.name) for image in frames]
    for identify in (image_keys, digests, lambda images: [sample_uuid(image) for image in images]):
        assert len(set(identify(frames))) == 3
        assert list(identify(frames)) == list(identify(again)), "a name leads to the same frame"
    assert all(url.startswith("data:image/jpeg") for url in thumbnails(frames))


def test_columns_of_date_and_place_come_from_heic_raw_and_video(folder, model_directory):
    Path("ph/a.heic").write_bytes(heic(halves(), date="2024:05:06 07:08:09"))
    Path("ph/b.dng").write_bytes(dng(halves(), date="2023:01:02 03:04:05"))
    Path("ph/c.mp4").write_bytes(clip(created="2022-02-03T04:05:06"))
    Path("ph/d.mov").write_bytes(rotated(clip(2), 1))
    command = ["predict", "ph", "--every", "2", "--model", str(model_directory), "--cls", "a,b", "--k", "1"]
    assert main([*command, "--add", "date", "--output", "names.csv"]) == 0
    with open("names.csv", newline="") as file:
        dates = {row["file_name"]: row["date_taken"] for row in csv.DictReader(file)}
    assert dates == {
        "ph/a.heic": "2024-05-06T07:08:09",
        "ph/b.dng": "2023-01-02T03:04:05",
        "ph/c.mp4#t=0": "2022-02-03T04:05:06",
        "ph/c.mp4#t=2": "2022-02-03T04:05:08",
        "ph/d.mov#t=0": "",
    }


def test_embeddings_of_frames_are_cached_by_file_and_time(folder, model_directory):
    import pyarrow.parquet as pq

    Path("ph/clip.mp4").write_bytes(clip())
    command = ["embed", "ph", "--every", "1", "--model", str(model_directory), "--cache", "--output"]
    assert main([*command, "one.parquet"]) == 0 == main([*command, "two.parquet"])
    one, two = (pq.read_table(name) for name in ("one.parquet", "two.parquet"))
    assert one.equals(two) and one.num_rows == 3
    assert len({tuple(vector) for vector in one["emb"].to_pylist()}) == 3
