"""Zero-shot classifiers over labels of the user, and over bins of such labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.predict.embedder import OnBad
from bioclip_jax.predict.model import Model
from bioclip_jax.predict.preprocess import ImageLike
from bioclip_jax.predict.selection import UNKNOWN, Selection
from bioclip_jax.predict.zero_shot import label_embeddings, softmax

from .base import BaseClassifier, Callback, Row
from .labels import checked_bins, distinct_labels, label_texts


class CustomLabelsClassifier(BaseClassifier):
    """Probabilities over the user's labels, as pybioclip's class of the same name.

    Each label is put into CLIP's 80 templates; scores are softmax(exp(logit_scale) * cosine) over the labels.
    Blank labels are dropped and repeated ones merged: pybioclip gives each a probability, which lowers all
    others.

    classes: the labels. candidates: the values of "classification" in rows.
    """

    def __init__(
        self,
        labels: Iterable[str] | None = None,
        model: Model | str | os.PathLike[str] | None = None,
        *,
        cls_ary: Iterable[str] | None = None,
        labels_as_given: bool = False,
        cache: bool = True,
        **loading: Any,
    ) -> None:
        """Embed the labels, given as `labels` or pybioclip's `cls_ary`; surrounding blanks are stripped.

        model, loading: as BaseClassifier. labels_as_given: keep blank and repeated labels as classes of their
        own, as pybioclip does. cache: keep the label embeddings on disk. Raises UserError without a label,
        and for one that is not text.
        """
        given = labels if labels is not None else cls_ary if cls_ary is not None else ()
        self.classes = label_texts(given) if labels_as_given else distinct_labels(given)
        super().__init__(model, **loading)
        self.candidates: list[Any] = self.classes
        self._embeddings = label_embeddings(self.model, self.classes, cache=cache)

    @property
    def txt_embeddings(self) -> Float32[np.ndarray, "dim labels"]:
        """The labels' unit vectors, one column each, as in pybioclip."""
        return self._embeddings.T

    def get_txt_embeddings(self) -> Float32[np.ndarray, "dim labels"]:
        """Return txt_embeddings."""
        return self.txt_embeddings

    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        k: int | None = None,
        batch_size: int = 10,
        callback: Callback | None = None,
        *,
        unknown: float | None = None,
    ) -> list[Row]:
        """Return the k most probable labels of each image, best first; k=None returns all.

        batch_size: recorded only; the model has its own. callback: called with the numbers of finished and of
        all images. unknown: as `stream`.
        Rows have "file_name" (the path, or for an image without one its index), "classification" and "score".
        Raises UserError for an unreadable image.
        """
        return self._predict(images, Selection(k=k, unknown=unknown), callback, k=k, batch_size=batch_size)

    def stream(
        self,
        images: Iterable[ImageLike],
        k: int | None = None,
        on_bad: OnBad | None = None,
        *,
        unknown: float | None = None,
    ) -> Iterator[Row]:
        """Yield the rows of `predict` as batches are finished; on_bad as in Embedder.stream_indexed.

        unknown: an image whose best score is lower has one row, with classification "unknown" and that score.
        """
        return self._stream(images, Selection(k=k, unknown=unknown), on_bad)

    def _rows(
        self, features: Float32[np.ndarray, "rows embed_dim"], selection: Selection
    ) -> Iterator[list[Row]]:
        scores = self._scores(softmax(self._logits(features)))
        order = np.argsort(-scores, axis=1, kind="stable")
        for row, best in zip(scores, order):
            if selection.unknown is not None and row[best[0]] < selection.unknown:
                yield [{"classification": UNKNOWN, "score": float(row[best[0]])}]
            else:
                yield [
                    {"classification": self.candidates[index], "score": float(row[index])}
                    for index in best[: selection.k]
                ]

    def _logits(self, features: Float32[np.ndarray, "rows dim"]) -> Float32[np.ndarray, "rows labels"]:
        return self.model.logit_scale * (features @ self._embeddings.T)

    def _scores(
        self, probabilities: Float32[np.ndarray, "rows labels"]
    ) -> Float32[np.ndarray, "rows candidates"]:
        return probabilities


class CustomLabelsBinningClassifier(CustomLabelsClassifier):
    """Probabilities over bins, summed over each bin's labels, as pybioclip's class of the same name."""

    def __init__(
        self,
        cls_to_bin: Mapping[str, Any],
        model: Model | str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> None:
        """Classify into the bins of `cls_to_bin`, label -> bin; the rest as CustomLabelsClassifier.

        Raises UserError for a bin that is empty, None or NaN, and without a label.
        """
        self.cls_to_bin = checked_bins(cls_to_bin)
        super().__init__(self.cls_to_bin, model, **settings)
        self.candidates = list(dict.fromkeys(self.cls_to_bin.values()))
        bins = [self.candidates.index(self.cls_to_bin[label]) for label in self.classes]
        self._membership = np.eye(len(self.candidates), dtype=np.float32)[bins]

    def _scores(
        self, probabilities: Float32[np.ndarray, "rows labels"]
    ) -> Float32[np.ndarray, "rows candidates"]:
        return probabilities @ self._membership


def predict_classifications_from_list(
    img: ImageLike, cls_ary: Sequence[str], device: str | None = None, **loading: Any
) -> list[Row]:
    """Load a model and return all labels' probabilities for one image, as pybioclip's function."""
    return CustomLabelsClassifier(cls_ary, device=device, **loading).predict([img])
