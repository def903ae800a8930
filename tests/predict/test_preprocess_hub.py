"""pybioclip's preprocessing against its own code, and its choice by a model's origin."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from bioclip.predict import BaseClassifier, preprocess_img
from flax import nnx
from PIL import Image
from torchvision import transforms

from bioclip_jax.convert.published import Origin
from bioclip_jax.models import graphdef
from bioclip_jax.predict.embedder import Embedder
from bioclip_jax.predict.preprocess import Squash, choose_preprocess, load_pixels

SQUASH = Squash(224)


def assert_pybioclips(image):
    expected = preprocess_img(BaseClassifier.ensure_rgb_image(image)).permute(1, 2, 0).numpy()
    pixels = load_pixels(image, SQUASH)
    assert pixels.dtype == np.float32 and pixels.shape == (224, 224, 3)
    actual = (pixels / 255 - np.float32(SQUASH.mean)) / np.float32(SQUASH.std)
    np.testing.assert_allclose(
        actual, expected, atol=1e-5, err_msg=f"{image} is seen otherwise than by pybioclip"
    )


@pytest.mark.shared_data
def test_photographs_of_every_mode_equal_pybioclips(photographs):
    for path in photographs:
        assert_pybioclips(str(path))


@pytest.mark.shared_data
@pytest.mark.parametrize("size", [(60, 45), (223, 225), (224, 90), (1200, 900), (3000, 20), (20, 3000)])
def test_photographs_of_any_size_equal_pybioclips(photographs, size):
    assert_pybioclips(Image.open(photographs[0]).resize(size, Image.Resampling.LANCZOS))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (224, 224), (225, 223), (448, 448), (500, 7)])
def test_noise_equals_pybioclips(size):
    # Maximally different neighbors reveal errors in the last digits of the weights.
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    assert_pybioclips(Image.fromarray(noise))


@pytest.mark.parametrize(
    "name, squashed",
    [
        ("hf-hub:imageomics/bioclip", True),
        ("hf-hub:imageomics/bioclip-2", True),
        ("hf-hub:imageomics/bioclip-2.5-vith14", False),
        ("hf-hub:imageomics/biocap", False),
        (None, False),
    ],
)
def test_published_models_are_squashed_as_in_pybioclip(bundle, name, squashed):
    """The rule is pybioclip's own: `preprocess_img if model_str in TOL_MODELS else preprocess`."""
    from bioclip._constants import TOL_MODELS

    assert squashed == (name in TOL_MODELS)
    chosen = choose_preprocess(dataclasses.replace(bundle, origin=Origin.of(name)))
    assert chosen == (Squash(32) if squashed else bundle.preprocess)


@pytest.mark.parametrize("origin", [Origin(), Origin.of("hf-hub:imageomics/bioclip-2")])
def test_the_transform_can_be_overridden(bundle, origin):
    bundle = dataclasses.replace(bundle, origin=origin)
    assert choose_preprocess(bundle, "model") == bundle.preprocess
    assert choose_preprocess(bundle, "pybioclip") == Squash(32)


def test_a_finetuned_model_keeps_its_mean_and_std(bundle):
    own = dataclasses.replace(bundle.preprocess, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))
    published = dataclasses.replace(bundle, preprocess=own, origin=Origin.of("hf-hub:imageomics/bioclip"))
    assert choose_preprocess(published).mean == SQUASH.mean, (
        "pybioclip normalizes by OpenAI's mean, regardless of the file"
    )
    tuned = choose_preprocess(dataclasses.replace(published, origin=Origin(None, "pybioclip")))
    assert isinstance(tuned, Squash) and (tuned.mean, tuned.std) == (own.mean, own.std)


def test_vectors_equal_those_of_torchvisions_pixels(bundle):
    rng = np.random.default_rng(1)
    pictures = [Image.fromarray(rng.integers(0, 256, (40, width, 3), np.uint8)) for width in (50, 90, 20)]
    mean, std = SQUASH.mean, SQUASH.std
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Resize((32, 32), antialias=True), transforms.Normalize(mean, std)]
    )
    pixels = np.stack([transform(picture).permute(1, 2, 0).numpy() for picture in pictures])
    model = nnx.merge(graphdef(bundle.config, replay_projector=True), bundle.params)
    published = dataclasses.replace(bundle, origin=Origin.of("hf-hub:imageomics/bioclip-2"))
    actual = Embedder(published).images(pictures)
    np.testing.assert_allclose(actual, model.encode_image(pixels), atol=5e-6)
    assert np.abs(actual - Embedder(bundle).images(pictures)).max() > 1e-3, (
        "both transforms look the same here"
    )
