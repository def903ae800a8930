"""HEIC, camera raw and video: pixels, orientation, limits, and files that are damaged or hostile."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from make_pictures import BLUE, RED, dng, halves, heic, rotated, shade, tiff, video
from PIL import Image

from bioclip_jax.pipeline.images import (
    BadImage,
    FrameReader,
    ReadOptions,
    VideoFile,
    decode,
    decoder_process,
    foreign_exif,
    foreign_kind,
    image_header,
    read_exif,
    read_image,
    video_about,
)

READ = ReadOptions()


def is_near(pixel, color, tolerance: int = 12) -> bool:
    return np.abs(np.subtract(pixel, color)).max() <= tolerance


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def frame_number(pixels: np.ndarray) -> int:
    """The number of a frame that `shade(5 * number)` drew."""
    return round(float(pixels.mean()) / 5)


@pytest.fixture
def reader():
    reader = FrameReader()
    yield reader
    reader.close()


@pytest.fixture
def write(tmp_path):
    def write(content: bytes, name: str = "clip") -> VideoFile:
        (tmp_path / name).write_bytes(content)
        return VideoFile(str(tmp_path / name))

    return write


def test_heic_is_decoded_upright():
    image = halves(90, 60)
    plain, turned = heic(image), heic(image, orientation=6)
    assert foreign_kind(plain) == "heic"
    assert read_image(plain).size == (90, 60) and image_header(plain) == ("HEIC", 90, 60)
    upright = read_image(turned)
    assert upright.size == (60, 90) == image_header(turned)[1:]
    assert is_near(upright.getpixel((30, 5)), RED) and is_near(upright.getpixel((30, 85)), BLUE)
    assert np.array_equal(decode(turned), np.asarray(upright))


def test_avif_is_decoded_by_pillow():
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    halves(90, 60).save(buffer, "AVIF", quality=90, exif=exif)
    assert foreign_kind(buffer.getvalue()) is None
    upright = read_image(buffer.getvalue())
    assert upright.size == (60, 90) and is_near(upright.getpixel((30, 5)), RED)


@pytest.mark.parametrize("source", ["sensor", "preview"])
def test_raw_is_turned_by_its_orientation_from_the_preview_and_from_the_sensor(source):
    image = halves(96, 64)
    preview = jpeg(image) if source == "preview" else None
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        buffer = io.BytesIO()
        image.save(buffer, "PNG", exif=exif)
        expected = np.asarray(read_image(buffer.getvalue())).astype(int)
        pixels = decode(dng(image, orientation=orientation, preview=preview)).astype(int)
        assert pixels.shape == expected.shape, orientation
        # LibRaw's colors depend on the white balance, so red and blue are only told apart.
        reds = pixels[..., 0] > pixels[..., 2]
        assert (reds == (expected[..., 0] > expected[..., 2])).mean() > 0.9, orientation
        if source == "preview":
            assert np.abs(pixels - expected).mean() < 5, "the camera's own colors"
    stored = decode(dng(image, orientation=6, preview=preview), read=ReadOptions(exif="ignore"))
    assert stored.shape == (64, 96, 3)


def test_a_small_preview_is_not_used():
    image = halves(96, 64)
    small = jpeg(image.resize((40, 26)).convert("L").convert("RGB"))
    assert decode(dng(image, preview=small)).shape == (64, 96, 3)
    damaged = jpeg(image)[:-400]
    assert decode(dng(image, preview=damaged)).shape == (64, 96, 3), "a damaged preview is not used"


def test_tiffs_of_scanners_are_no_raw_files():
    """A pyramid has its small images in SubIFDs; only cameras put the small image first."""
    plain = tiff([halves(), halves()])
    assert foreign_kind(plain) is None and read_image(plain).size == (64, 48)
    for name in (b"II*\0", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08\xff\xff", b"II*\0\xff\xff\xff\xff"):
        assert foreign_kind(name) is None


def test_exif_of_heic_and_raw(tmp_path):
    for content, kind in ((heic(halves(), date="2024:05:06 07:08:09"), "heic"), (dng(halves()), "raw")):
        exif = Image.Exif()
        exif.load(foreign_exif(content, kind))
        assert exif.get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09", kind
        (tmp_path / "picture").write_bytes(content)
        for source in (content, tmp_path / "picture"):
            assert read_exif(source).time == "2024-05-06T07:08:09", kind
        assert read_exif(content[: len(content) // 2]).time in ("", "2024-05-06T07:08:09")


VIDEOS = [
    *(("mpeg4", "mp4"), ("libx264", "mp4"), ("libx264", "matroska"), ("libx264", "mpegts")),
    *(("mpeg4", "avi"), ("mjpeg", "avi"), ("libvpx-vp9", "webm")),
]


@pytest.mark.parametrize("codec,container", VIDEOS)
def test_the_frame_of_a_time_is_the_one_that_a_player_shows(codec, container, write, reader):
    file = write(video([shade(5 * number) for number in range(30)], codec=codec, container=container))
    assert foreign_kind(Path(file.path).read_bytes()) == "video"
    assert video_about(file, READ).last == pytest.approx(2.9)
    shown = {0: 0, 0.05: 0, 0.3: 3, 0.32: 3, 0.99: 9, 2.0: 20, 2.9: 29, 0.1: 1}
    assert {at: frame_number(reader(file, at, READ)) for at in shown} == shown


def test_a_variable_frame_rate_is_followed(write, reader):
    times = [number**2 / 100 for number in range(40)]
    file = write(video([shade(5 * number) for number in range(40)], times=times, codec="libx264"))
    for at in (0, 1, 2.5, 6, 15):
        assert frame_number(reader(file, at, READ)) == sum(moment <= at for moment in times) - 1, at


def test_seconds_of_a_video_are_decoded_in_one_pass(write, monkeypatch, tmp_path):
    """Each packet is read once: the bytes read do not grow with the number of frames asked for."""
    from bioclip_jax.pipeline.images.file_part import Part, open_part
    from bioclip_jax.pipeline.images.video import Video

    noise = np.random.default_rng(0)
    frames = [Image.fromarray(noise.integers(0, 256, (192, 256, 3), np.uint8)) for _ in range(100)]
    file = write(video(frames, container="matroska"))
    read = 0
    readinto = Part.readinto

    def count(self, buffer):
        nonlocal read
        read += (size := readinto(self, buffer))
        return size

    monkeypatch.setattr(Part, "readinto", count)
    with open_part(file.path) as part:
        clip = Video(part, READ.max_pixels)
        for number in range(100):
            clip.at(number / 10)
        clip.close()
    size = os.path.getsize(file.path)
    assert read < 1.5 * size, f"read {read:,} of {size:,} bytes"


def test_a_video_is_turned_by_its_display_matrix(write, reader):
    file = write(rotated(video([halves()] * 3, codec="libx264"), 1))
    pixels = reader(file, 0.1, READ)
    assert pixels.shape == (64, 48, 3)
    assert is_near(pixels[5, 24], RED) and is_near(pixels[-5, 24], BLUE), "turned clockwise"
    assert reader(file, 0.1, ReadOptions(exif="ignore")).shape == (48, 64, 3)


def test_a_video_in_a_tar_is_read_at_its_offset(write, reader):
    content = video([shade(5 * number) for number in range(9)], created="2024-05-06T07:08:09")
    whole = write(b"before it" + content + b"after it")
    part = VideoFile(whole.path, 9, len(content))
    about = video_about(part, READ)
    assert about.last == pytest.approx(0.8) and about.created.startswith("2024-05-06T07:08:09")
    assert frame_number(reader(part, 0.5, READ)) == 5


def test_the_limit_of_pixels_holds_for_every_kind(write, reader):
    limited = ReadOptions(max_pixels=1000)
    for content in (heic(halves()), dng(halves()), dng(halves(), preview=jpeg(halves()))):
        with pytest.raises(BadImage, match=r"\d+ x \d+ pixels are more than 1,000") as caught:
            read_image(content, limited)
        assert caught.value.cause == "too_large"
    with pytest.raises(BadImage, match="64 x 48 pixels are more than 1,000"):
        reader(write(video([halves()])), 0, limited)


def test_absurd_sizes_are_errors():
    for sides in ((10**6, 10**6), (60_000, 60_000), (65_000, 2_000)):
        with pytest.raises(BadImage):
            read_image(dng(halves(), sides=sides))


def test_a_long_duration_in_the_header_is_not_believed(write):
    content = video([shade(9)] * 5)
    for box, at in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
        start = content.index(box) + at
        content = content[:start] + (2**31 - 1).to_bytes(4, "big") + content[start + 4 :]
    assert video_about(write(content), READ).last < 1


def test_playlists_are_not_opened(write):
    """FFmpeg follows them to other files and addresses."""
    for text in ("#EXTM3U\n#EXTINF:5,\n/etc/passwd\n", "ffconcat version 1.0\nfile /etc/passwd\n"):
        with pytest.raises(BadImage, match="not a video of a known format"):
            video_about(write(text.encode() * 20, "list.mp4"), READ)


def samples() -> dict[str, bytes]:
    image = halves(160, 120)
    frames = [shade(5 * number) for number in range(20)]
    return {
        "heic": heic(image),
        "dng": dng(image),
        "dng with a preview": dng(image, preview=jpeg(image)),
        "mp4": video(frames, codec="libx264"),
        "avi": video(frames, container="avi"),
        "mkv": video(frames, container="matroska", codec="libx264"),
        "ts": video(frames, container="mpegts", codec="libx264"),
        "tiff": tiff([image, image]),
    }


@pytest.mark.parametrize("name", samples().keys())
def test_damaged_files_are_read_or_refused_in_one_line(name, write, reader):
    """Truncations, flipped bytes and overwritten ranges, with fixed seeds."""
    content, rng = samples()[name], np.random.default_rng(7)
    variants = [content[: round(share * len(content))] for share in np.linspace(0.01, 0.99, 8)]
    for changes in (1, 4, 16, 64) * 6:
        damaged = np.frombuffer(content, np.uint8).copy()
        # Headers are at the front or, in an mp4, at the end.
        low = 0 if rng.random() < 0.7 else max(0, len(damaged) - 2000)
        high = min(len(damaged), 2000) if low == 0 and rng.random() < 0.7 else len(damaged)
        damaged[rng.integers(low, high, changes)] = rng.integers(0, 256, changes)
        variants.append(damaged.tobytes())
    refused = 0
    for variant in variants:
        try:
            if foreign_kind(variant) == "video":
                file = write(variant)
                video_about(file, READ)
                reader(file, 1, READ)
            else:
                assert decode(variant).ndim == 3
        except BadImage as error:
            refused += 1
            assert "\n" not in str(error) and str(error), error
    assert refused > 0, "no variant was damaged enough"


def test_a_crash_of_the_decoder_is_an_unreadable_image(monkeypatch):
    content = heic(halves(1200, 900))
    stopped = threading.Event()

    def kill() -> None:
        while not stopped.is_set():
            for worker in list(decoder_process._busy):
                if (process := worker._process) is not None:
                    os.kill(process.pid, signal.SIGSEGV)
                    return

    decode(content)  # so that the process runs
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(BadImage, match="its decoder crashed"):
            for _ in range(100):
                decode(content)
    finally:
        stopped.set()
        killer.join()
    assert decode(content).shape == (900, 1200, 3), "the next image has a process again"


def test_a_decoder_that_hangs_is_ended(monkeypatch):
    monkeypatch.setitem(decoder_process._PATIENCE, "heic", 0)
    with pytest.raises(BadImage, match="its decoder has not ended after 0 seconds"):
        decode(heic(halves(1200, 900)))
    monkeypatch.undo()
    assert decode(heic(halves())).shape == (48, 64, 3)


def test_threads_share_the_decoders():
    contents = [heic(shade(20 * number)) for number in range(8)]
    results: list[int] = [0] * 40

    def work(first: int) -> None:
        for number in range(first, 40, 8):
            results[number] = round(float(decode(contents[number % 8]).mean()) / 20)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [number % 8 for number in range(40)]
    assert len(decoder_process._idle) <= decoder_process._MOST_WORKERS


def test_a_forked_child_has_decoders_of_its_own(tmp_path):
    (tmp_path / "a.heic").write_bytes(heic(shade(100)))
    # In a process without JAX, whose threads a fork would copy half-way.
    code = (
        "import os, sys; from pathlib import Path; from bioclip_jax.pipeline.images import decode; "
        "content = Path(sys.argv[1]).read_bytes(); decode(content); child = os.fork(); "
        "print(round(float(decode(content).mean())), flush=True); "
        "child and sys.exit(os.waitpid(child, 0)[1])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.heic")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    values = [int(line) for line in run.stdout.splitlines()]
    assert len(values) == 2 and set(values) <= set(range(98, 103)) and run.returncode == 0, run


def test_libraries_are_imported_by_no_process_but_the_decoders(tmp_path):
    """A crash in them ends no one else, and they cost nothing where no such file is met."""
    (tmp_path / "a.heic").write_bytes(heic(halves()))
    code = (
        "import sys; from pathlib import Path; from bioclip_jax.pipeline.images import decode; "
        "print(decode(Path(sys.argv[1]).read_bytes()).shape); "
        "print(sorted({'pillow_heif', 'rawpy', 'av'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "a.heic")], capture_output=True, text=True
    )
    assert run.stdout == "(48, 64, 3)\n[]\n" and not run.stderr, run


def test_a_missing_library_is_named(monkeypatch):
    from bioclip_jax import file_kinds
    from bioclip_jax.pipeline.images import MissingLibrary

    content = heic(halves())
    monkeypatch.setattr(file_kinds.importlib.util, "find_spec", lambda name: None)
    file_kinds.has_extra.cache_clear()
    try:
        with pytest.raises(MissingLibrary, match="it is HEIC, which needs pillow-heif") as caught:
            decode(content)
        assert caught.value.advice == "pip install 'bioclip-jax[heic]'"
    finally:
        monkeypatch.undo()
        file_kinds.has_extra.cache_clear()


def test_no_decoder_outlives_its_parent(tmp_path):
    """Also one that is killed, whose pipes the system closes."""
    (tmp_path / "a.heic").write_bytes(heic(halves()))
    code = (
        "import os, sys; from pathlib import Path; "
        "from bioclip_jax.pipeline.images import decode, decoder_process; "
        "decode(Path(sys.argv[1]).read_bytes()); print(decoder_process._idle[0]._process.pid, flush=True); "
        "os.kill(os.getpid(), 9)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.heic")], capture_output=True, text=True
    )
    pid = int(run.stdout)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and _runs(pid):
        threading.Event().wait(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
