"""A simulated animal detector: true boxes with small errors, some missed, some false. No network is run."""

from typing import Any

import numpy as np

from bioclip_jax.datasets.camera_trap_mini.burst import Burst
from bioclip_jax.datasets.camera_trap_mini.ecology import PERSON

MISSES = 0.04  # share of the boxes that are missed
FALSE_BOXES = 0.02  # share of the frames with a false one
_ERROR = 0.02  # standard deviation of a box's edges, in shares of its size
_ANIMAL, _PERSON = "1", "2"

CATEGORIES = {_ANIMAL: "animal", _PERSON: "person", "3": "vehicle"}
INFO = {
    "detector": "simulated by camera_trap_mini: the drawings' true boxes with errors",
    "misses": MISSES,
    "false_boxes": FALSE_BOXES,
    "format_version": "1.4",
}


def detect(burst: Burst, rng: np.random.Generator) -> list[list[dict[str, Any]]]:
    """Return the detections in each frame, as in MegaDetector's JSON: category, conf and bbox.

    bbox: x, y of the top left corner, width, height, in shares of the frame.
    """
    category = _PERSON if burst.passage.kind == PERSON else _ANIMAL
    frames = []
    for boxes in burst.boxes:
        detections = []
        for x, y, width, height in boxes:
            noise = rng.normal(0, _ERROR, 4) * (width, height, width, height)
            confidence = 0.55 + 0.44 * rng.beta(4, 1.5)
            if rng.random() >= MISSES:
                edges = np.clip((x, y, x + width, y + height) + noise, 0, 1)
                detections.append(_detection(category, confidence, edges))
        if rng.random() < FALSE_BOXES:
            corner, size = rng.uniform(0, 0.7, 2), rng.uniform(0.08, 0.3, 2)
            detections.append(_detection(_ANIMAL, rng.uniform(0.2, 0.5), (*corner, *(corner + size))))
        frames.append(sorted(detections, key=lambda one: -one["conf"]))
    return frames


def _detection(category: str, confidence: float, edges) -> dict[str, Any]:
    left, top, right, bottom = (float(edge) for edge in edges)
    box = [round(value, 4) for value in (left, top, right - left, bottom - top)]
    return {"category": category, "conf": round(float(confidence), 3), "bbox": box}
