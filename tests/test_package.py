"""What a wheel holds, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
from PIL import Image

from bioclip_jax.convert import ModelBundle, write_model_directory
from bioclip_jax.models import get_config, init_params
from bioclip_jax.pipeline.images import Preprocess

ROOT = Path(__file__).parents[1]


def test_every_package_is_in_the_wheel():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    homes = {"bioclip_jax": "bioclip_jax", "configs": "bioclip_jax.configs", "data": "bioclip_jax.datasets"}
    packages = set()
    for folder, package in homes.items():
        for file in (ROOT / folder).rglob("__init__.py"):
            parts = file.parent.relative_to(ROOT / folder).parts
            packages.add(".".join((package, *parts)))
    assert listed == packages


def test_importing_the_project_brings_no_heavy_library():
    code = (
        "import sys, bioclip_jax, bioclip_jax.cli; print({'jax', 'torch', 'tensorflow', 'grain'} & "
        "set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


# Runs a command as where the extras are not installed.
WITHOUT_EXTRAS = """
import sys
from bioclip_jax.cli import _EXTRAS, main


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in _EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
sys.exit(main())
"""


def _run_without_extras(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_EXTRAS, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_prediction_needs_no_extra(tmp_path):
    config = get_config("ViT-Test-16")
    bundle = ModelBundle(
        config, init_params(config), Preprocess(size=config.vision.image_size), "ViT-Test-16", "random"
    )
    write_model_directory(bundle, tmp_path / "model", replay_projector=False)
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "photo.png")
    done = _run_without_extras(
        "predict", tmp_path / "photo.png", "--model", tmp_path / "model", "--cls", "a,b"
    )
    assert done.returncode == 0 and "photo.png,a," in done.stdout, done.stderr


def test_a_missing_extra_is_named(tmp_path):
    done = _run_without_extras(
        "train", "--config", ROOT / "configs" / "mini.py", "--workdir", tmp_path / "run"
    )
    assert done.returncode == 2, done.stderr
    message = "error: this command needs grain; install it: pip install 'bioclip-jax[train]'\n"
    assert done.stderr == message and not (tmp_path / "run").exists()
