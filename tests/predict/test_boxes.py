"""Crops of boxes: pixels, orientation, degenerate boxes, the journal's keys and thumbnails."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from bioclip_jax.pipeline.images import BadImage, Preprocess, ReadOptions
from bioclip_jax.predict import Box, ImageFile, load_ahead, load_pixels
from bioclip_jax.predict.crop import LEAST_SIDE, crop, pixel_edges
from bioclip_jax.predict.journal import image_keys
from bioclip_jax.predict.report.page import thumbnails

EXIF = Image.Exif()
EXIF[0x0112] = 6
SQUASH = Preprocess(size=32, resize_mode="squash")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    x, y = np.meshgrid(np.arange(96), np.arange(64))
    return Image.fromarray(np.stack([x * 2, y * 3, (x * y) % 251], -1).astype(np.uint8))


def test_crop_has_the_pixels_of_the_box(picture, tmp_path):
    picture.save(tmp_path / "a.png")
    box = Box(0.25, 0.125, 0.5, 0.25)
    expected = SQUASH(picture.crop((24, 8, 72, 24)))
    path = str(tmp_path / "a.png")
    np.testing.assert_array_equal(load_pixels(ImageFile(path, path, box=box), SQUASH), expected)


@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_box_is_cut_out_of_the_upright_image(picture, tmp_path, exif):
    picture.save(tmp_path / "turned.png", exif=EXIF)
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "turned.png"))
    assert upright.size == (64, 96)
    path = str(tmp_path / "turned.png")
    preprocess = Preprocess(size=32, resize_mode="squash", read=ReadOptions(exif=exif))
    pixels = load_pixels(ImageFile(path, path, box=Box(0.5, 0, 0.5, 0.5)), preprocess)
    np.testing.assert_array_equal(pixels, SQUASH(upright.crop((32, 0, 64, 48)).convert("RGB")))


@given(
    st.tuples(*[st.floats(-2, 2)] * 2, *[st.floats(0, 2)] * 2),
    st.integers(1, 5000),
    st.integers(1, 5000),
)
def test_edges_are_in_the_image_and_in_order(sides, width, height):
    left, top, right, bottom = pixel_edges(Box(*sides), width, height)
    assert 0 <= left <= right <= width and 0 <= top <= bottom <= height
    # Each edge is at most half a pixel from where the box says, or at the image's border.
    for edge, share, size in ((left, sides[0], width), (bottom, sides[1] + sides[3], height)):
        assert abs(edge - min(max(share * size, 0), size)) <= 0.5 + 1e-6


@pytest.mark.parametrize(
    "box", [Box(0.5, 0.5, 0, 0), Box(0.5, 0.5, 0.001, 0.9), Box(2, 0, 1, 1), Box(0, 0, float("nan"), 1)]
)
def test_degenerate_box_is_one_unreadable_image_among_others(picture, tmp_path, box):
    path = str(tmp_path / "a.png")
    picture.save(path)
    images = [ImageFile(path, path, box=box), ImageFile(path, path, box=Box(0, 0, 0.5, 0.5))]
    bad, good = (loaded for _, loaded in load_ahead(enumerate(images), SQUASH, 2))
    message = str(bad)
    assert message.startswith(path) and "box" in message and "\n" not in message, message
    assert "--detection-threshold" in message, message
    assert good.shape == (32, 32, 3)


def test_least_side_is_readable(picture):
    size = LEAST_SIDE
    assert crop(picture, Box(0, 0, size / 96, size / 64)).size == (size, size)
    with pytest.raises(BadImage, match=f"{size - 1} x {size} pixels"):
        crop(picture, Box(0, 0, (size - 1) / 96, size / 64))


def test_keys_of_whole_images_are_those_of_old_journals(picture, tmp_path):
    path = str(tmp_path / "a.png")
    picture.save(path)
    status = os.stat(path)
    # The text that was hashed before images had boxes.
    text = json.dumps([path, path, 0, None, [status.st_size, status.st_mtime_ns]])
    old = np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], "<i8")[0]
    boxes = [None, Box(0, 0, 1, 1), Box(0, 0, 0.5, 1)]
    keys = image_keys([ImageFile(path, path, box=box) for box in boxes])
    assert keys[0] == old
    assert len(set(keys.tolist())) == 3, "images with different boxes have the same key"


def test_thumbnail_shows_the_crop(tmp_path):
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[150:, 200:] = 255
    path = str(tmp_path / "a.jpg")
    Image.fromarray(pixels).save(path, quality=95)
    urls = thumbnails(
        [ImageFile(path, path, box=box) for box in (Box(0.5, 0.5, 0.5, 0.5), Box(0, 0, 0.5, 0.5))]
    )
    means = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))).mean() for url in urls
    ]
    assert means[0] > 250 and means[1] < 5, means
