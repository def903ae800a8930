"""What all classifiers share: a model, the images' names and vectors, and who is told of predictions."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import InvalidValue, UserError
from bioclip_jax.predict.embedder import OnBad
from bioclip_jax.predict.model import NO_IMAGES, Model, as_images, check_image, load_model
from bioclip_jax.predict.preprocess import ImageLike, load_pixels, name_of
from bioclip_jax.predict.progress import track
from bioclip_jax.predict.zero_shot import softmax

Row = dict[str, Any]

# What an answer says where none is sure enough.
UNKNOWN = "unknown"

# Called with the number of images that are done and the number of all.
Callback = Callable[[int, int], None]


class BaseClassifier:
    """A model, and rows of answers about images; what the answers are is the subclass's.

    model: the Model. model_str, pretrained_str, device: what it was made from, as pybioclip calls it.
    recorder: what `record_event` tells of predictions, or None.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str] | None = None,
        *,
        model_str: str | None = None,
        pretrained_str: str | None = None,
        device: Any = None,
        batch_size: int | None = None,
    ) -> None:
        """`model`: a Model, or a MODEL to load. The others are as load_model's, for a MODEL; `model_str` is pybioclip's
        name for it.
        """
        model = model or model_str
        if isinstance(model, Model) and (model_str or pretrained_str or device is not None or batch_size):
            raise UserError(
                "the model is loaded already; give model_str, pretrained_str, device and batch_size without "
                "it"
            )
        if not isinstance(model, Model):
            device = None if device is None else str(device)
            model = load_model(model, pretrained=pretrained_str, device=device, batch_size=batch_size)
        if not 0 < model.logit_scale < math.inf:
            raise UserError(
                f"the logit_scale of {model.source} is {model.logit_scale}; fetch or export the weights again"
            )
        self.model = model
        self.model_str = model_str or model.source
        self.pretrained_str = pretrained_str
        self.device = str(device) if device is not None else model.device
        self.recorder: Any = None

    def preprocess(self, image: ImageLike) -> Float32[np.ndarray, "3 size size"]:
        """An image as `forward` takes it: the model's transform, normalized, channels first."""
        transform = self.model.preprocess
        pixels = np.asarray(load_pixels(image, transform), np.float32) / np.float32(255)
        pixels = (pixels - np.float32(transform.mean)) / np.float32(transform.std)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def create_image_features(
        self, images: ImageLike | Sequence[ImageLike], normalize: bool = True
    ) -> Float32[np.ndarray, "n embed_dim"]:
        """The vectors of images, as pybioclip's method: of length 1, or as the tower projects them.

        UserError for an image that cannot be read.
        """
        images = as_images(images)
        for place, image in enumerate(images):
            check_image(image, place)
        parts = [part for _, part in self.model.embedder.stream(images, normalize=normalize)]
        return np.concatenate(parts) if parts else np.empty((0, self.model.config.embed_dim), np.float32)

    def create_image_features_for_image(
        self, image: ImageLike, normalize: bool = True
    ) -> Float32[np.ndarray, " embed_dim"]:
        """The vector of one image, as create_image_features."""
        return self.create_image_features([image], normalize)[0]

    def forward(self, x: Float32[np.ndarray, "n 3 size size"]) -> Float32[np.ndarray, "n classes"]:
        """The probability of every class for images that are preprocessed, as pybioclip's method.

        x: what `preprocess` gives, stacked; an array, or a tensor on the CPU. Classes have the order of
        txt_embeddings.
        """
        transform = self.model.preprocess
        x = np.asarray(x, np.float32)
        if x.ndim != 4 or x.shape[1:] != (3, transform.size, transform.size):
            size = transform.size
            raise InvalidValue(
                f"forward takes images [n, 3, {size}, {size}], not {list(x.shape)}; see preprocess"
            )
        pixels = 255 * (x.transpose(0, 2, 3, 1) * np.float32(transform.std) + np.float32(transform.mean))
        features = np.concatenate(list(self.model.embedder.pixels(pixels)))
        return softmax(self._logits(features))

    __call__ = forward

    def _logits(self, features: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n classes"]:
        """The logits of all classes, which the subclass has."""
        raise NotImplementedError

    def set_recorder(self, recorder: Any) -> None:
        """From now on `recorder.add_prediction(images, **details)` is called after each `predict`."""
        self.recorder = recorder

    def record_event(self, images: Sequence[ImageLike], **details: Any) -> None:
        """Tells the recorder, where there is one, what was predicted and how."""
        if self.recorder is not None:
            self.recorder.add_prediction(images, **details)

    @property
    def images_together(self) -> int:
        """How many images are answered in one piece."""
        return self.model.embedder.batch_size

    def features(
        self, images: Iterable[ImageLike], on_bad: OnBad | None = None
    ) -> Iterator[tuple[list[str], Float32[np.ndarray, "rows embed_dim"]]]:
        """Names and unit vectors of images, a batch at a time, in order; `on_bad` as in Embedder.stream.

        An image's name is its path, or for one without a path its place among `images`.
        """
        if images is None:
            raise InvalidValue(NO_IMAGES)
        names: dict[int, str] = {}

        def noting_names() -> Iterator[ImageLike]:
            for place, image in enumerate(images):
                check_image(image, place)
                names[place] = name_of(image) or str(place)
                yield image

        def noting_bad(place: int, problem: Exception) -> None:
            names.pop(place)
            on_bad(place, problem)

        for places, features in self.model.embedder.stream(noting_names(), on_bad and noting_bad):
            yield [names.pop(place) for place in places], features

    def predict_all(
        self,
        images: ImageLike | Sequence[ImageLike],
        answers: Callable[[list[str], Float32[np.ndarray, "rows embed_dim"]], Iterable[Row]],
        callback: Callback | None = None,
        **details: Any,
    ) -> list[Row]:
        """The rows that `answers` gives for the names and vectors of each batch of `images`, one after another.

        `callback` is called each time that answers are there; without it a terminal shows a bar. `details` go
        to the recorder. Errors: UserError for an image that cannot be read.
        """
        images = as_images(images)
        taken = images if callback is not None else track(images, "predicting", len(images))
        rows: list[Row] = []
        done = 0
        for names, features in self.features(taken):
            rows.extend(answers(names, features))
            done += len(names)
            if callback is not None:
                callback(done, len(images))
        self.record_event(images=images, **details)
        return rows


def check_answers(k: int | None, *thresholds: float | None) -> None:
    """UserError for a number of answers that is not whole or below 1, and for a threshold that is no probability."""
    if k is not None and not isinstance(k, Integral):
        raise InvalidValue(f"k is {k!r}; it must be a whole number, or None")
    if k is not None and k < 1:
        raise UserError(f"k is {k}; it must be at least 1")
    for threshold in thresholds:
        if threshold is not None and not 0 <= threshold <= 1:
            raise UserError(f"the threshold is {threshold}; it is a probability between 0 and 1")
