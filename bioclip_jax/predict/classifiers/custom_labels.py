"""Zero-shot classifiers: which of some names fits an image best."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.predict.embedder import OnBad
from bioclip_jax.predict.model import Model
from bioclip_jax.predict.preprocess import ImageLike
from bioclip_jax.predict.zero_shot import label_embeddings, softmax

from .base import UNKNOWN, BaseClassifier, Callback, Row, check_answers
from .labels import checked_bins, distinct_labels, label_texts


class CustomLabelsClassifier(BaseClassifier):
    """Probabilities over labels of your own, as pybioclip's class of that name gives them.

    Each label is put into CLIP's 80 templates; scores are softmax(exp(logit_scale) * cosine) over the labels.
    Blank labels are dropped and repeated ones merged: pybioclip gives each a probability, which lowers all
    others.

    classes: the labels. answers: what rows call them.
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
        """`labels`, or `cls_ary` as pybioclip calls them: texts, taken without surrounding blanks. `model`: a Model, or
        a MODEL to load; `loading`: as BaseClassifier. `labels_as_given`: blank and repeated labels are
        classes of their own, as in pybioclip. `cache`: keep the labels' vectors on disk for the next time.

        UserError if there is no label, and for one that is not text.
        """
        given = labels if labels is not None else cls_ary if cls_ary is not None else ()
        self.classes = label_texts(given) if labels_as_given else distinct_labels(given)
        super().__init__(model, **loading)
        self.answers: list[Any] = self.classes
        self._embeddings = label_embeddings(self.model, self.classes, cache=cache)

    @property
    def txt_embeddings(self) -> Float32[np.ndarray, "dim labels"]:
        """The labels' unit vectors, a column each, as pybioclip has them."""
        return self._embeddings.T

    def get_txt_embeddings(self) -> Float32[np.ndarray, "dim labels"]:
        """As txt_embeddings."""
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
        """The k most probable answers for each image, best first; k=None gives all.

        Args: `batch_size`, noted for the recorder, since the model's own says how many images are encoded
          together; `callback`, called with the number of images done and of all; `unknown`, as `stream`.
        Returns: rows with "file_name" (the path, or for an image without one its place in the list),
          "classification" and "score". UserError for an image that cannot be read.
        """
        check_answers(k, unknown)
        return self.predict_all(
            images,
            lambda names, features: self._rows(names, features, k, unknown),
            callback,
            k=k,
            batch_size=batch_size,
        )

    def stream(
        self,
        images: Iterable[ImageLike],
        k: int | None = None,
        on_bad: OnBad | None = None,
        *,
        unknown: float | None = None,
    ) -> Iterator[Row]:
        """`predict`, row by row as batches are done, for any number of images; `on_bad` as in Embedder.stream.

        `unknown`: an image whose best score is below it gets one row, with the classification "unknown" and
        that score.
        """
        check_answers(k, unknown)
        for names, features in self.features(images, on_bad):
            yield from self._rows(names, features, k, unknown)

    def _rows(
        self,
        names: list[str],
        features: Float32[np.ndarray, "rows embed_dim"],
        k: int | None,
        unknown: float | None,
    ) -> Iterator[Row]:
        scores = self._scores(softmax(self._logits(features)))
        # A slice beyond the end takes what there is, and None takes all.
        for name, row, best in zip(names, scores, np.argsort(-scores, axis=1, kind="stable")[:, : k or None]):
            if unknown is not None and row[best[0]] < unknown:
                yield {"file_name": name, "classification": UNKNOWN, "score": float(row[best[0]])}
                continue
            for answer in best:
                yield {"file_name": name, "classification": self.answers[answer], "score": float(row[answer])}

    def _logits(self, features: Float32[np.ndarray, "rows dim"]) -> Float32[np.ndarray, "rows labels"]:
        return self.model.logit_scale * (features @ self._embeddings.T)

    def _scores(
        self, probabilities: Float32[np.ndarray, "rows classes"]
    ) -> Float32[np.ndarray, "rows answers"]:
        return probabilities


class CustomLabelsBinningClassifier(CustomLabelsClassifier):
    """Probabilities over bins of labels, as pybioclip's class of that name gives them: a bin's is its labels' sum."""

    def __init__(
        self,
        cls_to_bin: Mapping[str, Any],
        model: Model | str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> None:
        """`cls_to_bin`: the bin of each label. The rest as CustomLabelsClassifier.

        UserError for a bin that is empty, None or NaN, and if there is no label.
        """
        self.cls_to_bin = checked_bins(cls_to_bin)
        super().__init__(self.cls_to_bin, model, **settings)
        self.answers = list(dict.fromkeys(self.cls_to_bin.values()))
        places = [self.answers.index(self.cls_to_bin[label]) for label in self.classes]
        self._membership = np.eye(len(self.answers), dtype=np.float32)[places]

    def _scores(
        self, probabilities: Float32[np.ndarray, "rows classes"]
    ) -> Float32[np.ndarray, "rows answers"]:
        return probabilities @ self._membership


def predict_classifications_from_list(
    img: ImageLike, cls_ary: Sequence[str], device: str | None = None, **loading: Any
) -> list[Row]:
    """The probabilities of all labels for one image, by a model that is loaded for it, as pybioclip's function."""
    return CustomLabelsClassifier(cls_ary, device=device, **loading).predict([img])
