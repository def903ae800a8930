"""Detectors' files: boxes of animals, people and vehicles, their crops, and names written back to them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "crops": ["COLUMNS", "Crops", "DetectedImages", "find_crops", "without_values"],
        "reader": ["ADVICE", "KINDS", "Detections", "read_detections"],
        "writer": ["Classifications"],
    },
)
