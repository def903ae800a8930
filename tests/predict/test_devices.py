"""Devices by name, and a model on several devices."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.predict.embedder import Embedder
from bioclip_jax.predict.model import local_devices


def test_devices_by_kind_and_number():
    here = jax.local_devices()
    assert local_devices() == local_devices("cpu") == local_devices("CPU") == here
    assert local_devices("cpu:0") == here[:1] and local_devices("cpu:7") == here[7:]


@pytest.mark.parametrize(
    "name, message",
    [
        ("mps", "use cpu"),
        ("cuda", "use cpu"),
        ("cuda:1", "use cpu"),
        ("gpu", "use cpu"),
        ("tpu", "use cpu"),
        ("cpu:8", "cpu:0 to cpu:7"),
        ("cpu:", "cuda:1"),
        ("cpu:-1", "cuda:1"),
        ("cpu:x", "cuda:1"),
        ("", "choose cpu"),
        ("xpu", "choose cpu"),
    ],
)
def test_a_missing_device_is_one_line(name, message):
    with pytest.raises(UserError) as caught:
        local_devices(name)
    assert message in str(caught.value) and name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [1, 21])
def test_vectors_are_equal_on_one_and_on_eight_devices(bundle, number):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (32, 40, 3), np.uint8) for _ in range(number)]
    one, eight = (Embedder(bundle, batch_size=8, devices=local_devices(name)) for name in ("cpu:3", "cpu"))
    assert one.mesh.size == 1 and eight.mesh.size == 8
    assert {array.device for array in jax.tree.leaves(one.params)} == {jax.local_devices()[3]}
    np.testing.assert_allclose(one.images(pictures), eight.images(pictures), atol=2e-6)
