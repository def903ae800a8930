"""The classifier of a learned head: the user's own classes, with the familiarity of each image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import InvalidValue
from bioclip_jax.predict.embedder import OnBad
from bioclip_jax.predict.learn import LearnedHead, open_head
from bioclip_jax.predict.model import Model
from bioclip_jax.predict.preprocess import ImageLike
from bioclip_jax.predict.rank import MIN_PROB, Rank, as_rank
from bioclip_jax.predict.selection import DEFAULT_K, UNKNOWN, Selection
from bioclip_jax.predict.taxa import TaxaNames, top_k_indices
from bioclip_jax.predict.zero_shot import softmax

from .base import BaseClassifier, Callback, Row

FAMILIARITY = "familiarity"


class LearnedClassifier(BaseClassifier):
    """Probabilities over classes that `taxa learn` or learn_head learned from photographs.

    Logits are linear in the image's vector. Rows are those of TreeOfLifeClassifier for taxa and of
    CustomLabelsClassifier for other labels, and "familiarity": the share of training photographs at least as
    far from their own nearest neighbors as the image, so that small means "none of these".

    learned_head: the head. classes: its labels. names: the same as taxa, None for other labels. candidates:
    the classes.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str] | None = None,
        head: LearnedHead | str | os.PathLike[str] | None = None,
        **loading: Any,
    ) -> None:
        """Open a head: its folder, or a LearnedHead. model, loading: as BaseClassifier.

        Raises UserError for a head that is damaged or belongs to another model or image transform.
        """
        if head is None:
            raise InvalidValue("there is no head; give the folder that `bioclip-jax taxa learn` wrote")
        # A damaged head is reported before the weights are read.
        learned = head if isinstance(head, LearnedHead) else open_head(head)
        super().__init__(model, **loading)
        learned.check_model(self.model)
        self.learned_head = learned
        self.classes: list[str] = learned.labels
        self.candidates: list[str] = learned.labels
        self.names: TaxaNames | None = learned.names

    @property
    def rank(self) -> Rank | None:
        """The rank of the classes, None if they are no taxa."""
        return self.learned_head.rank

    def probabilities(self, features: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n classes"]:
        """Return the classes' probabilities of unit vectors, or of means of an event's unit vectors."""
        return softmax(self._logits(features))

    def familiarity(self, features: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, " n"]:
        """Return the familiarity of vectors, above 0 and up to 1."""
        return self.learned_head.familiarity(features)

    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        k: int | None = None,
        *,
        rank: Rank | str | None = None,
        unknown: float | None = None,
        min_familiarity: float | None = None,
        callback: Callback | None = None,
    ) -> list[Row]:
        """Return the k most probable classes of each image, best first, as `stream`.

        k: None returns 5 taxa, or all labels. Raises UserError for an unreadable image.
        """
        selection = self._selection(k, rank, unknown=unknown, min_familiarity=min_familiarity)
        details = {} if self.rank is None else {"rank": selection.rank.get_label()}
        return self._predict(images, selection, callback, **details, k=selection.k)

    def stream(
        self,
        images: Iterable[ImageLike],
        k: int | None = None,
        on_bad: OnBad | None = None,
        *,
        rank: Rank | str | None = None,
        min_confidence: float | None = None,
        unknown: float | None = None,
        min_familiarity: float | None = None,
    ) -> Iterator[Row]:
        """Yield rows as batches are finished; on_bad as in Embedder.stream_indexed.

        rank: of the rows, with the sum over the classes in each taxon; by default that of the classes.
        min_confidence: as TreeOfLifeClassifier.stream. unknown, min_familiarity: an image whose best score or
        familiarity is lower has one row, with the name "unknown".
        """
        thresholds = {"min_confidence": min_confidence, "unknown": unknown}
        selection = self._selection(k, rank, **thresholds, min_familiarity=min_familiarity)
        return self._stream(images, selection, on_bad)

    def _selection(self, k: int | None, rank: Rank | str | None, **thresholds: Any) -> Selection:
        if self.rank is None:
            if rank is not None or thresholds.get("min_confidence") is not None:
                raise InvalidValue("the classes of this head are no taxa; drop rank and min_confidence")
            return Selection(k=k, **thresholds)
        rank = self.rank if rank is None else as_rank(rank)
        self.learned_head.check_rank(rank)
        return Selection(rank=rank, k=DEFAULT_K if k is None else k, **thresholds)

    def _logits(self, features: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n classes"]:
        return self.learned_head.linear(features)

    def _rows(self, features: Float32[np.ndarray, "n dim"], selection: Selection) -> Iterator[list[Row]]:
        probabilities, familiarity = self.probabilities(features), self.familiarity(features)
        if self.rank is None:
            parts = map(self._label_rows, probabilities, [selection] * len(probabilities))
        elif selection.min_confidence is not None:
            parts = map(self._confident_row, probabilities, [selection] * len(probabilities))
        else:
            parts = map(self._taxon_rows, probabilities, [selection] * len(probabilities))
        for rows, value in zip(parts, familiarity.tolist()):
            if selection.min_familiarity is not None and value < selection.min_familiarity:
                rows = [self._unknown(rows[0]["score"], selection)]
            yield [{**row, FAMILIARITY: value} for row in rows]

    def _label_rows(self, scores: Float32[np.ndarray, " classes"], selection: Selection) -> list[Row]:
        best = np.argsort(-scores, kind="stable")
        if selection.unknown is not None and scores[best[0]] < selection.unknown:
            return [self._unknown(float(scores[best[0]]), selection)]
        return [
            {"classification": self.classes[index], "score": float(scores[index])}
            for index in best[: selection.k]
        ]

    def _taxon_rows(self, scores: Float32[np.ndarray, " classes"], selection: Selection) -> list[Row]:
        sums = self._sums(scores, selection.rank)
        best = top_k_indices(sums, selection.k or len(sums))
        if selection.unknown is not None and sums[best[0]] < selection.unknown:
            return [self._unknown(float(sums[best[0]]), selection)]
        starts = self.names.starts(selection.rank)
        return [
            {**self.names.row(int(starts[index]), selection.rank), "score": float(sums[index])}
            for index in best
        ]

    def _confident_row(self, scores: Float32[np.ndarray, " classes"], selection: Selection) -> list[Row]:
        """Return one row, at the lowest rank that reaches min_confidence."""
        columns = dict.fromkeys(self.names.row(0, Rank.SPECIES), "")
        lowest = 0.0
        for rank in reversed(list(Rank)[: selection.rank.value + 1]):
            sums = self._sums(scores, rank)
            best = int(sums.argmax())
            score = float(sums[best])
            lowest = score if rank is selection.rank else lowest
            names = self.names.row(int(self.names.starts(rank)[best]), rank)
            if score >= max(selection.min_confidence, selection.unknown or 0) and names[rank.get_label()]:
                return [{"rank": rank.get_label(), **columns, **names, "score": score}]
        return [self._unknown(lowest, selection)]

    def _sums(self, scores: Float32[np.ndarray, " classes"], rank: Rank) -> Float32[np.ndarray, " groups"]:
        """Return the probabilities of the taxa of a rank, in the order of names.starts(rank)."""
        counted = scores if rank is self.rank else np.where(scores > MIN_PROB, scores, 0)
        return np.minimum(np.add.reduceat(counted, self.names.starts(rank)), 1)

    def _unknown(self, score: float, selection: Selection) -> Row:
        if self.rank is None:
            return {"classification": UNKNOWN, "score": score}
        shown = Rank.SPECIES if selection.min_confidence is not None else selection.rank
        names = dict.fromkeys(self.names.row(0, shown), "") | {selection.rank.get_label(): UNKNOWN}
        first = {"rank": UNKNOWN} if selection.min_confidence is not None else {}
        return {**first, **names, "score": score}
