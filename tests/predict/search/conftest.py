"""An index of eight small images."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bioclip_jax
from bioclip_jax.predict.search.build import build_index

TAXA = {
    "apple": ("Rosales", "Rosaceae", "Malus", "domestica"),
    "oak": ("Fagales", "Fagaceae", "Quercus", "robur"),
}


@pytest.fixture(scope="session")
def gallery(tmp_path_factory):
    """Eight images with a metadata.csv: four apples, three oaks, and one without a label."""
    folder = tmp_path_factory.mktemp("gallery")
    rng = np.random.default_rng(3)
    with open(folder / "metadata.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filepath", "order", "family", "genus", "species", "common_name", "locality", "id"])
        for number in range(8):
            name = "apple" if number < 4 else "oak" if number < 7 else ""
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"{number}.png")
            table.writerow(
                [
                    f"{number}.png",
                    *TAXA.get(name, ("",) * 4),
                    name,
                    "St. John's" if number % 2 else "Kew",
                    number,
                ]
            )
    return folder


@pytest.fixture(scope="session")
def index_model(model_directory):
    return bioclip_jax.load_model(model_directory, batch_size=8)


@pytest.fixture(scope="session")
def built(gallery, model_directory, tmp_path_factory):
    directory = tmp_path_factory.mktemp("built") / "index #1, 100%"
    result = build_index([gallery], str(model_directory), directory)
    assert [result[name] for name in ("added", "known", "count", "recall")] == [8, 0, 8, None]
    return directory


@pytest.fixture
def index(built, tmp_path):
    """A copy of the built index, to modify."""
    return Path(shutil.copytree(built, tmp_path / "index"))
