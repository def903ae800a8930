"""MegaDetector's JSON with the names of animals, as Timelapse and AddaxAI open it."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.files import atomic_write, json_text
from bioclip_jax.predict.results import Row
from bioclip_jax.predict.selection import UNKNOWN
from bioclip_jax.text import RANKS

from .members import Member, members
from .reader import ADVICE, PATHS, Detections

FORMAT_VERSION = "1.6"
_CATEGORIES, _DESCRIPTIONS = "classification_categories", "classification_category_descriptions"
_DETECTED = {"1": "animal", "2": "person", "3": "vehicle"}
# Digits of a score, one more than detectors write.
_DIGITS = 4


class _Category(NamedTuple):
    """A predicted class. taxonomy: names from class to the epithet, () of a label."""

    name: str
    scientific_name: str
    taxonomy: tuple[str, ...]

    def description(self, name: str) -> str:
        """Return SpeciesNet's string: an identifier, class, order, family, genus, epithet, common name."""
        return ";".join([name, *self.taxonomy, name]).lower()


class Classifications:
    """Predictions of boxes, 8 bytes each and 12 for each class of a box."""

    def __init__(self, detections: Detections) -> None:
        """Raises UserError if the file's own categories are not as the format has them."""
        self.detections = detections
        for name in ("info", _CATEGORIES, _DESCRIPTIONS):
            value = detections.members.get(name, {})
            texts = name == "info" or (
                isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
            )
            if not isinstance(value, dict) or not texts:
                raise UserError(f"{detections.path}: {name} is not an object of texts; {ADVICE}")
        self._numbers: dict[_Category, int] = {}
        self._first = np.full(len(detections.kinds), -1, np.int64)
        self._count = np.zeros(len(detections.kinds), np.int32)
        self._category, self._score = array("i"), array("d")

    def add(self, box: int, rows: Sequence[Row]) -> None:
        """Record the rows of a box, best first."""
        self._first[box], self._count[box] = len(self._category), len(rows)
        for row in rows:
            self._category.append(self._numbers.setdefault(_category(row), len(self._numbers)))
            self._score.append(row["score"])

    def write(self, output: Path, classifier: str) -> int:
        """Write the detector's file with the predictions; return the number of boxes with one.

        Everything else of the file is kept, in its order; SpeciesNet's is turned into MegaDetector's format.
        classifier: its name, for the file. Raises UserError if the file was changed meanwhile.
        """
        identifiers, categories = self._categories(self.detections.members)
        head = {"info": self._info(classifier), **categories}
        with atomic_write(output) as path, open(path, "w", encoding="utf-8") as file:
            self._write(file, head, identifiers)
        return int((self._count > 0).sum())

    def _write(self, file: TextIO, head: Mapping[str, Any], identifiers: Sequence[str]) -> None:
        detections = self.detections
        waiting = {"detection_categories": _DETECTED, **head} if detections.images != "images" else dict(head)
        number, lines = 0, _Object(file)
        for part in members(detections.path, PATHS, ADVICE):
            if part.kind == "value":
                lines.add(part.name, waiting.pop(part.name, part.value))
            elif part.kind == "open":
                for name in [name for name in waiting if name not in detections.members]:
                    lines.add(name, waiting.pop(name))
                lines.open_list("images")
            elif part.kind == "item":
                self._check(part, number)
                lines.add_item(self._image(part.value, number, identifiers))
                number += 1
            else:
                lines.close_list()
        if number != len(detections.files):
            raise self._changed()
        lines.close()

    def _check(self, part: Member, number: int) -> None:
        if number >= len(self.detections.files) or (
            part.value.get(PATHS[part.name]) != self.detections.files[number]
        ):
            raise self._changed()

    def _changed(self) -> UserError:
        return UserError(f"{self.detections.path} was changed during the run; run the same command again")

    def _image(self, image: dict[str, Any], number: int, identifiers: Sequence[str]) -> dict[str, Any]:
        """Return an image of the file with the predictions of its boxes."""
        detections = self.detections
        if detections.images != "images":
            image = _of_speciesnet(image)
        if detections.failed[number]:
            # Since format 1.3, the detections of a failure are null.
            return {**image, "detections": None, "failure": image.get("failure") or "no detections"}
        boxes = list(image["detections"])
        for box in range(int(detections.starts[number]), int(detections.starts[number + 1])):
            if count := int(self._count[box]):
                first, position = int(self._first[box]), int(detections.positions[box])
                classes = [
                    [identifiers[self._category[index]], round(self._score[index], _DIGITS)]
                    for index in range(first, first + count)
                ]
                boxes[position] = {**boxes[position], "classifications": classes}
        return {**image, "detections": boxes}

    def _info(self, classifier: str) -> dict[str, Any]:
        info = dict(self.detections.members.get("info", {}))
        version = info.get("format_version")
        if self.detections.complete_videos and not _is_later(version):
            info["format_version"] = FORMAT_VERSION
        if self.detections.images != "images":
            info.setdefault("detector", self.detections.detector)
        time = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
        return info | {"classifier": classifier, "classification_completion_time": time}

    def _categories(self, known: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """Return the identifier of each class, and the file's tables of classes with these added.

        A class that the file has already, from an earlier run, keeps its identifier.
        """
        categories, descriptions = dict(known.get(_CATEGORIES, {})), dict(known.get(_DESCRIPTIONS, {}))
        taxonomic = bool(descriptions) or any(category.taxonomy for category in self._numbers)
        if taxonomic:
            # Both tables must have the same identifiers.
            descriptions = {
                identifier: descriptions.get(identifier, categories[identifier]) for identifier in categories
            }
        earlier = {
            (name, descriptions.get(identifier)): identifier for identifier, name in categories.items()
        }
        number = max((int(identifier) for identifier in categories if identifier.isdecimal()), default=-1) + 1
        shared = Counter(category.name for category in self._numbers)
        identifiers = []
        for category in self._numbers:
            name = category.name
            if shared[name] > 1 and category.scientific_name != name:
                name = f"{name} ({category.scientific_name})"
            description = category.description(name) if category.taxonomy else name if taxonomic else None
            identifier = earlier.get((name, description))
            if identifier is None:
                identifier, number = str(number), number + 1
                categories[identifier] = name
                if taxonomic:
                    descriptions[identifier] = description
            identifiers.append(identifier)
        return identifiers, {_CATEGORIES: categories} | ({_DESCRIPTIONS: descriptions} if taxonomic else {})


class _Object:
    """A JSON object that is written member by member, with a line for each image."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._separator = "{\n "

    def add(self, name: str, value: Any) -> None:
        # A line break within a text is escaped.
        text = json_text(value, indent=1).replace("\n", "\n ")
        self._file.write(f"{self._separator}{json.dumps(name)}: {text}")
        self._separator = ",\n "

    def open_list(self, name: str) -> None:
        self._file.write(f"{self._separator}{json.dumps(name)}: [")
        self._separator = "\n  "

    def add_item(self, value: Any) -> None:
        self._file.write(self._separator + json_text(value))
        self._separator = ",\n  "

    def close_list(self) -> None:
        self._file.write("\n ]")
        self._separator = ",\n "

    def close(self) -> None:
        self._file.write("\n}\n")


def _of_speciesnet(image: dict[str, Any]) -> dict[str, Any]:
    """Return an image of SpeciesNet's file with MegaDetector's names; its other fields are kept."""
    others = {
        name: value for name, value in image.items() if name not in ("filepath", "failures", "detections")
    }
    result = {"file": image["filepath"], "detections": image.get("detections"), **others}
    if failures := image.get("failures"):
        result["failures"] = failures
        if "DETECTOR" in failures:
            result["failure"] = ", ".join(map(str, failures))
    return result


def _category(row: Row) -> _Category:
    if "classification" in row:
        return _Category(str(row["classification"]), str(row["classification"]), ())
    names = [str(row.get(rank) or "") for rank in RANKS[:-1]]
    scientific = next((name for name in (str(row.get("species") or ""), *reversed(names)) if name), UNKNOWN)
    if scientific == UNKNOWN:
        return _Category(UNKNOWN, UNKNOWN, ("",) * 5)
    taxonomy = (*names[2:], str(row.get("species_epithet") or ""))
    return _Category(str(row.get("common_name") or scientific), scientific, taxonomy)


def _is_later(version: Any) -> bool:
    try:
        return float(version) > float(FORMAT_VERSION)
    except (TypeError, ValueError):
        return False
