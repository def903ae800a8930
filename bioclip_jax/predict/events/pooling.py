"""One answer an event, from the vectors of its frames."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.results import Prediction, Row
from bioclip_jax.predict.selection import UNKNOWN
from bioclip_jax.text import RANKS

from .frames import EVENT_COLUMNS, Event, FrameEvents

if TYPE_CHECKING:
    from bioclip_jax.predict.capture import CaptureColumns
    from bioclip_jax.predict.classifiers import BaseClassifier
    from bioclip_jax.predict.detections import DetectedImages
    from bioclip_jax.predict.input_columns import InputColumns
    from bioclip_jax.predict.journal import Journal
    from bioclip_jax.predict.selection import Selection

# Columns that name a prediction.
_NAMES = ("classification", *RANKS)
# Photographs of an event that a report may show.
_MOST_FRAMES = 32
# What an event without an animal is called, of the detections of its frames.
_PRECEDENCE = ("person", "vehicle", "blank")


@dataclass
class _Frames:
    """The frames of an event after one pass over them.

    photographs: those with an answer. total, pooled: sum and number of the vectors. named: number of frames
    or crops by the names of their best predictions. best: depth and score, and index, of the most confident
    one.
    """

    event: Event
    photographs: set[int] = field(default_factory=set)
    total: Float64[np.ndarray, " dim"] | float = 0.0
    pooled: int = 0
    named: Counter[tuple[str, ...]] = field(default_factory=Counter)
    best: tuple[tuple[int, float], int] | None = None


class EventPredictions:
    """Predictions of events, each pooled over its frames.

    The head is given the mean of the frames' unit vectors v_1 ... v_n, not normalized again. For a head with
    logits z = W v + b, as all of this package are (taxa, also with weights; labels; learned heads), that is
    the geometric mean of the frames' probabilities, normalized, or softmax of their mean log-probability:

        (1/n) sum_i log softmax(W v_i + b) = W (1/n) sum_i v_i + b - (1/n) sum_i log Z_i,

    whose last term is the same for all classes and so drops out of the softmax. Taxa of higher ranks and bins
    are then sums, as for one image. One frame gives its own answer.

    A mixed event, of two species that pass within the gap, has one answer nevertheless: the species that the
    frames agree on most, usually with a low score. "disagreeing" counts the frames, or crops, whose own best
    name contradicts the event's; a higher taxon of the same lineage and "unknown" contradict nothing.
    """

    def __init__(
        self,
        classifier: BaseClassifier,
        selection: Selection,
        images: Sequence[ImageFile],
        events: FrameEvents,
        journal: Journal,
        detected: DetectedImages | None = None,
    ) -> None:
        """journal: finished, of the images or, if `detected`, of its crops, with their vectors."""
        self.events = events
        self._classifier, self._selection = classifier, selection
        self._images, self._journal, self._detected = images, journal, detected

    def __iter__(self) -> Iterator[tuple[int, Prediction]]:
        """Yield the index of each event's most confident photograph, and its image with the event's rows."""
        numbers = iter(range(len(self.events)))
        # Groups depend on the events alone, so a resumed run computes the same products in the same shapes.
        while group := list(itertools.islice(numbers, self._classifier.group_size)):
            frames = [self._read(number) for number in group]
            means = [(part.total / part.pooled).astype(np.float32) for part in frames if part.pooled]
            answers = iter(())
            if means:
                answers = self._classifier.rows_of_vectors(np.stack(means), self._selection)
            for part in frames:
                rows = next(answers) if part.pooled else []
                prediction = self._pooled(part, rows) if rows else self._passed_through(part)
                if prediction is not None:
                    yield prediction

    def frames_of(self, event: str) -> list[ImageFile]:
        """Return the photographs of an event, given its id."""
        return [self._images[index] for index in self.events.by_id(event).images[:_MOST_FRAMES].tolist()]

    def with_columns(self, capture: CaptureColumns, columns: InputColumns) -> Iterator[Prediction]:
        """Yield the events' predictions, with the columns of each one's most confident frame."""
        indices: deque[int] = deque()

        def predictions() -> Iterator[Prediction]:
            for index, prediction in self:
                indices.append(index)
                yield prediction

        captured = capture.append_to(predictions())
        yield from columns.append_by_index((indices.popleft(), prediction) for prediction in captured)

    def _parts(self, event: Event) -> list[int]:
        """Return the indices in the journal of an event's photographs or crops."""
        images = event.images.tolist()
        if self._detected is None:
            return images
        of = self._detected.crops.image
        first, last = np.searchsorted(of, images), np.searchsorted(of, images, "right")
        return [part for start, end in zip(first.tolist(), last.tolist()) for part in range(start, end)]

    def _photograph(self, part: int) -> int:
        return part if self._detected is None else int(self._detected.crops.image[part])

    def _read(self, number: int) -> _Frames:
        frames = _Frames(self.events[number])
        for part, rows, vector in self._journal.finished(self._parts(frames.event)):
            frames.photographs.add(self._photograph(part))
            frames.total = frames.total + vector.astype(np.float64)
            frames.pooled += 1
            if not rows:  # all taxa of a higher rank are below min_prob
                continue
            frames.named[tuple(rows[0].get(name) or "" for name in _NAMES)] += 1
            # A higher taxon has a higher score, and says less.
            key = (_depth(rows[0]), rows[0]["score"])
            if frames.best is None or key > frames.best[0]:
                frames.best = key, part
        return frames

    def _pooled(self, frames: _Frames, answers: Sequence[Row]) -> tuple[int, Prediction]:
        part = frames.best[1] if frames.best is not None else self._parts(frames.event)[0]
        photograph = self._photograph(part)
        image, details = self._images[photograph], {}
        if self._detected is not None:
            image, details = self._detected.crops[part], self._detected.details_of(part)
            for index in frames.event.images.tolist():
                if any(True for _ in self._detected.passed_through(index)):
                    frames.photographs.add(index)
        first = self._columns(frames, image, _disagreeing(frames, answers[0]))
        return photograph, (image, [{**first, **row, **details} for row in answers])

    def _passed_through(self, frames: _Frames) -> tuple[int, Prediction] | None:
        """Return the row of an event without an animal: a person or vehicle if it has one, else blank."""
        if self._detected is None:
            return None
        best = None
        for index in frames.event.images.tolist():
            for image, rows in self._detected.passed_through(index):
                frames.photographs.add(index)
                key = _order(rows[0])
                if best is None or key < best[0]:
                    best = key, index, image, rows[0]
        if best is None:
            return None
        from bioclip_jax.predict.detections import without_values

        _, photograph, image, details = best
        empty = without_values(self._classifier.example_row(self._selection))
        row = {**empty, **self._columns(frames, image, 0), **details}
        names = ("file_name", *EVENT_COLUMNS)
        ordered = {name: row[name] for name in names} | row
        return photograph, (image, [ordered])

    def _columns(self, frames: _Frames, image: ImageFile, disagreeing: int) -> dict[str, Any]:
        event = frames.event
        names = {self._images[index].name for index in frames.photographs}
        values = (event.id, event.start, event.end, len(names), disagreeing)
        return {"file_name": image.name, **dict(zip(EVENT_COLUMNS, values))}


def _depth(row: Row) -> int:
    """Return the number of ranks that a taxon names, 1 for a label, 0 for "unknown"."""
    names = [row[rank] for rank in RANKS if row.get(rank)] or [row.get("classification", "")]
    return 0 if UNKNOWN in names else len(names)


def _order(row: Row) -> tuple[int, float]:
    kind, confidence = row["detection"], row["detection_confidence"]
    return _PRECEDENCE.index(kind) if kind in _PRECEDENCE else len(_PRECEDENCE), -(confidence or 0.0)


def _disagreeing(frames: _Frames, answer: Row) -> int:
    """Return the number of frames or crops whose best prediction contradicts the answer."""
    if frames.pooled < 2:
        return 0
    return sum(count for names, count in frames.named.items() if contradict(dict(zip(_NAMES, names)), answer))


def contradict(one: Row, other: Row) -> bool:
    """Return True if two predictions name different taxa of a rank, or different labels."""
    for name in _NAMES:
        first, second = one.get(name), other.get(name)
        if first and second and UNKNOWN not in (first, second) and first != second:
            return True
    return False
