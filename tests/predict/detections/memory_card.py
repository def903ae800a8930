"""A memory card of two cameras, and detectors' files about it."""

from __future__ import annotations

from typing import Any

# Of each photograph: category, confidence and box of its detections; None where the detector failed.
CARD: dict[str, list[tuple[str, float, list[float]]] | None] = {
    "cam1/IMG_0001.JPG": [("1", 0.91, [0.1, 0.2, 0.5, 0.5]), ("1", 0.4, [0.55, 0.5, 0.4, 0.45])],
    "cam1/IMG_0002.JPG": [],
    "cam1/IMG_0003.JPG": [("2", 0.95, [0.0, 0.0, 0.5, 1.0]), ("1", 0.8, [0.5, 0.1, 0.5, 0.6])],
    "cam2/IMG_0001.JPG": [("3", 0.7, [0.2, 0.2, 0.6, 0.6])],
    "cam2/IMG_0002.JPG": None,
    "cam2/IMG_0003.JPG": [("1", 0.1, [0.2, 0.2, 0.3, 0.3])],
    "cam2/IMG_0005.JPG": [("1", 0.99, [-0.01, 0.3, 0.4, 0.8])],
}
# A photograph that the detector did not see.
ABSENT = "cam2/IMG_0004.JPG"
# With the default threshold of 0.2.
COUNTS = {"animals": 4, "people": 1, "vehicles": 1, "blank": 2, "failed": 1, "absent": 1}


def megadetector(version: str = "1.6", **changes: Any) -> dict[str, Any]:
    """A file about CARD in MegaDetector's format."""
    images: list[dict[str, Any]] = []
    for name, detections in CARD.items():
        if detections is None:
            images.append({"file": name, "failure": "Failure image access", "detections": None})
        else:
            boxes = [{"category": c, "conf": p, "bbox": box} for c, p, box in detections]
            images.append({"file": name, "detections": boxes})
    return {
        "info": {"format_version": version, "detector": "md_v5a.0.1.pt"},
        "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
        "images": images,
    } | changes


def speciesnet() -> dict[str, Any]:
    """The same in the format of SpeciesNet's run_model."""
    labels = {"1": "animal", "2": "human", "3": "vehicle"}
    predictions: list[dict[str, Any]] = []
    for name, detections in CARD.items():
        prediction: dict[str, Any] = {"filepath": f"D:\\survey\\{name}".replace("/", "\\"), "country": "GBR"}
        if detections is None:
            prediction["failures"] = ["DETECTOR", "CLASSIFIER"]
        else:
            prediction["classifications"] = {"classes": ["x;aves;;;;;bird"], "scores": [0.6]}
            prediction["detections"] = [
                {"category": c, "label": labels[c], "conf": p, "bbox": box} for c, p, box in detections
            ]
            prediction |= {"prediction": "x;aves;;;;;bird", "prediction_score": 0.6}
        predictions.append(prediction | {"model_version": "4.0.1a"})
    return {"predictions": predictions}
