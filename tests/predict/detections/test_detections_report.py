"""The report of a run with detections: crops as pictures, and the numbers of everything else."""

from __future__ import annotations

import base64
import io
import json
import re
from html import unescape

import pytest
from PIL import Image

from bioclip_jax.predict import PredictOptions, predict_files


@pytest.fixture
def page(model_directory, card, detections, tmp_path, taxa) -> str:
    path = tmp_path / "report.html"
    options = PredictOptions(detections=detections, taxa=taxa, report=path, as_result=True, batch_size=8)
    predict_files([card], str(model_directory), options)
    return path.read_text()


def test_cards_show_the_crops(page, card):
    data = json.loads(unescape(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1]))
    cards = data["cards"]
    assert len(cards) == 5, "four animals, and the photograph that the detector did not see"
    for file, _, picture, more in cards:
        thumbnail = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2])))
        details = dict(more.get("details", []))
        if "box" not in more:
            assert file.endswith("cam2/IMG_0004.JPG") and details == {}
            continue
        assert details["detection"] == "animal" and not any(name.startswith("box_") for name in details)
        _, _, width, height = more["box"]
        assert thumbnail.width / thumbnail.height == pytest.approx(width * 96 / (height * 64), rel=0.1)
        crop = Image.open(file).convert("RGB")
        x, y = more["box"][:2]
        crop = crop.crop([round(e) for e in (x * 96, y * 64, (x + width) * 96, (y + height) * 64)])
        for ours, mean in zip(
            thumbnail.resize((1, 1)).getpixel((0, 0)), crop.resize((1, 1)).getpixel((0, 0))
        ):
            assert abs(ours - mean) < 12, f"the picture of {file} has other colors than its crop"


def test_headline_counts_what_the_detector_found(page):
    text = re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", page.partition("Image by image")[0])))
    for figure in ("8 images", "4 animals", "1 person", "1 vehicle", "2 blank", "1 not read by the detector"):
        number, _, label = figure.partition(" ")
        assert f"{number} {label}" in text or f"{label} {number}" in text, (figure, text[-1500:])
    assert "Animals by confidence" in text
