"""Images that are not square, and small model directories."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from bioclip_jax.convert.export import write_model_directory
from bioclip_jax.convert.load import ModelBundle
from bioclip_jax.models import get_config, init_params
from bioclip_jax.pipeline.images import Preprocess


@pytest.fixture(scope="session")
def photographs(shared_data: Path) -> list[Image.Image]:
    """Two RGB images, one wide and one tall: photographs if available, else drawn."""
    files = sorted((shared_data / "produce/train/images").rglob("*.jpg"))
    wide, tall = None, None
    for file in files:
        image = Image.open(file)
        wide = image if wide is None and image.width > 1.2 * image.height else wide
        tall = image if tall is None and image.height > 1.2 * image.width else tall
        if wide and tall:
            return [wide.convert("RGB"), tall.convert("RGB")]
    x, y = np.meshgrid(np.linspace(0, 9, 301), np.linspace(0, 7, 222))
    waves = [np.sin(x * y), np.cos(3 * x + y), np.sin(x - y * y)]
    drawn = Image.fromarray(np.uint8(127.5 + 127.5 * np.stack(waves, -1)))
    return [drawn, drawn.transpose(Image.Transpose.ROTATE_90)]


@pytest.fixture(scope="session")
def small_bundle() -> ModelBundle:
    """ViT-Test-16 with fresh weights, a different replay projector, and a squashing transform."""
    config = get_config("ViT-Test-16")
    params = jax.tree.map(np.array, init_params(config, seed=1, replay_projector=True))
    params["visual"]["continual_proj"] = params["visual"]["continual_proj"][::-1].copy()
    preprocess = Preprocess(
        size=config.vision.image_size, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25), resize_mode="squash"
    )
    return ModelBundle(config, params, preprocess, "ViT-Test-16", "a test")


@pytest.fixture(scope="session")
def model_directory(small_bundle: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`small_bundle` as `bioclip-jax export` writes it."""
    return write_model_directory(
        small_bundle, tmp_path_factory.mktemp("models") / "small", replay_projector=False
    )


@pytest.fixture(scope="session")
def imported_directory(small_bundle: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`small_bundle` as `bioclip-jax import` writes it, with its replay projector."""
    return write_model_directory(
        small_bundle, tmp_path_factory.mktemp("models") / "imported", replay_projector=True
    )
