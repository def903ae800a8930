"""Case 10: distances at which people and animals tell a zebra's stripes apart, read from rendered views."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError
from bioclip_jax.twin.view import bundle_scripts, sight_of, three_js
from bioclip_jax.twin.world import Species

from .cases import Settings

# People resolve the stripes so many times as far by day: Melin et al. 2016, PLoS ONE 11:e0145679.
PUBLISHED = {"Panthera leo": 4.5, "Crocuta crocuta": 7.5, "Equus quagga": 2.6}
_WITHIN = 0.1
_PEOPLE = "Homo sapiens"
_FAMILIES = {"Panthera leo": "Felidae", "Crocuta crocuta": "Hyaenidae", "Equus quagga": "Equidae"}
_NAMES = {"Panthera leo": "lion", "Crocuta crocuta": "hyena", "Equus quagga": "zebra"}
# Width of a dark and a light stripe, and the share of their contrast that an eye needs to see them.
# Both are assumed; the ratios hardly depend on them.
PERIOD_M = 0.1
THRESHOLD = 0.05
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu-sandbox", "--use-angle=swiftshader"),
    *("--enable-unsafe-swiftshader", "--disable-dev-shm-usage", "--no-first-run", "--dump-dom"),
)
_LONGEST_SECONDS = 240


def stripes_case(settings: Settings) -> dict[str, Any]:
    """Measure the distances in the browser, and compare their ratios with those published."""
    measured = stripe_distances()
    ratios = {name: measured[_PEOPLE] / measured[name] for name in PUBLISHED}
    holds = all(abs(ratios[name] / published - 1) <= _WITHIN for name, published in PUBLISHED.items())
    far = ", ".join(f"{ratios[name]:.2f} x {_NAMES[name]} ({measured[name]:.0f} m)" for name in PUBLISHED)
    return {
        "ours": f"people resolve them as far as {measured[_PEOPLE]:.0f} m: {far}",
        "holds": holds,
        "study": {
            "distance_m": measured,
            "ratio": ratios,
            "period_m": PERIOD_M,
            "share_of_contrast": THRESHOLD,
        },
    }


def stripe_distances(period_m: float = PERIOD_M, threshold: float = THRESHOLD) -> dict[str, float]:
    """Return distances in m, by scientific name, at which the threshold is left of the stripes' contrast.

    The page's own eyes draw a flank with the page's own stripes at growing distances, by day; the contrast is
    read from the pixels. Raises UserError without a browser, three.js or WebGL.
    """
    eyes = {_PEOPLE: sight_of(_PEOPLE)} | {name: _sight(name) for name in PUBLISHED}
    asked = {"eyes": eyes, "period_m": period_m, "threshold": threshold}
    measured = _measure(asked)
    if missing := [name for name in eyes if not (measured.get(name) or {}).get("distance_m")]:
        raise UserError(f"no distance was found for {', '.join(missing)}: {json.dumps(measured)[:200]}")
    return {name: measured[name]["distance_m"] for name in eyes}


def _sight(name: str) -> dict[str, Any]:
    return sight_of(
        Species(name, "endotherm", 1.0, taxonomy={"family": _FAMILIES[name], "class": "Mammalia"})
    )


def _measure(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Open the measuring page in a browser without a window, and return what it leaves in itself."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        raise UserError(f"needs a browser: none of {', '.join(_BROWSERS)} is on the PATH; install Chromium")
    three = three_js()
    if three is None:
        raise UserError("needs three.js: install the extra bioclip-jax[twin]")
    page = (
        '<!DOCTYPE html><meta charset="utf-8"><pre id="measured"></pre>'
        f'<script type="application/json" id="asked">{json.dumps(asked)}</script>'
        f"<script>{three.script}</script><script>{bundle_scripts('eyes/measure.js')}</script>"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stripes.html"
        path.write_text(page, encoding="utf-8")
        command = [browser, *_OPTIONS, f"--user-data-dir={folder}/profile", path.as_uri()]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            raise UserError(f"{browser} did not finish in {_LONGEST_SECONDS} s") from None
    found = re.search(r'<pre id="measured">(.*?)</pre>', result.stdout, re.DOTALL)
    if not found or not found[1]:
        raise UserError(f"{browser} gave no result (exit {result.returncode}); is WebGL on?")
    measured = json.loads(unescape(found[1]))
    if "error" in measured:
        raise UserError(f"{browser} could not draw: {measured['error']}")
    return measured
