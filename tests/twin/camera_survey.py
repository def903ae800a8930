"""Small surveys for tests: JPEGs with EXIF times in folders, and tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

DAY = "2021-06-01T00:00:00+02:00", "2021-06-04T00:00:00+02:00"


def write_photo(path: Path, time: str | None = None, *, offset: str = "", fraction: str = "") -> Path:
    """Write a tiny JPEG with DateTimeOriginal `time`, as 2021:06:01 12:00:00."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    tags = exif.get_ifd(0x8769)
    for tag, text in ((0x9003, time), (0x9291, fraction), (0x9011, offset)):
        if text:
            tags[tag] = text
    Image.new("RGB", (8, 8), "green").save(path, exif=exif)
    return path


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as CSV; missing cells are empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def deployment(name: str, **values: Any) -> dict[str, Any]:
    """Return a deployment's row: three days in June 2021 at UTC+2."""
    start, end = DAY
    return {
        "deploymentID": name,
        "latitude": 50.7,
        "longitude": 4.0,
        "deploymentStart": start,
        "deploymentEnd": end,
        **values,
    }


def predictions(scores: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Return rows as `predict` writes them: of each photograph's species and their scores."""
    return [
        {"file_name": file, "kingdom": "Animalia", "genus": name.split()[0], "species": name, "score": score}
        for file, names in scores.items()
        for name, score in names.items()
    ]


def write_detections(path: Path, images: Mapping[str, Iterable[tuple[str, float, list[float]]]]) -> Path:
    """Write MegaDetector's JSON: of each image (category, confidence, box)."""
    content = {
        "info": {"format_version": "1.4", "detector": "md_v5a.0.0.pt"},
        "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
        "images": [
            {"file": name, "detections": [{"category": c, "conf": p, "bbox": box} for c, p, box in boxes]}
            for name, boxes in images.items()
        ],
    }
    path.write_text(json.dumps(content))
    return path
