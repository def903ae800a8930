"""A memory card's photographs, and a detector's file about them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from memory_card import ABSENT, CARD, megadetector
from PIL import Image

from bioclip_jax.predict.taxa.build import build_taxa


@pytest.fixture(scope="session")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of photographs, of 96 x 64 pixels, each a gradient of other colors."""
    folder = tmp_path_factory.mktemp("card")
    random = np.random.default_rng(5)
    for name in sorted([*CARD, ABSENT]):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        corners = random.integers(0, 255, (3, 4, 3)).astype(np.uint8)
        Image.fromarray(corners).resize((96, 64), Image.Resampling.BICUBIC).save(path, "JPEG", quality=92)
    return folder


@pytest.fixture
def detections(tmp_path: Path) -> Path:
    path = tmp_path / "md.json"
    path.write_text(json.dumps(megadetector()))
    return path


@pytest.fixture(scope="session")
def taxa(model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeddings of three taxa, one without a common name."""
    table = tmp_path_factory.mktemp("taxa") / "names.csv"
    table.write_text(
        "kingdom,phylum,class,order,family,genus,species,common_name\n"
        "Animalia,Chordata,Mammalia,Carnivora,Canidae,Vulpes,vulpes,Red Fox\n"
        "Animalia,Chordata,Aves,Strigiformes,Strigidae,Strix,aluco,Tawny Owl\n"
        "Animalia,Chordata,Amphibia,Caudata,Salamandridae,Triturus,cristatus,\n"
    )
    path = table.with_name("taxa.safetensors")
    build_taxa(str(table), model, path)
    return path
