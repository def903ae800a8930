"""Inheritance of prediction transform and patch dropout from init_from to run, checkpoint and export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from training_process import Training

from bioclip_jax.checkpoint import Checkpoints, TrainingDirectory
from bioclip_jax.cli import main
from bioclip_jax.cli.config import read_config
from bioclip_jax.convert import ModelBundle, export_model, resolve, write_model_directory
from bioclip_jax.convert.published import Origin
from bioclip_jax.models import get_config, init_params
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.predict.preprocess import Squash, choose_preprocess
from bioclip_jax.train.config import train_config
from bioclip_jax.train.train import _inherit

NAME = "hf-hub:imageomics/bioclip-2"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an import of BioCLIP 2 with small weights and patch dropout in its configuration."""
    config = get_config("ViT-Test-16")
    params = jax.tree.map(np.array, init_params(config, seed=1))
    bundle = ModelBundle(config, params, Preprocess(32), "ViT-Test-16", NAME, origin=Origin.of(NAME))
    folder = write_model_directory(
        bundle, tmp_path_factory.mktemp("source") / "imported", replay_projector=True
    )
    content = json.loads((folder / "open_clip_config.json").read_text())
    content["model_cfg"]["vision_cfg"]["patch_dropout"] = 0.5
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def run(tiny_config: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run from `source` of two steps at learning rate 0."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    values = {
        "init_from": source,
        "learning_rate": 0.0,
        "total_steps": 2,
        "checkpoint_every": 1,
        "warmup_steps": 0,
    }
    # A program for one device compiles several times as fast as for the eight of the tests.
    training = Training(tiny_config, workdir, *(f"--config.{name}={value}" for name, value in values.items()))
    errors = training.wait()
    assert training.status == 0, errors
    return workdir


def inherited(tiny_config: Path, workdir: Path, *overrides: str) -> tuple[str, float]:
    """Return the transform and patch dropout of a run in `workdir`."""
    config = _inherit(train_config(read_config(str(tiny_config), overrides)), TrainingDirectory(workdir))
    return config.image.transform, config.patch_dropout


def test_a_run_from_a_published_model_inherits_its_transform(run, source, tmp_path):
    settings = json.loads((run / "config.json").read_text())
    assert settings["image"]["transform"] == "pybioclip" and settings["patch_dropout"] == 0.5
    expected = choose_preprocess(resolve(source))
    assert isinstance(expected, Squash)
    for path in (run, run / "checkpoints" / "1", export_model(run, tmp_path / "exported")):
        bundle = resolve(path)
        assert choose_preprocess(bundle) == expected, f"{path} has another transform"
        # Trained weights lose the published name, so that the published text embeddings are not used.
        assert bundle.origin == Origin(None, "pybioclip")
        np.testing.assert_array_equal(
            bundle.params["visual"]["proj"], resolve(source).params["visual"]["proj"]
        )


def test_runs_and_exports_pass_on_the_transform_but_not_patch_dropout(tiny_config, run, source, tmp_path):
    exported = export_model(run, tmp_path / "exported")
    for start, dropout in ((source, 0.5), (run, 0.0), (exported, 0.0)):
        values = inherited(tiny_config, tmp_path / "new", f"--config.init_from={start}")
        assert values == ("pybioclip", dropout), start


def test_the_config_overrides_inherited_values(tiny_config, source, tmp_path):
    start = f"--config.init_from={source}"
    own = ["--config.image.transform=model", "--config.patch_dropout=0.0"]
    assert inherited(tiny_config, tmp_path, start, *own) == ("model", 0.0)
    assert inherited(tiny_config, tmp_path, start, "--config.image.resize_mode=shortest") == ("model", 0.5)
    assert inherited(tiny_config, tmp_path) == ("model", 0.0)
    assert inherited(tiny_config, tmp_path, "--config.image.transform=pybioclip") == ("pybioclip", 0.0)


def test_a_resumed_run_does_not_need_init_from(tiny_config, run):
    assert inherited(tiny_config, run, "--config.init_from=/gone") == ("pybioclip", 0.5)


@pytest.mark.parametrize("resize_mode, transform", [("squash", "pybioclip"), ("shortest", "model")])
def test_a_run_without_recorded_transform_follows_resize_mode(run, tmp_path, resize_mode, transform):
    copy = shutil.copytree(run, tmp_path / "run")
    settings = json.loads((copy / "config.json").read_text()) | {"init_from": NAME}
    settings["image"] = {"resize_mode": resize_mode}
    (copy / "config.json").write_text(json.dumps(settings))
    assert resolve(copy).origin == Origin(None, transform)


def test_exporting_nan_weights_is_a_one_line_error(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "run")
    params = jax.tree.map(np.array, init_params(get_config("ViT-Test-16"), seed=0))
    params["text"]["text_projection"][0, 0] = np.nan
    checkpoints = Checkpoints(TrainingDirectory(copy), keep=None)
    checkpoints.save(7, {"params": params, "opt_state": {"n": np.zeros(1)}}, {})
    checkpoints.wait()
    checkpoints.close()
    assert main(["export", str(copy), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert (
        error.count("\n") == 1
        and "step 7 has broken weights: 1 of 2,048 numbers in text.text_projection" in error
    )
    assert "RUN/checkpoints/STEP" in error and not (tmp_path / "out").exists()
    assert main(["export", str(copy / "checkpoints" / "2"), str(tmp_path / "out")]) == 0
