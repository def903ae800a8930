"""What the page is made from, gathered while predictions go by, in memory that does not grow with them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.resume import Answer, Row
from bioclip_jax.text import RANKS

MOST_ROWS = 20_000
MOST_THUMBNAILS = 500
# Confidences are counted in steps of 5 %.
BINS = 20

UNKNOWN = "unknown"


class Name(NamedTuple):
    """What an answer is: the names from kingdom down, or a label alone; empty for "unknown". common: common name."""

    lineage: tuple[str, ...]
    common: str = ""


class Card(NamedTuple):
    """One image and its answers, best first."""

    place: int
    image: ImageFile
    answers: list[tuple[Name, float]]


class Report:
    """Counts of all images' best answers, and the answers of as many images as the page has room for.

    These are the first image of each best answer, then the second of each, and so on, so that nothing rare is
    missed.

    about_taxa: whether answers are lineages. images: with an answer. best: how often each is the best. ranks:
    how often each rank is that of the best. confidence: images by the best score, in BINS steps.
    """

    def __init__(self, classifier: Any, settings: dict[str, Any]) -> None:
        """`settings`: what was asked, as the page shows it."""
        self.model: str = classifier.model_str
        self.fingerprint: str = classifier.model.fingerprint
        self.settings = settings
        self.about_taxa = "rank" in settings
        self.made = datetime.now()
        self.images = 0
        self.best: Counter[Name] = Counter()
        self.ranks: Counter[str] = Counter()
        self.confidence = [0] * BINS
        self._rows = 0
        # A heap whose first is the card that is missed least.
        self._cards: list[tuple[int, int, Card]] = []

    def watch(self, answers: Iterable[Answer]) -> Iterator[Answer]:
        """The answers, counted as they go by."""
        for answer in answers:
            self._add(*answer)
            yield answer

    def cards(self) -> tuple[list[Card], set[int]]:
        """The images that the page has room for, in their order; and the places of those that it has a picture of."""
        wanted = sorted(self._cards, reverse=True)
        pictured = {card.place for *_, card in wanted[:MOST_THUMBNAILS]}
        return sorted(card for *_, card in wanted), pictured

    def _add(self, image: ImageFile, rows: Sequence[Row]) -> None:
        name, score = _name(rows[0]), rows[0]["score"]
        self.confidence[min(BINS - 1, int(score * BINS))] += 1
        if self.about_taxa:
            self.ranks[RANKS[len(name.lineage) - 1] if name.lineage else UNKNOWN] += 1
        turn = (-self.best[name], -self.images)
        full = self._rows + len(rows) > MOST_ROWS and self._cards
        if not full or turn > self._cards[0][:2]:
            card = Card(self.images, image, [(_name(row), row["score"]) for row in rows])
            heapq.heappush(self._cards, (*turn, card))
            self._rows += len(rows)
        while self._rows > MOST_ROWS and len(self._cards) > 1:
            self._rows -= len(heapq.heappop(self._cards)[-1].answers)
        self.best[name] += 1
        self.images += 1


def _name(row: Row) -> Name:
    if "classification" in row:
        return Name(() if row["classification"] == UNKNOWN else (str(row["classification"]),))
    lineage = [row[rank] for rank in RANKS if rank in row]
    if row.get("rank") == UNKNOWN or (lineage[-1] == UNKNOWN and not any(lineage[:-1])):
        return Name(())
    # Below the rank that was reached, the columns are empty; a gap above it stays a gap.
    while lineage and not lineage[-1]:
        lineage.pop()
    return Name(tuple(lineage), row.get("common_name") or "")
