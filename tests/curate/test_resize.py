"""Resizing for shards: the toolbox's pixels against plain OpenCV, antialiasing, EXIF."""

import csv
import io

import cv2
import numpy as np
import pytest
from build_inputs import encoded, photograph
from PIL import Image

from bioclip_jax.cli import main
from bioclip_jax.curate.build import BuildSettings
from bioclip_jax.curate.build.resize import decode_reduced, resized_jpeg
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import decode
from bioclip_jax.pipeline.sources import open_source

# Width, height: shrunk, enlarged, and shrunk along one side only, which counts as enlarged.
SIZES = [(400, 300), (1800, 1350), (60, 50), (300, 40), (64, 300)]


def toolbox_pixels(content: bytes, size: int) -> np.ndarray:
    """RGB pixels that the toolbox encodes, computed with its own library."""
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    shrinks = size < min(picture.shape[:2])
    resized = cv2.resize(
        picture, (size, size), interpolation=cv2.INTER_CUBIC if shrinks else cv2.INTER_LANCZOS4
    )
    return resized[:, :, ::-1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_toolbox_resampling_equals_opencv(kind, size):
    data = encoded(photograph(3, *size), kind)
    settings = BuildSettings(size=64, resample="toolbox")
    resized = resized_jpeg(data, decode_reduced(data, 128), settings)
    pillows = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(toolbox_pixels(data, 64))).save(pillows, "JPEG", quality=95)
    # OpenCV, at its default quality, and Pillow encode equal pixels to equal bytes.
    assert (
        resized
        == cv2.imencode(".jpg", toolbox_pixels(data, 64)[:, :, ::-1])[1].tobytes()
        == pillows.getvalue()
    )


def test_default_resampling_does_not_alias_and_the_toolboxs_does():
    stripes = np.zeros((631, 631, 3), np.uint8)
    stripes[:, ::3] = 255
    data = encoded(stripes, "PNG")
    deviation = {}
    for resample in ("antialias", "toolbox"):
        settings = BuildSettings(size=64, resample=resample)
        deviation[resample] = decode(resized_jpeg(data, decode_reduced(data, 128), settings)).std()
    assert deviation["antialias"] < 10 < 50 < deviation["toolbox"], deviation


def test_command_line_builds_with_both_resamplings(tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    with (photos / "metadata.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["filepath", "kingdom", "genus", "species"])
        for number, size in enumerate(SIZES):
            (photos / f"{number}.png").write_bytes(encoded(photograph(number, *size), "PNG"))
            rows.writerow([f"{number}.png", "Plantae", "Malus", f"sp{number}"])
    command = ["shards", "build", str(photos)]
    for resample in ("toolbox", "antialias"):
        options = ["--resample", resample] if resample == "toolbox" else []
        assert (
            main([*command, str(tmp_path / resample), "--size", "64", "--processes", "0", "--json", *options])
            == 0
        )
    for resample in ("toolbox", "antialias"):
        source = open_source(tmp_path / resample)
        assert len(source) == len(SIZES)
        for sample in (source[index] for index in range(len(source))):
            content = (photos / f"{sample.taxon.species.removeprefix('sp')}.png").read_bytes()
            expected = toolbox_pixels(content, 64)
            if resample == "antialias":
                picture = Image.open(io.BytesIO(content))
                expected = np.asarray(picture.resize((64, 64), Image.Resampling.LANCZOS))
            difference = np.abs(decode(sample.image).astype(int) - expected).mean()
            assert difference < 6, f"{resample}, {sample.taxon.species}: {difference:.1f} gray levels off"


def test_exif_orientation_is_applied_unless_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(photograph(3, 300, 200)).save(stream, "JPEG", quality=95, exif=exif)
    data = stream.getvalue()
    upright, stored = (
        decode(resized_jpeg(data, decode_reduced(data, 128, settings.read), settings)).astype(int)
        for settings in (BuildSettings(size=64, exif=exif) for exif in ("apply", "ignore"))
    )
    assert np.abs(np.rot90(stored, -1) - upright).mean() < 4 < np.abs(stored - upright).mean()


def test_invalid_resampling_and_exif_settings_are_refused():
    with pytest.raises(UserError, match="resample is 'lanczos'; choose antialias or toolbox"):
        BuildSettings(resample="lanczos")
    with pytest.raises(UserError, match="exif is 'turn'; choose apply or ignore"):
        BuildSettings(exif="turn")
