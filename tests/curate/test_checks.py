"""Pictures of nothing are told from pictures of something."""

import cv2
import numpy as np
import pytest

from bioclip_jax.curate.cleaning.checks import ImageChecks, field_range
from bioclip_jax.pipeline.images import decode

RNG = np.random.default_rng(0)


def noisy(light: np.ndarray | float, deviation: float, height: int = 300, width: int = 400) -> np.ndarray:
    values = np.zeros((height, width, 3)) + light
    return np.clip(values + RNG.normal(0, deviation, values.shape), 0, 255).astype(np.uint8)


def specimen(radius: int) -> np.ndarray:
    return cv2.circle(noisy(250, 1, 600, 800), (300, 200), radius, (90, 80, 70), -1)


BLANK = {
    "blank": noisy(128, 0),
    "white page": noisy(254, 1),
    "covered lens": noisy(3, 4),
    "covered lens, high sensitivity": noisy(8, 10),
    "paper that darkens to its corners": noisy(
        240 - 8 * np.hypot(*np.mgrid[-1:1:300j, -1:1:400j])[..., None], 2
    ),
}
SOUND = {
    "a small insect on white": specimen(10),
    "a specimen on white": specimen(150),
    "sky": noisy(np.linspace(120, 180, 300)[:, None, None], 2),
    "red on green of one lightness": cv2.rectangle(
        noisy([90, 130, 60], 2), (100, 100), (300, 200), (170, 92, 60), -1
    ),
}


@pytest.mark.parametrize("name", BLANK)
def test_pictures_of_nothing_are_uniform(name):
    cause, detail = ImageChecks()(BLANK[name], 400, 300) or ("kept", "")
    assert (cause, detail) == ("uniform", f"range {field_range(BLANK[name])} of 255"), name
    assert ImageChecks(min_range=0)(BLANK[name], 400, 300) is None


@pytest.mark.parametrize("name", SOUND)
def test_pictures_of_something_are_not(name):
    assert ImageChecks()(SOUND[name], 800, 600) is None, field_range(SOUND[name])


def test_the_size_that_counts_is_the_stored_one():
    assert ImageChecks(min_side=32)(SOUND["sky"], 31, 400) == ("tiny", "31 x 400 pixels")
    assert ImageChecks(min_side=32)(SOUND["sky"][:8, :8], 32, 32) != ("tiny", "32 x 32 pixels")
    assert ImageChecks(min_side=0, min_range=0)(SOUND["sky"], 1, 1) is None


@pytest.mark.shared_data
def test_no_photograph_is_removed(shared_data):
    files = sorted((shared_data / "produce").glob("*/images/**/*.jpg"))[::4]
    for file in files:
        pixels = decode(file.read_bytes(), 64)
        assert ImageChecks()(pixels, 256, 256) is None, file
        assert field_range(pixels) > 100, file
