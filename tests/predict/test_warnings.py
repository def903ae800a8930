"""Library warnings never reach standard error."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

from PIL import Image

from bioclip_jax.cli import main


def test_library_warnings_are_hidden(model_directory, tmp_path):
    # Pillow warns about such a palette, and JAX about a compilation cache that is not a folder.
    Image.linear_gradient("L").convert("P").save(tmp_path / "palette.png", transparency=bytes(range(256)))
    (tmp_path / "cache").write_bytes(b"")
    command = ["predict", str(tmp_path / "palette.png"), "--model", str(model_directory), "--cls", "a,b"]
    ran = subprocess.run(
        [sys.executable, "-m", "bioclip_jax.cli", *command],
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")},
    )
    assert ran.returncode == 0, ran.stderr
    assert "Warning" not in ran.stderr and "site-packages" not in ran.stderr, ran.stderr


def test_our_own_warnings_are_shown(monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", [])
    with warnings.catch_warnings(record=True) as seen:
        assert main(["models", "--json"]) == 0
        warnings.warn_explicit("of a library", UserWarning, "a.py", 1, module="jax._src.compiler")
        warnings.warn_explicit("ours", UserWarning, "a.py", 1, module="bioclip_jax.cli")
    assert [str(warning.message) for warning in seen] == ["ours"]
