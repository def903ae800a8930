"""Statistics for the page, collected from a stream of predictions in bounded memory."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from bioclip_jax.files import json_text
from bioclip_jax.predict.crop import BOX_COLUMNS
from bioclip_jax.predict.events import EVENT_COLUMNS
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.results import Prediction, Row
from bioclip_jax.predict.selection import UNKNOWN
from bioclip_jax.text import RANKS

MOST_ROWS = 20_000
MOST_THUMBNAILS = 500
# Other photographs of an event that its card has room for.
MOST_FRAMES = 4
# Different cameras that are counted; hostile EXIF may name any number.
MOST_CAMERAS = 1_000
# Characters of YYYY-MM-DD.
_DAY = 10
# Confidences are counted in bins of 5 %.
BINS = 20


class Name(NamedTuple):
    """A predicted taxon, names from kingdom down, or a single label; an empty lineage for "unknown"."""

    lineage: tuple[str, ...]
    common_name: str = ""


class Card(NamedTuple):
    """One image with its predictions, best first.

    index: its number in the stream. details: other columns of its row, by name, without empty ones. event:
    its identifier, of predictions by event. frames: other photographs of the event.
    """

    index: int
    image: ImageFile
    predictions: list[tuple[Name, float]]
    details: dict[str, Any]
    event: str = ""
    frames: Sequence[ImageFile] = ()


class Report:
    """Counts over all images, and the predictions of as many images as the page has room for.

    Cards are the first image of each best prediction, then the second of each, and so on, so that no rare
    prediction is missed.

    taxonomic: predictions are lineages, not labels. images: number with a prediction. best: images by best
    prediction. ranks: images by its rank. confidence: images by its score, in BINS bins. dates: the first and
    last day of the images with a date. cameras: images by camera. detections: boxes and images by what a
    detector found. With a detector's file an image is a crop, or a whole image that the file lacks; by events
    it is an event. frames_of: returns the photographs of an event, if predictions are of events.
    """

    def __init__(self, classifier: Any, settings: dict[str, Any]) -> None:
        """`settings`: the command's options, as the page shows them."""
        self.model: str = classifier.model_str
        self.fingerprint: str = classifier.model.fingerprint
        self.settings = settings
        self.taxonomic = "rank" in settings
        self.made = datetime.now()
        self.images = 0
        self.best: Counter[Name] = Counter()
        self.ranks: Counter[str] = Counter()
        self.confidence = [0] * BINS
        self.dates: tuple[str, str] | None = None
        self.cameras: Counter[str] = Counter()
        self.detections: Counter[str] = Counter()
        self.frames_of: Callable[[str], Sequence[ImageFile]] | None = None
        self._rows = 0
        # A heap with the most dispensable card first.
        self._cards: list[tuple[int, int, Card]] = []

    def watch(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Yield the predictions unchanged, counting them."""
        for prediction in predictions:
            self._add(*prediction)
            yield prediction

    @property
    def by_event(self) -> bool:
        """True for predictions of events."""
        return self.frames_of is not None

    @property
    def identity(self) -> str:
        """Hash of the model, the settings and the time: the key of this report's corrections in a browser."""
        parts = [self.fingerprint, self.made.isoformat(), self.settings]
        return hashlib.sha256(json_text(parts, default=str).encode()).hexdigest()[:24]

    def cards(self) -> tuple[list[Card], set[int]]:
        """Return the cards in stream order, and the indices of those that get a thumbnail."""
        wanted = sorted(self._cards, reverse=True)
        pictured = {card.index for *_, card in wanted[:MOST_THUMBNAILS]}
        return sorted(card for *_, card in wanted), pictured

    def _add(self, image: ImageFile, rows: Sequence[Row]) -> None:
        if detection := rows[0].get("detection"):
            self.detections[detection] += 1
        if rows[0]["score"] is None:
            return
        details = _details(rows[0])
        self._count_capture(details)
        rows = [_prediction_columns(row) for row in rows]
        name, score = _name(rows[0]), rows[0]["score"]
        self.confidence[min(BINS - 1, int(score * BINS))] += 1
        if self.taxonomic:
            self.ranks[RANKS[len(name.lineage) - 1] if name.lineage else UNKNOWN] += 1
        priority = (-self.best[name], -self.images)
        full = self._rows + len(rows) > MOST_ROWS and self._cards
        if not full or priority > self._cards[0][:2]:
            named = [(_name(row), row["score"]) for row in rows]
            card = Card(self.images, image, named, details, _event(rows[0]), self._frames(image, rows[0]))
            heapq.heappush(self._cards, (*priority, card))
            self._rows += len(rows)
        while self._rows > MOST_ROWS and len(self._cards) > 1:
            self._rows -= len(heapq.heappop(self._cards)[-1].predictions)
        self.best[name] += 1
        self.images += 1

    def _frames(self, image: ImageFile, row: Row) -> list[ImageFile]:
        """Return some other photographs of the event."""
        if self.frames_of is None:
            return []
        frames = {frame.name: frame for frame in self.frames_of(_event(row))}
        return [frame for name, frame in frames.items() if name != image.name][:MOST_FRAMES]

    def _count_capture(self, details: Mapping[str, Any]) -> None:
        if day := str(details.get("date_taken") or details.get("event_start") or "")[:_DAY]:
            first, last = self.dates or (day, day)
            self.dates = min(first, day), max(last, day)
        if (camera := details.get("camera")) and (camera in self.cameras or len(self.cameras) < MOST_CAMERAS):
            self.cameras[str(camera)] += 1


def _prediction_columns(row: Row) -> Row:
    """Return the columns up to the score; a table's own "genus" is no prediction."""
    names = list(row)
    return {name: row[name] for name in names[: names.index("score") + 1]}


def _event(row: Row) -> str:
    """Return the event that the prediction is of; a table's own column "event" follows the score."""
    names = list(row)
    return str(row["event"]) if "event" in names[: names.index("score")] else ""


def _details(row: Row) -> dict[str, Any]:
    names = list(row)
    others = names[names.index("score") + 1 :]
    if _event(row):
        others = [*EVENT_COLUMNS[1:], *others]
    # The picture shows the box.
    boxes = BOX_COLUMNS if "detection" in row else ()
    return {name: row[name] for name in others if row[name] not in (None, "") and name not in boxes}


def _name(row: Row) -> Name:
    if "classification" in row:
        return Name(() if row["classification"] == UNKNOWN else (str(row["classification"]),))
    lineage = [row[rank] for rank in RANKS if rank in row]
    if row.get("rank") == UNKNOWN or (lineage[-1] == UNKNOWN and not any(lineage[:-1])):
        return Name(())
    # Columns below the predicted rank are empty; a gap above it stays a gap.
    while lineage and not lineage[-1]:
        lineage.pop()
    return Name(tuple(lineage), row.get("common_name") or "")
