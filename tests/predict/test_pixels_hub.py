"""The two published models see what pybioclip shows them, and every other model its own transform."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from bioclip.predict import BaseClassifier, preprocess_img
from flax import nnx
from PIL import Image
from torchvision import transforms

from bioclip_jax.models import graphdef
from bioclip_jax.predict.embedder import Embedder
from bioclip_jax.predict.pixels import load_pixels, prediction_preprocess
from bioclip_jax.predict.squash import Squash

SQUASH = Squash(224)


def assert_pybioclips(image):
    expected = preprocess_img(BaseClassifier.ensure_rgb_image(image)).permute(1, 2, 0).numpy()
    pixels = load_pixels(image, SQUASH)
    assert pixels.dtype == np.float32 and pixels.shape == (224, 224, 3)
    found = (pixels / 255 - np.float32(SQUASH.mean)) / np.float32(SQUASH.std)
    np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=f"{image} is seen otherwise than by pybioclip")


@pytest.mark.shared_data
def test_photographs_of_every_mode(photographs):
    for path in photographs:
        assert_pybioclips(str(path))


@pytest.mark.shared_data
@pytest.mark.parametrize("size", [(60, 45), (223, 225), (224, 90), (1200, 900), (3000, 20), (20, 3000)])
def test_a_photograph_of_any_size(photographs, size):
    assert_pybioclips(Image.open(photographs[0]).resize(size, Image.Resampling.LANCZOS))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (224, 224), (225, 223), (448, 448), (500, 7)])
def test_noise(size):
    # Neighbors that differ as much as they can show the weights' last digits.
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    assert_pybioclips(Image.fromarray(noise))


@pytest.mark.parametrize(
    "source, squashed",
    [
        ("hf-hub:imageomics/bioclip", True),
        ("hf-hub:imageomics/bioclip-2", True),
        ("local-dir:/x/hf-hub:imageomics/bioclip", False),
        ("hf-hub:imageomics/bioclip-2.5", False),
    ],
)
def test_only_the_two_published_models_are_squashed(bundle, source, squashed):
    chosen = prediction_preprocess(dataclasses.replace(bundle, source=source))
    assert chosen == (Squash(32) if squashed else bundle.preprocess)


def test_vectors_are_those_of_torchvisions_pixels(bundle):
    rng = np.random.default_rng(1)
    pictures = [Image.fromarray(rng.integers(0, 256, (40, width, 3), np.uint8)) for width in (50, 90, 20)]
    mean, std = SQUASH.mean, SQUASH.std
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Resize((32, 32), antialias=True), transforms.Normalize(mean, std)]
    )
    pixels = np.stack([transform(picture).permute(1, 2, 0).numpy() for picture in pictures])
    model = nnx.merge(graphdef(bundle.config, replay_projector=True), bundle.params)
    published = dataclasses.replace(bundle, source="hf-hub:imageomics/bioclip-2")
    found = Embedder(published).images(pictures)
    np.testing.assert_allclose(found, model.encode_image(pixels), atol=5e-6)
    assert np.abs(found - Embedder(bundle).images(pictures)).max() > 1e-3, "both transforms look the same here"
