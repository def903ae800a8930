"""A generated memory card: bursts of small photographs with EXIF times, and a detector's file about them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

SIZE = (96, 64)
# Cameras write at most this number of photographs into a folder.
_IN_FOLDER = 1_000
_IN_BURST = 3
_BURST_GAP, _FRAME_GAP = timedelta(minutes=11), timedelta(seconds=2)
_START = datetime(2026, 5, 1, 4, 30)
_DATE_TIME_ORIGINAL, _EXIF_IFD = 0x9003, 0x8769
# Boxes of a photograph above the threshold: none, animals, a person, a person and an animal, a vehicle.
_SCENES = ("", "1", "11", "111", "2", "12", "3")
_SHARES = (0.45, 0.3, 0.08, 0.04, 0.06, 0.03, 0.04)
_FAILED, _ABSENT = 0.002, 0.002
_PATTERNS = 64


class Card(NamedTuple):
    """A folder of photographs, and MegaDetector's file about them; boxes: their number, of any confidence."""

    folder: Path
    detections: Path
    boxes: int


def make_card(folder: Path, images: int, *, seed: int = 0) -> Card:
    """Write `images` JPEGs, of 96 x 64 pixels, and a MegaDetector file with three boxes each on average.

    Most boxes are below the usual threshold, as in real files.
    """
    from PIL import Image

    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 256, (_PATTERNS, 4, 6, 3), np.uint8)
    patterns = [np.asarray(Image.fromarray(part).resize(SIZE, Image.Resampling.BICUBIC)) for part in corners]
    path, boxes = folder / "detections.json", 0
    with open(path, "w", encoding="utf-8") as file:
        head = {
            "info": {"format_version": "1.5", "detector": "md_v5a.0.1.pt"},
            "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
        }
        file.write(json.dumps(head)[:-1] + ',\n"images": [')
        separator = "\n"
        for number in range(images):
            name = _name(number)
            if number % _IN_FOLDER == 0:
                (folder / "card" / name).parent.mkdir(parents=True)
            pixels = np.roll(patterns[rng.integers(_PATTERNS)], rng.integers(SIZE[0]), axis=1)
            Image.fromarray(pixels).save(folder / "card" / name, "JPEG", quality=85, exif=_exif(number))
            draw = rng.random()
            if draw < _ABSENT:
                continue
            entry = {"file": name, "detections": None, "failure": "Failure image access"}
            if draw > _ABSENT + _FAILED:
                detections = list(_detections(rng))
                boxes += len(detections)
                entry = {"file": name, "detections": detections}
            file.write(separator + json.dumps(entry))
            separator = ",\n"
        file.write("\n]}\n")
    return Card(folder / "card", path, boxes)


def _name(number: int) -> str:
    return f"site{number // _IN_FOLDER:03d}/DCIM/IMG_{number % _IN_FOLDER + 1:04d}.JPG"


def _exif(number: int) -> bytes:
    from PIL import Image

    in_folder = number % _IN_FOLDER
    time = _START + in_folder // _IN_BURST * _BURST_GAP + in_folder % _IN_BURST * _FRAME_GAP
    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_DATE_TIME_ORIGINAL] = time.strftime("%Y:%m:%d %H:%M:%S")
    return exif.tobytes()


def _detections(rng: np.random.Generator) -> Iterator[dict[str, object]]:
    scene = _SCENES[rng.choice(len(_SCENES), p=_SHARES)]
    categories = [*scene, *"1" * rng.poisson(2.2)]
    confidences = [rng.uniform(0.3, 0.98) for _ in scene]
    confidences += [rng.uniform(0.005, 0.15) for _ in categories[len(scene) :]]
    for category, confidence in zip(categories, confidences):
        width, height = rng.uniform(0.2, 0.6, 2)
        x, y = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        box = [round(float(side), 4) for side in (x, y, width, height)]
        yield {"category": category, "conf": round(float(confidence), 3), "bbox": box}
