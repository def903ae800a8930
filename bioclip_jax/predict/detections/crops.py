"""The crops of detected animals, in place of the photographs, and the rows of everything else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bioclip_jax.errors import UserError, count_of
from bioclip_jax.path_matching import AMBIGUOUS, match_paths
from bioclip_jax.predict.crop import BOX_COLUMNS, Box
from bioclip_jax.predict.inputs import ImageFile, find_images
from bioclip_jax.predict.results import Prediction, Row
from bioclip_jax.tables import shown_path

from .reader import ANIMAL, KINDS, PERSON, VEHICLE, Detections, read_detections

BLANK, FAILED = "blank", "failed"
# Columns of a row, after those of its prediction.
COLUMNS = ("detection", "detection_confidence", *BOX_COLUMNS)
# Digits of a box in rows; a millionth of a photograph is less than a pixel.
_DIGITS = 6


def find_crops(
    inputs: Sequence[str | os.PathLike[str]], detections: str | os.PathLike[str], threshold: float = 0.2
) -> DetectedImages:
    """Find the images of INPUTS and the animals that a detector found in them.

    inputs: as find_images. detections: a file, as read_detections. threshold: least confidence of a box.
    Returns the images; their `crops` are what a classifier or `encode_image` takes.
    Raises UserError as find_images, read_detections and DetectedImages.
    """
    return DetectedImages(find_images(inputs), read_detections(detections, threshold))


class Crops(Sequence[ImageFile]):
    """Images to predict, created when they are asked for: crops of animals, and whole images without a box.

    image: the index of each one's photograph. box: the index of its box, -1 for a whole image.
    """

    def __init__(
        self, images: Sequence[ImageFile], boxes: np.ndarray, image: np.ndarray, box: np.ndarray
    ) -> None:
        self._images, self._boxes = images, boxes
        self.image, self.box = image, box

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> ImageFile:
        image, box = self._images[int(self.image[index])], int(self.box[index])
        return image if box < 0 else replace(image, box=Box(*self._boxes[box].tolist()))


class _Slot(NamedTuple):
    """An image or box with its row or rows; predicted: the classifier names it."""

    image: ImageFile
    detection: str
    box: int
    predicted: bool


class DetectedImages:
    """Photographs with a detector's boxes.

    crops: the images to predict, photograph by photograph, boxes in the file's order. counts: "animals",
    "people" and "vehicles" are boxes; "blank" photographs have none, on "failed" ones the detector failed,
    "absent" ones are not in its file and are predicted whole. unmatched: images of the file that are not
    among the photographs.
    """

    def __init__(self, images: Sequence[ImageFile], detections: Detections) -> None:
        """Match the photographs with the images of the file, by their paths.

        Raises UserError if none matches, if it is unclear which image is which photograph, and for
        photographs with boxes of their own.
        """
        self._images, self._detections = images, detections
        self._entry = _match(images, detections)
        self.boxes = _clipped(detections.boxes)
        image, box = [], []
        for index, entry in enumerate(self._entry.tolist()):
            if entry < 0:
                image.append(index)
                box.append(-1)
            elif not detections.failed[entry]:
                animals = [b for b in self._boxes_of(entry) if detections.kinds[b] == ANIMAL]
                image += [index] * len(animals)
                box += animals
        self.crops = Crops(images, self.boxes, np.array(image, np.int64), np.array(box, np.int64))
        self.counts = self._count()
        self.unmatched = len(detections.files) - len(np.unique(self._entry[self._entry >= 0]))

    def _boxes_of(self, entry: int) -> range:
        return range(int(self._detections.starts[entry]), int(self._detections.starts[entry + 1]))

    def _count(self) -> dict[str, int]:
        known = self._entry[self._entry >= 0]
        failed, starts = self._detections.failed[known], self._detections.starts
        sizes = starts[known + 1] - starts[known]
        kinds = [self._detections.kinds[starts[entry] : starts[entry + 1]] for entry in known]
        boxes = np.bincount(np.concatenate(kinds or [[]]).astype(np.int64), minlength=len(KINDS))
        return {
            "animals": int(boxes[ANIMAL]),
            "people": int(boxes[PERSON]),
            "vehicles": int(boxes[VEHICLE]),
            "blank": int((~failed & (sizes == 0)).sum()),
            "failed": int(failed.sum()),
            "absent": int((self._entry < 0).sum()),
        }

    def __len__(self) -> int:
        """Number of images and boxes that have rows."""
        return sum(self.counts.values())

    def digest(self) -> str:
        """Return a hash of everything in the rows that the crops do not determine."""
        parts = (self._entry, self._detections.starts, self._detections.kinds)
        parts += (self._detections.confidences, self.boxes, self._detections.failed)
        return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()

    def merge(
        self,
        predictions: Iterable[Prediction],
        columns: Callable[[], Mapping[str, Any]],
        on_named: Callable[[int, Sequence[Row]], None] | None = None,
    ) -> Iterator[Prediction]:
        """Add the detection's columns to predictions of `crops`, and the rows of everything else, in order.

        predictions: in the order of `crops`, some of which may lack. columns: returns a row of a prediction,
        for the names of its columns; called if there is no prediction at all. on_named: called with the index
        of a box and its rows. A row without a prediction has empty texts, and None for numbers.
        """
        predictions = iter(predictions)
        waiting = next(predictions, None)
        empty = without_values(waiting[1][0] if waiting is not None else columns())
        for slot in self._slots():
            details = self._details(slot)
            if not slot.predicted:
                yield slot.image, [{**empty, "file_name": slot.image.name, **details}]
            elif waiting is not None and _is_of(waiting[0], slot.image):
                if on_named is not None and slot.box >= 0:
                    on_named(slot.box, waiting[1])
                yield slot.image, [{**row, **details} for row in waiting[1]]
                waiting = next(predictions, None)

    def _slots(self) -> Iterator[_Slot]:
        for index in range(len(self._images)):
            yield from self._slots_of(index)

    def _slots_of(self, index: int) -> Iterator[_Slot]:
        detections, image, entry = self._detections, self._images[index], int(self._entry[index])
        if entry < 0:
            yield _Slot(image, "", -1, True)
        elif detections.failed[entry]:
            yield _Slot(image, FAILED, -1, False)
        elif not (boxes := self._boxes_of(entry)):
            yield _Slot(image, BLANK, -1, False)
        else:
            for box in boxes:
                kind = int(detections.kinds[box])
                part = replace(image, box=Box(*self.boxes[box].tolist()))
                yield _Slot(part, KINDS[kind], box, kind == ANIMAL)

    def passed_through(self, index: int) -> Iterator[Prediction]:
        """Yield what of a photograph is not predicted: blank, failed, people, vehicles."""
        for slot in self._slots_of(index):
            if not slot.predicted:
                yield slot.image, [self._details(slot)]

    def details_of(self, crop: int) -> dict[str, Any]:
        """Return the detection's columns of one of `crops`."""
        image, box = self.crops[crop], int(self.crops.box[crop])
        return self._details(_Slot(image, KINDS[ANIMAL] if box >= 0 else "", box, True))

    def _details(self, slot: _Slot) -> dict[str, Any]:
        values = [None] * 5
        if slot.box >= 0:
            values = [float(self._detections.confidences[slot.box]), *slot.image.box]
        return dict(zip(COLUMNS, (slot.detection, *values)))

    def summary(self) -> str:
        """Return the counts in one line for people."""
        n = self.counts
        boxes = (
            count_of(n["animals"], "animal"),
            count_of(n["people"], "person", "people"),
            count_of(n["vehicles"], "vehicle"),
        )
        parts = [", ".join(boxes), count_of(n["blank"], "blank image")]
        if n["failed"]:
            parts.append(f"{n['failed']:,} that the detector could not read")
        if n["absent"]:
            parts.append(f"{n['absent']:,} that are not in the file and are predicted whole")
        if self.unmatched:
            parts.append(f"{self.unmatched:,} of the file are not among the inputs")
        return f"detections of {self._detections.path}: {'; '.join(parts)}"


