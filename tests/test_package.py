"""What a wheel holds, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_package_is_in_the_wheel():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    homes = {"bioclip_jax": "bioclip_jax", "configs": "bioclip_jax.configs", "data": "bioclip_jax.datasets"}
    found = set()
    for folder, package in homes.items():
        for file in (ROOT / folder).rglob("__init__.py"):
            parts = file.parent.relative_to(ROOT / folder).parts
            found.add(".".join((package, *parts)))
    assert listed == found


def test_importing_the_project_brings_no_heavy_library():
    code = (
        "import sys, bioclip_jax, bioclip_jax.cli; print({'jax', 'torch', 'tensorflow', 'grain'} & "
        "set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
