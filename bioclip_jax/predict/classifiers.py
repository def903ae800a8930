"""Zero-shot classifiers: which of some names fits an image best."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.predict.embedder import OnBad
from bioclip_jax.predict.head import class_embeddings, softmax
from bioclip_jax.predict.model import Model, load_model
from bioclip_jax.predict.pixels import ImageLike, name_of

Row = dict[str, Any]


class CustomLabelsClassifier:
    """Probabilities over labels of your own, as pybioclip's class of that name gives them.

    Each label is put into CLIP's 80 templates; scores are softmax(exp(logit_scale) * cosine) over the labels.
    """

    def __init__(self, labels: Sequence[str], model: Model | str | os.PathLike[str]) -> None:
        """`labels`: texts, taken without surrounding blanks, doubles once. `model`: a Model, or a MODEL to load.

        UserError if there is no label.
        """
        labels = list(dict.fromkeys(label.strip() for label in labels if label.strip()))
        if not labels:
            raise UserError("there is no label to choose from; name some, separated by commas")
        self.model = model if isinstance(model, Model) else load_model(model)
        self.classes = labels
        self._embeddings = class_embeddings(self.model.encode_text, labels)

    def predict(self, images: ImageLike | Sequence[ImageLike], k: int | None = None) -> list[Row]:
        """The k most probable labels of each image, best first; k=None gives all.

        Returns: rows with "file_name" (the path, or for an image without one its place in the list),
          "classification" and "score". UserError for an image that cannot be read.
        """
        images = images if isinstance(images, (list, tuple)) else [images]
        return list(self.stream(images, k))

    def stream(self, images: Iterable[ImageLike], k: int | None = None, on_bad: OnBad | None = None) -> Iterator[Row]:
        """`predict`, row by row as batches are done, for any number of images; `on_bad` as in Embedder.stream."""
        k = min(k or len(self.classes), len(self.classes))
        names: dict[int, str] = {}

        def noting_names() -> Iterator[ImageLike]:
            for place, image in enumerate(images):
                names[place] = name_of(image) or str(place)
                yield image

        for places, features in self.model.embedder.stream(noting_names(), on_bad):
            scores = softmax(self.model.logit_scale * (features @ self._embeddings.T))
            for place, row in zip(places, scores):
                name = names.pop(place)
                for label in np.argsort(-row, kind="stable")[:k]:
                    yield {"file_name": name, "classification": self.classes[label], "score": float(row[label])}


def read_labels(labels: str) -> list[str]:
    """Labels from "a,b,c", or from a text file with one a line. UserError if there is none."""
    path = Path(labels)
    try:
        texts = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else labels.split(",")
    except UnicodeDecodeError as error:
        raise UserError(f"the file of labels {path} is not UTF-8 text; write one label a line") from error
    except OSError:  # a text too long or odd to be a path
        texts = labels.split(",")
    found = [text.strip() for text in texts if text.strip()]
    if not found:
        raise UserError(f"--cls {labels!r} names no label; give a,b,c or a file with one a line")
    return found