def _is_of(image: ImageFile, slot: ImageFile) -> bool:
    # A crop has the very name object of its photograph, also where a photograph is listed twice.
    return image.name is slot.name and image.box == slot.box


def without_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a row with empty texts, and None for numbers."""
    return {name: "" if isinstance(value, str) else None for name, value in row.items()}


def _clipped(boxes: np.ndarray) -> np.ndarray:
    """Clip boxes to the image."""
    first = np.clip(boxes[:, :2], 0, 1)
    last = np.clip(boxes[:, :2] + boxes[:, 2:], 0, 1)
    return np.hstack([first, last - first]).round(_DIGITS)


def _match(images: Sequence[ImageFile], detections: Detections) -> np.ndarray:
    """Return the index of each photograph's image in the file, -1 without one."""
    if boxed := next((image for image in images if image.box is not None), None):
        raise UserError(
            f"{shown_path(boxed.name)} has a box in an input table already; drop its box columns, "
            "or --detections"
        )
    names = [image.name for image in images]
    paths = {path: number for number, path in enumerate(dict.fromkeys(map(os.path.abspath, names)))}
    by_path = np.array([paths[os.path.abspath(name)] for name in names], np.int64)
    matched = match_paths(detections.files, list(paths))
    if (unclear := np.flatnonzero(matched == AMBIGUOUS)).size:
        raise UserError(
            f"{detections.path}: for {len(unclear):,} of its images, such as "
            f"{shown_path(detections.files[unclear[0]])}, it is unclear which of the inputs they are; "
            "give it paths with folders"
        )
    known = np.flatnonzero(matched >= 0)
    if not known.size:
        raise UserError(
            f"no image of {detections.path} is among the inputs; its paths must end in the same folders and "
            f"names as theirs, such as {shown_path(names[0])}"
        )
    entries = np.full(len(paths), -1, np.int64)
    entries[matched[known]] = known
    if np.bincount(matched[known]).max() > 1:
        number = known[entries[matched[known]] != known][0]
        raise UserError(
            f"{detections.path} lists {shown_path(detections.files[number])} more than once; "
            "give a file with one entry per image"
        )
    return entries[by_path]
