"""Embeddings of a labeled source's images beside their labels: the input of protocols and analyses."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int

from bioclip_jax.errors import UserError, did_you_mean
from bioclip_jax.pipeline.images import BadImage
from bioclip_jax.pipeline.sources import Sample, Source
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.progress import FailureLog, report_truncated
from bioclip_jax.tables import shown_path

from .stream import stream_vectors

if TYPE_CHECKING:
    from bioclip_jax.predict.model import Model
    from bioclip_jax.predict.vector_cache import VectorCache


@dataclass(frozen=True)
class LabeledEmbeddings:
    """Embeddings and labels of the readable images of a source, in its order.

    features: the image tower's projections, not normalized. samples: the labels, without image bytes.
    indices: positions in the source. skipped: number of missing images by cause.
    """

    features: Float32[np.ndarray, "n dim"]
    samples: Sequence[Sample]
    indices: Int[np.ndarray, " n"]
    skipped: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def unit(self) -> Float32[np.ndarray, "n dim"]:
        """The features at length 1; a zero vector stays zero."""
        return unit(self.features)

    def column(self, name: str) -> list[Any]:
        """Return one metadata value per image, "" where an image has none.

        Raises UserError if no image has it.
        """
        values = [sample.metadata.get(name, "") for sample in self.samples]
        if not any(name in sample.metadata for sample in self.samples):
            known = sorted({key for sample in self.samples for key in sample.metadata})
            hint = did_you_mean(name, known, f"there is {', '.join(known) or 'none'}")
            raise UserError(f"the data have no column {name!r}{hint}")
        return values

    def take(self, rows: Int[np.ndarray, " rows"]) -> LabeledEmbeddings:
        """Select images, in the order of `rows`."""
        rows = np.asarray(rows)
        return LabeledEmbeddings(
            self.features[rows], [self.samples[row] for row in rows], self.indices[rows], self.skipped
        )


def unit(vectors: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dim"]:
    """Scale vectors to length 1; a zero vector stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


@dataclass(frozen=True, slots=True)
class StoredImage(ImageFile):
    """An image of a source; reading it adds its labels to `labels`, which all images of the source share."""

    source: Source | None = None
    index: int = 0
    labels: dict[int, Sample] | None = None

    def read(self) -> bytes:
        """Return the encoded image. Raises OSError if it is missing or unreadable."""
        try:
            sample = self.source[self.index]
        except ValueError as error:
            raise OSError(str(error)) from error
        self.labels[self.index] = replace(sample, image=b"", captions={})
        if not sample.image:
            raise NoImage("it is missing")
        return sample.image


class NoImage(OSError):
    """A sample that has no image."""


def stored_images(source: Source, indices: Iterable[int] | None = None) -> list[StoredImage]:
    """Return unread images of a source, by default all of them."""
    labels: dict[int, Sample] = {}
    return [
        StoredImage(f"image {index}", "", source=source, index=index, labels=labels)
        for index in (range(len(source)) if indices is None else indices)
    ]


def read_samples(source: Source) -> list[Sample]:
    """Read the labels of a source's images without the images; unreadable samples are skipped."""
    images = stored_images(source)
    for image in images:
        with contextlib.suppress(OSError):
            image.read()
    return [image.labels[image.index] for image in images if image.index in image.labels]


def embed_labeled(model: Model, source: Source, *, cache: VectorCache | None = None) -> LabeledEmbeddings:
    """Embed every image of a source once; vectors in `cache` are reused.

    Unreadable images are reported on standard error and skipped. Raises UserError if all are.
    """
    return embed_stored(model, stored_images(source), cache=cache)


def embed_stored(
    model: Model, images: Sequence[StoredImage], *, cache: VectorCache | None = None
) -> LabeledEmbeddings:
    """Embed images of one source, as embed_labeled."""
    failures = FailureLog(len(images))
    causes: Counter[str] = Counter()

    def skip(index: int, problem: UserError) -> None:
        causes[cause(problem)] += 1
        image = images[index]
        label = (image.labels or {}).get(image.index)
        # Messages name an image by its key, which is available once the sample was read.
        message = (
            str(problem) if label is None else str(problem).replace(image.name, shown_path(label.key), 1)
        )
        named = UserError(message)
        named.__cause__ = problem.__cause__
        failures(index, named)

    features: list[Float32[np.ndarray, "rows dim"]] = []
    kept: list[StoredImage] = []
    truncated = len(model.embedder.truncated)
    for indices, vectors in stream_vectors(model, images, skip, cache, normalize=False):
        kept += (images[index] for index in indices)
        features.append(vectors)
    report_truncated(model.embedder.truncated[truncated:])
    return LabeledEmbeddings(
        np.concatenate(features),
        [image.labels[image.index] for image in kept],
        np.array([image.index for image in kept], np.int64),
        dict(causes),
    )


def cause(problem: UserError) -> str:
    """Return why an image was skipped: no_image, unreadable, or the decoder's cause."""
    if isinstance(problem.__cause__, NoImage):
        return "no_image"
    return problem.__cause__.cause if isinstance(problem.__cause__, BadImage) else "unreadable"
