"""Boxes of animals, people and vehicles, from MegaDetector's or SpeciesNet's JSON."""

from __future__ import annotations

import os
import reprlib
from array import array
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, UInt8

from bioclip_jax.errors import UserError, first_line

from .members import members

KINDS = ("animal", "person", "vehicle")
ANIMAL, PERSON, VEHICLE = range(3)

# MegaDetector's own categories, where a file does not name them.
_CATEGORIES = {"1": "animal", "2": "person", "3": "vehicle"}
_KIND_OF_NAME = {"person": PERSON, "people": PERSON, "human": PERSON, "vehicle": VEHICLE}
# Names of an informal category for images without a detection; its boxes are none.
_EMPTY = frozenset(("empty", "blank", "none", "no detection"))
_LARGEST_SIDE = 2.0
_VIDEOS = (".mp4", ".avi", ".mpeg", ".mpg", ".mov", ".mkv", ".flv", ".m4v", ".wmv")
# The lists of images of MegaDetector and SpeciesNet, each with the name of an image's path.
PATHS = {"images": "file", "predictions": "filepath"}
ADVICE = "give MegaDetector's output: {'images': [{'file', 'detections'}], 'detection_categories'}"
_repr = reprlib.Repr()
_repr.maxother = _repr.maxstring = 60


@dataclass(frozen=True)
class Detections:
    """Images and their boxes in a detector's file, in its order.

    files: the path of each image, as written. failed: images that the detector could not read. starts: image
    i has the boxes from starts[i] to before starts[i + 1]. kinds: of each box, an index of KINDS.
    confidences: from 0 to 1. boxes: x, y, width, height as written, which may reach a little beyond the
    image. positions: of each box in the image's list in the file. images: name of the list of images,
    "images" or "predictions". members: all other parts of the file. complete_videos: all videos have the
    fields that format 1.4 added for them. detector: its name.
    """

    path: str
    files: list[str]
    failed: Bool[np.ndarray, " images"]
    starts: Int64[np.ndarray, " images+1"]
    kinds: UInt8[np.ndarray, " boxes"]
    confidences: Float64[np.ndarray, " boxes"]
    boxes: Float64[np.ndarray, "boxes 4"]
    positions: Int32[np.ndarray, " boxes"]
    images: str
    members: dict[str, Any]
    complete_videos: bool = True

    @property
    def detector(self) -> str:
        """The detector's name in the file, or MegaDetector or SpeciesNet."""
        info = self.members.get("info")
        name = info.get("detector") if isinstance(info, dict) else None
        default = "MegaDetector" if self.images == "images" else "SpeciesNet"
        return name if isinstance(name, str) and name else default


class _Boxes:
    """Boxes in columns, 45 bytes each."""

    def __init__(self) -> None:
        self.categories: dict[str, int] = {}
        self.category, self.position = array("i"), array("i")
        self.confidence, self.sides = array("d"), array("d")

    def add_image(self, detections: Any, threshold: float) -> None:
        """Add the boxes of an image. Raises TypeError or ValueError for another shape."""
        if not isinstance(detections, list):
            raise ValueError(f"its detections are {_repr.repr(detections)}, not a list")
        for position, detection in enumerate(detections):
            if not isinstance(detection, dict) or not detection.keys() >= {"category", "conf", "bbox"}:
                raise ValueError(f"a detection is {_repr.repr(detection)}, without category, conf and bbox")
            confidence, box = detection["conf"], detection["bbox"]
            if not isinstance(confidence, (int, float)) or not 0 <= confidence <= 1:
                raise ValueError(f"its confidence is {_repr.repr(confidence)}, not from 0 to 1")
            if confidence < threshold:
                continue
            if not isinstance(box, list) or len(box) != 4:
                raise ValueError(f"its bbox is {_repr.repr(box)}, not four numbers")
            x, y, width, height = map(float, box)
            # Boxes may reach a little beyond the image, but not in pixels.
            if not max(abs(x), abs(y), width, height) <= _LARGEST_SIDE or not min(width, height) >= 0:
                raise ValueError(f"its bbox is {_repr.repr(box)}, not in shares of the image")
            category = str(detection["category"])
            self.category.append(self.categories.setdefault(category, len(self.categories)))
            self.position.append(position)
            self.confidence.append(confidence)
            self.sides.extend((x, y, width, height))


