"""Planted bursts: frames of each image, and figures that follow from the rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bioclip_jax.bench.field.bursts import WAYS, bursts_table, degrade, measure_bursts
from bioclip_jax.convert import ModelBundle, write_model_directory
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config, init_params
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.predict import load_model
from bioclip_jax.predict.taxa import build_taxa


@pytest.fixture(scope="module")
def labeled(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("labeled")
    rows = ["filepath,kingdom,phylum,class,order,family,genus,species"]
    for index, color in enumerate(("red", "green", "blue")):
        Image.new("RGB", (48, 40), color).save(folder / f"{index}.png")
        rows.append(f"{index}.png,K,P,C,O,F,G,s{index}")
    (folder / "metadata.csv").write_text("\n".join(rows))
    return folder


def test_every_burst_is_answered_in_each_way(labeled, tmp_path):
    config = get_config("ViT-Test-16")
    params = init_params(config, seed=2)
    bundle = ModelBundle(config, params, Preprocess(config.vision.image_size), "ViT-Test-16", "a test")
    model = write_model_directory(bundle, tmp_path / "model", replay_projector=False)
    build_taxa(labeled / "metadata.csv", load_model(model), None)
    result = measure_bursts(str(labeled), str(model), bursts=3, severity=0.0)
    assert result["bursts"] == 3 and 9 <= result["frames"] <= 24
    values = {way: result["accuracy"][way]["value"] for way in WAYS}
    assert len({round(value, 6) for way, value in values.items() if way != "frames"}) == 1, (
        f"copies of one image have different answers: {values}"
    )
    assert "--events, pooled" in bursts_table(result)


def test_images_without_a_species_are_refused(labeled, tmp_path):
    (tmp_path / "metadata.csv").write_text(f"filepath,kingdom\n{labeled / '0.png'},K\n")
    with pytest.raises(UserError, match="has no species; give images with their ranks"):
        measure_bursts(str(tmp_path), "no-model", bursts=1)


def test_damage_grows_with_severity():
    picture = Image.linear_gradient("L").convert("RGB")
    pixels = np.asarray(picture, float)

    def damage(severity: float) -> float:
        rng = np.random.default_rng(1)
        frames = (np.asarray(degrade(picture, severity, rng), float) for _ in range(8))
        return float(np.mean([np.abs(frame - pixels).mean() for frame in frames]))

    assert damage(0.0) == 0 < damage(0.25) < damage(1.0)
