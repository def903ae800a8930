"""three.js and its license, from the package that carries them: they are put into a page, never committed."""

from __future__ import annotations

import importlib.metadata
from importlib import resources
from typing import NamedTuple

REVISION = "130"
_PACKAGE = "jupyter-threejs-sage"


class ThreeJs(NamedTuple):
    """The minified script, which defines THREE, and the text of its license."""

    script: str
    license: str


def three_js() -> ThreeJs | None:
    """Return three.js of REVISION, or None where its package is not installed."""
    try:
        files = importlib.metadata.files(_PACKAGE) or []
        license = next(file for file in files if file.name == "LICENSE").read_text(encoding="utf-8")
        script = resources.files("jupyter_threejs_sage") / "static" / f"r{REVISION}" / "three.min.js"
        return ThreeJs(script.read_text(encoding="utf-8"), license)
    except (importlib.metadata.PackageNotFoundError, StopIteration, OSError):
        return None
