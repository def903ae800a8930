"""The crop on the device matches OpenCV."""

import cv2
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_shards import encoded, good_sample, picture, write_tar

from bioclip_jax.errors import UserError
from bioclip_jax.models import crop_and_resize
from bioclip_jax.pipeline.batches import train_batches
from bioclip_jax.pipeline.images import ImageConfig
from bioclip_jax.pipeline.sources import open_source

SIZE = 40
RESAMPLING = {"bicubic": cv2.INTER_CUBIC, "bilinear": cv2.INTER_LINEAR}


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(sorted(RESAMPLING)), st.booleans())
def test_crop_and_resize_matches_opencv(data, interpolation, mirror):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    image = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    height, width = data.draw(st.integers(1, SIZE)), data.draw(st.integers(1, SIZE))
    top, left = data.draw(st.integers(0, SIZE - height)), data.draw(st.integers(0, SIZE - width))
    crop = image[top : top + height, left : left + width]
    expected = cv2.resize(crop, (SIZE, SIZE), interpolation=RESAMPLING[interpolation])
    expected = expected[:, ::-1] if mirror else expected
    boxes = np.array([[top, left, height, width, mirror]], np.float32)
    actual = np.asarray(crop_and_resize(image[None], boxes, interpolation))[0]
    difference = np.abs(actual.astype(int) - expected)
    assert difference.max() <= 1, (
        f"{difference.max()} levels for the box {boxes[0].tolist()} ({interpolation})"
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A folder with 20 samples, most of them of 40 x 40 pixels."""
    folder = tmp_path_factory.mktemp("stored")
    samples = [good_sample(number) for number in range(20)]
    for number, sample in enumerate(samples[:16]):
        sample["jpg"] = encoded(picture(number, (SIZE, SIZE)), quality=95)
    samples[15]["jpg"] = encoded(picture(15, (SIZE, SIZE)), "PNG")
    # Smaller than the model's size, so that it fits into the result's memory.
    samples[14]["jpg"] = encoded(picture(14, (SIZE - 9, SIZE - 20)), quality=95)
    write_tar(folder / "a.tar", samples)
    return folder


@pytest.mark.parametrize("workers", [0, 1])
def test_device_crops_match_host_crops_to_one_level(stored, workers):
    batches_of = {}
    for where in ("host", "device"):
        image = ImageConfig(crop=where, mirror=True, scale=(0.5, 1.0))
        batches = train_batches(
            open_source(stored), image_size=SIZE, image=image, seed=4, global_batch_size=20, workers=workers
        )
        batches_of[where] = [next(batches) for _ in range(3)]
        batches.close()
    for host, device in zip(batches_of["host"], batches_of["device"]):
        assert device["crop"].shape == (20, 5) and (device["crop"][:, 4] == 1).any()
        np.testing.assert_array_equal(host["tokens"], device["tokens"])
        cropped = jax.jit(crop_and_resize, static_argnums=2)(device["image"], device["crop"], "bicubic")
        difference = np.abs(np.asarray(cropped).astype(int) - host["image"]).max()
        assert difference <= 1, f"pixels differ by {difference} levels"


def test_color_changes_are_refused():
    with pytest.raises(UserError, match="changes no colors"):
        ImageConfig(crop="device", hue=0.1)
    with pytest.raises(UserError, match="image.crop is 'gpu'"):
        ImageConfig(crop="gpu")
