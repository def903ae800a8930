"""A small model, a folder of images, and protocols to score them by."""

import jax
import numpy as np
import pytest
from evaluation_parts import CONFIG, CountingSource, write_folder

from bioclip_jax.convert import ModelBundle, write_model_directory
from bioclip_jax.evaluate.evaluator import Evaluator
from bioclip_jax.models import init_params
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.pipeline.sources import FolderSource


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory):
    params = jax.tree.map(np.array, init_params(CONFIG, seed=4))
    # The model's transform crops, while predictions squash.
    preprocess = Preprocess(CONFIG.vision.image_size, resize_mode="shortest")
    bundle = ModelBundle(CONFIG, params, preprocess, "ViT-Test-16", "a test")
    return write_model_directory(bundle, tmp_path_factory.mktemp("models") / "small", replay_projector=False)


@pytest.fixture(scope="session")
def evaluator(model_directory):
    return Evaluator(str(model_directory), batch_size=8, cache=False)


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "photos")


@pytest.fixture
def source(folder):
    return CountingSource(FolderSource(folder, folder / "metadata.csv"))
