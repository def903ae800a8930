"""A small exported model, and photographs in many modes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from bioclip_jax.convert import ModelBundle, write_model_directory
from bioclip_jax.models import get_config, init_params
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.predict import Model, load_model


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's cache out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def bundle() -> ModelBundle:
    """ViT-Test-16 with random weights, a discriminative temperature, and an import's replay projector."""
    config = get_config("ViT-Test-16")
    params = jax.tree.map(np.array, init_params(config, seed=2, replay_projector=True))
    params["logit_scale"] = np.float32(math.log(60))
    return ModelBundle(config, params, Preprocess(config.vision.image_size), "ViT-Test-16", "a test")


@pytest.fixture(scope="session")
def model_directory(bundle: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_directory(bundle, tmp_path_factory.mktemp("models") / "small", replay_projector=True)


@pytest.fixture(scope="session")
def model(model_directory: Path) -> Model:
    """The model, loaded once, so that its towers are compiled once."""
    return load_model(model_directory, batch_size=8)


@pytest.fixture(scope="session")
def photographs(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two photographs, and one as gray, palette, transparent and CMYK image."""
    files = sorted((shared_data / "produce" / "val" / "images").rglob("*.jpg"))
    folder = tmp_path_factory.mktemp("photographs")
    picture = Image.open(files[50])
    made = {"gray.jpg": "L", "palette.png": "P", "alpha.png": "RGBA", "cmyk.jpg": "CMYK"}
    for name, mode in made.items():
        converted = picture.convert(mode)
        if mode == "RGBA":
            converted.putalpha(Image.linear_gradient("L").resize(picture.size))
        converted.save(folder / name)
    return [files[0], files[100], *(folder / name for name in made)]
