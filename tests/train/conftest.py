"""Fixtures: a small folder of real tars, and a config that trains on it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bioclip_jax.text import Taxon, captions_from_taxon

TAXA = [
    Taxon("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Malus", "domestica", "apple"),
    Taxon("Plantae", "Tracheophyta", "Liliopsida", "Zingiberales", "Musaceae", "Musa", "acuminata", "banana"),
    Taxon(
        "Animalia",
        "Chordata",
        "Aves",
        "Passeriformes",
        "Thraupidae",
        "Geospiza",
        "fortis",
        "medium ground finch",
    ),
    Taxon(
        "Fungi",
        "Basidiomycota",
        "Agaricomycetes",
        "Agaricales",
        "Amanitaceae",
        "Amanita",
        "muscaria",
        "fly agaric",
    ),
]


def write_shard(path: Path, samples: int, seed: int = 0) -> None:
    """Write a TreeOfLife tar of striped images, the offset of whose stripes is the species."""
    rng = np.random.default_rng(seed)
    with tarfile.open(path, "w") as tar:
        for i in range(samples):
            species = i % len(TAXA)
            pixels = rng.integers(0, 120, (40, 40, 3), np.uint8)
            pixels[species::4] += np.uint8(100)
            image = io.BytesIO()
            Image.fromarray(pixels).save(image, "JPEG", quality=95)
            files = {"jpg": image.getvalue()}
            files |= {
                f"{name}.txt": text.encode() for name, text in captions_from_taxon(TAXA[species]).items()
            }
            for name, content in files.items():
                member = tarfile.TarInfo(f"{path.stem}-{i:05d}.{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    write_shard(folder / "shard-00000.tar", 40, seed=0)
    write_shard(folder / "shard-00001.tar", 24, seed=1)
    return folder


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Path:
    """Return a config file that trains the smallest model on `shards` and logs every step."""
    file = tmp_path_factory.mktemp("configs") / "tiny.py"
    file.write_text(
        f"""
from bioclip_jax.configs import common

def get_config():
    config = common.defaults()
    config.data.train = {str(shards)!r}
    config.data.val = {str(shards)!r}
    config.model = "ViT-Test-16"
    config.global_batch_size = 16
    config.total_steps = 30
    config.learning_rate = 1e-3
    config.warmup_steps = 5
    config.log_every = 1
    config.checkpoint_every = 10
    return config
"""
    )
    return file
