"""The embedded data set, built once for these tests."""

import pytest
import tensorflow_datasets as tfds

import bioclip_jax.datasets  # noqa: F401  registers the builders


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """Build a configuration of tree_of_life_mini in a temporary folder."""

    def _build(config):
        folder = tmp_path_factory.mktemp("tree_of_life_mini")
        builder = tfds.builder(
            "tree_of_life_mini", config=config, data_dir=folder, file_format="array_record"
        )
        builder.download_and_prepare()
        return builder

    return _build


@pytest.fixture(scope="session")
def tiny(build):
    """The smallest configuration, with every feature and split."""
    return build("tiny")