def read_detections(path: str | os.PathLike[str], threshold: float = 0.0) -> Detections:
    """Read MegaDetector's JSON of formats 1.0 to 1.6, or SpeciesNet's predictions.

    threshold: boxes of less confidence are dropped, as are those of a category that the file does not name.
    A category of another name than person or vehicle is an animal.
    Sources: https://lila.science/megadetector-output-format;
    https://github.com/google/cameratrapai, section "Output format".
    Raises UserError for JSON of another shape.
    """
    boxes = _Boxes()
    files: list[str] = []
    failed = bytearray()
    starts = array("q", [0])
    others: dict[str, Any] = {}
    images, complete_videos = None, True
    for part in members(path, PATHS, ADVICE):
        if part.kind == "value":
            others[part.name] = part.value
        elif part.kind == "open":
            if images is not None:
                raise UserError(f"{path} has both images and predictions; {ADVICE}")
            images = part.name
        elif part.kind == "item":
            try:
                file, detections = _image(part.value, PATHS[part.name])
                if detections is not None:
                    boxes.add_image(detections, threshold)
                    complete_videos = complete_videos and _is_complete(part.value, file)
            except (TypeError, ValueError, OverflowError) as error:
                number = len(files) + 1
                raise UserError(
                    f"{path}: image {number:,} cannot be used ({first_line(error)}); {ADVICE}"
                ) from None
            files.append(file)
            failed.append(detections is None)
            starts.append(len(boxes.position))
    if images is None:
        raise UserError(f"{path} has no list of images; {ADVICE}")
    detections = _detections(os.fspath(path), files, failed, starts, boxes, images, others)
    return replace(detections, complete_videos=complete_videos)


def _image(image: Any, path_name: str) -> tuple[str, list[Any] | None]:
    """Return an image's path and detections, None if the detector failed."""
    if not isinstance(image, dict) or path_name not in image:
        raise ValueError(f"it is {_repr.repr(image)}, without {path_name}")
    file = image[path_name]
    if not isinstance(file, str) or not file.strip():
        raise ValueError(f"its {path_name} is {_repr.repr(file)}, not a path")
    # SpeciesNet's other parts may fail without the detector.
    failed = bool(image.get("failure")) or "DETECTOR" in (image.get("failures") or ())
    return file, None if failed else image.get("detections")


def _is_complete(image: dict[str, Any], file: str) -> bool:
    if not file.lower().endswith(_VIDEOS):
        return True
    frames = all("frame_number" in detection for detection in image["detections"])
    return frames and image.keys() >= {"frame_rate", "frames_processed"}


def _detections(
    path: str,
    files: list[str],
    failed: bytearray,
    starts: array,
    boxes: _Boxes,
    images: str,
    others: dict[str, Any],
) -> Detections:
    """Drop boxes whose category is none, now that all categories are known."""
    named = others.get("detection_categories", {})
    if not isinstance(named, dict):
        raise UserError(f"{path}: detection_categories is not an object; {ADVICE}")
    names = {**_CATEGORIES, **named}
    kind_of = np.array([_kind(names.get(category)) for category in boxes.categories] or [-1], np.int64)
    kinds = kind_of[np.frombuffer(boxes.category, np.int32)]
    kept = kinds >= 0
    before = np.concatenate([[0], np.cumsum(kept)])
    return Detections(
        path,
        files,
        np.frombuffer(failed, bool),
        before[np.frombuffer(starts, np.int64)],
        kinds[kept].astype(np.uint8),
        np.frombuffer(boxes.confidence, np.float64)[kept],
        np.frombuffer(boxes.sides, np.float64).reshape(-1, 4)[kept],
        np.frombuffer(boxes.position, np.int32)[kept],
        images,
        others,
    )


def _kind(name: Any) -> int:
    """Return the index in KINDS of a category's name, -1 for none."""
    name = str(name).strip().lower() if name is not None else ""
    return -1 if not name or name in _EMPTY else _KIND_OF_NAME.get(name, ANIMAL)
