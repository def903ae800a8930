"""Statistics for the page, collected from a stream of predictions in bounded memory."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from bioclip_jax.files import json_text
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.results import Prediction, Row
from bioclip_jax.text import RANKS

MOST_ROWS = 20_000
MOST_THUMBNAILS = 500
# Confidences are counted in bins of 5 %.
BINS = 20

UNKNOWN = "unknown"


class Name(NamedTuple):
    """A predicted taxon, names from kingdom down, or a single label; an empty lineage for "unknown"."""

    lineage: tuple[str, ...]
    common_name: str = ""


class Card(NamedTuple):
    """One image with its predictions, best first; index: its number in the stream."""

    index: int
    image: ImageFile
    predictions: list[tuple[Name, float]]


class Report:
    """Counts over all images, and the predictions of as many images as the page has room for.

    Cards are the first image of each best prediction, then the second of each, and so on, so that no rare
    prediction is missed.

    taxonomic: predictions are lineages, not labels. images: number with a prediction. best: images by best
    prediction. ranks: images by its rank. confidence: images by its score, in BINS bins.
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
        self._rows = 0
        # A heap with the most dispensable card first.
        self._cards: list[tuple[int, int, Card]] = []

    def watch(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Yield the predictions unchanged, counting them."""
        for prediction in predictions:
            self._add(*prediction)
            yield prediction

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
        name, score = _name(rows[0]), rows[0]["score"]
        self.confidence[min(BINS - 1, int(score * BINS))] += 1
        if self.taxonomic:
            self.ranks[RANKS[len(name.lineage) - 1] if name.lineage else UNKNOWN] += 1
        priority = (-self.best[name], -self.images)
        full = self._rows + len(rows) > MOST_ROWS and self._cards
        if not full or priority > self._cards[0][:2]:
            card = Card(self.images, image, [(_name(row), row["score"]) for row in rows])
            heapq.heappush(self._cards, (*priority, card))
            self._rows += len(rows)
        while self._rows > MOST_ROWS and len(self._cards) > 1:
            self._rows -= len(heapq.heappop(self._cards)[-1].predictions)
        self.best[name] += 1
        self.images += 1


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
