"""Base class of the classifiers: streaming over images, pybioclip's common methods, and a recorder."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import InvalidValue, UserError
from bioclip_jax.predict.embedder import OnBad
from bioclip_jax.predict.model import NO_IMAGES, Model, as_images, check_image, load_model
from bioclip_jax.predict.options import Precision
from bioclip_jax.predict.preprocess import ImageLike, load_pixels, name_of
from bioclip_jax.predict.progress import track
from bioclip_jax.predict.selection import Selection
from bioclip_jax.predict.zero_shot import softmax

Row = dict[str, Any]
# Images as (index, name), and one vector for each.
NamedVectors = tuple[list[tuple[int, str]], Float32[np.ndarray, "rows embed_dim"]]

# Called with the number of finished images and of all images.
Callback = Callable[[int, int], None]


class BaseClassifier:
    """A model and a way to turn image vectors into rows, which the subclass implements.

    model: the Model. model_str, pretrained_str, device: its origin and device, by pybioclip's names.
    recorder: notified of predictions by `record_event`, or None.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str] | None = None,
        *,
        model_str: str | None = None,
        pretrained_str: str | None = None,
        device: Any = None,
        batch_size: int | None = None,
        precision: Precision | None = None,
    ) -> None:
        """Use a loaded Model, or load a MODEL (for pybioclip, model_str) with the other arguments."""
        model = model or model_str
        given = (model_str, pretrained_str, device, batch_size, precision)
        if isinstance(model, Model) and any(value is not None for value in given):
            raise UserError(
                "the model is already loaded; drop model_str, pretrained_str, device, batch_size, precision"
            )
        if not isinstance(model, Model):
            device = None if device is None else str(device)
            options = {"pretrained": pretrained_str, "device": device, "batch_size": batch_size}
            model = load_model(model, **options, precision=precision or "fp32")
        if not 0 < model.logit_scale < math.inf:
            raise UserError(
                f"the logit_scale of {model.source} is {model.logit_scale}; download or export it again"
            )
        self.model = model
        self.model_str = model_str or model.source
        self.pretrained_str = pretrained_str
        self.device = str(device) if device is not None else model.device
        self.recorder: Any = None

    def preprocess(self, image: ImageLike) -> Float32[np.ndarray, "3 size size"]:
        """Return an image as `forward` takes it: transformed, normalized, channels first."""
        transform = self.model.preprocess
        pixels = np.asarray(load_pixels(image, transform), np.float32) / np.float32(255)
        pixels = (pixels - np.float32(transform.mean)) / np.float32(transform.std)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def create_image_features(
        self, images: ImageLike | Sequence[ImageLike], normalize: bool = True
    ) -> Float32[np.ndarray, "n embed_dim"]:
        """Return image vectors, normalized or as projected, as pybioclip's method.

        Raises UserError for an unreadable image.
        """
        images = as_images(images)
        for index, image in enumerate(images):
            check_image(image, index)
        parts = [part for _, part in self.model.embedder.stream(images, normalize=normalize)]
        return np.concatenate(parts) if parts else np.empty((0, self.model.config.embed_dim), np.float32)

    def create_image_features_for_image(
        self, image: ImageLike, normalize: bool = True
    ) -> Float32[np.ndarray, " embed_dim"]:
        """Return the vector of one image, as create_image_features."""
        return self.create_image_features([image], normalize)[0]

    def forward(self, x: Float32[np.ndarray, "n 3 size size"]) -> Float32[np.ndarray, "n classes"]:
        """Return class probabilities of preprocessed images, as pybioclip's method.

        x: outputs of `preprocess`, stacked; an array, or a tensor on the CPU. Classes are in the order of
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
        """Return the logits of all classes."""
        raise NotImplementedError

    def _rows(self, features: Float32[np.ndarray, "n dim"], selection: Selection) -> Iterator[list[Row]]:
        """Yield each image's rows, best first, without "file_name"."""
        raise NotImplementedError

    def example_row(self, selection: Selection) -> Row:
        """Return a row of no image, for the names and types of its columns."""
        features = np.zeros((1, self.model.config.embed_dim), np.float32)
        return {"file_name": "", **next(self._rows(features, selection))[0]}

    def set_recorder(self, recorder: Any) -> None:
        """Call `recorder.add_prediction(images, **details)` after each `predict`."""
        self.recorder = recorder

    def record_event(self, images: Sequence[ImageLike], **details: Any) -> None:
        """Pass a prediction's images and details to the recorder, if there is one."""
        if self.recorder is not None:
            self.recorder.add_prediction(images, **details)

    @property
    def group_size(self) -> int:
        """Number of images that are predicted together."""
        return self.model.embedder.batch_size

    def features(
        self, images: Iterable[tuple[int, ImageLike]], on_bad: OnBad | None = None
    ) -> Iterator[NamedVectors]:
        """Embed (index, image) pairs in order, one batch at a time; as Embedder.stream_indexed.

        An image's name is its path, or without one its index.
        """
        names: dict[int, str] = {}

        def named() -> Iterator[tuple[int, ImageLike]]:
            for index, image in images:
                check_image(image, index)
                names[index] = name_of(image) or str(index)
                yield index, image

        def skip(index: int, problem: UserError) -> None:
            names.pop(index)
            on_bad(index, problem)

        for indices, features in self.model.embedder.stream_indexed(named(), on_bad and skip):
            yield [(index, names.pop(index)) for index in indices], features

    def stream_indexed(
        self, images: Iterable[tuple[int, ImageLike]], selection: Selection, on_bad: OnBad | None = None
    ) -> Iterator[tuple[int, list[Row]]]:
        """Predict (index, image) pairs: yield indices and rows, best first, in order.

        An image may have no row. on_bad: as in Embedder.stream_indexed.
        """
        for index, rows, _ in self.stream_with_vectors(images, selection, on_bad):
            yield index, rows

    def stream_with_vectors(
        self, images: Iterable[tuple[int, ImageLike]], selection: Selection, on_bad: OnBad | None = None
    ) -> Iterator[tuple[int, list[Row], Float32[np.ndarray, " embed_dim"]]]:
        """Yield the same as stream_indexed, with each image's unit vector."""
        for images_, features in self.features(images, on_bad):
            for (index, name), vector, rows in zip(images_, features, self._rows(features, selection)):
                yield index, [{"file_name": name, **row} for row in rows], vector

    def rows_of_vectors(
        self, features: Float32[np.ndarray, "n embed_dim"], selection: Selection
    ) -> Iterator[list[Row]]:
        """Yield the rows of each vector, best first, without "file_name"; see events.pooling for means."""
        yield from self._rows(features, selection)

    def _stream(
        self, images: Iterable[ImageLike] | None, selection: Selection, on_bad: OnBad | None
    ) -> Iterator[Row]:
        """Yield the rows of all images, one after another."""
        if images is None:
            raise InvalidValue(NO_IMAGES)
        for _, rows in self.stream_indexed(enumerate(images), selection, on_bad):
            yield from rows

    def _predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        selection: Selection,
        callback: Callback | None = None,
        **details: Any,
    ) -> list[Row]:
        """Return the rows of all images, one after another.

        callback: called as images are finished; without one, a terminal shows a progress bar. details: for
        the recorder. Raises UserError for an unreadable image.
        """
        images = as_images(images)
        tracked = images if callback is not None else track(images, "predicting", len(images))
        rows: list[Row] = []
        done = 0
        for batch, features in self.features(enumerate(tracked)):
            for (_, name), image_rows in zip(batch, self._rows(features, selection)):
                rows += ({"file_name": name, **row} for row in image_rows)
            done += len(batch)
            if callback is not None:
                callback(done, len(images))
        self.record_event(images=images, **details)
        return rows
