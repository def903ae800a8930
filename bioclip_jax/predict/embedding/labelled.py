"""Vectors of a labelled source's images, beside what the source says of each: what protocols and analyses start from."""

from __future__ import annotations

import contextlib
import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import BadImage
from bioclip_jax.pipeline.sources import Sample, Source
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.progress import Unreadable, report_truncated
from bioclip_jax.tables import shown_path

from .stream import stream_vectors

if TYPE_CHECKING:
    from bioclip_jax.predict.model import Model
    from bioclip_jax.predict.vector_cache import VectorCache


@dataclass(frozen=True)
class LabelledVectors:
    """The readable images of a source, in its order.

    features: as the image tower projects them, of any length. samples: what the source says of each, without
    the images' bytes. places: where each stands in the source. left_out: how many images are missing, by
    cause.
    """

    features: Float32[np.ndarray, "n dim"]
    samples: Sequence[Sample]
    places: Int[np.ndarray, " n"]
    left_out: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def unit(self) -> Float32[np.ndarray, "n dim"]:
        """The vectors at length 1; one of length 0 stays."""
        return unit(self.features)

    def column(self, name: str) -> list[Any]:
        """What the source says under `name`, an image an entry, "" where it says nothing of one.

        UserError if it says it of none.
        """
        values = [sample.metadata.get(name, "") for sample in self.samples]
        if not any(name in sample.metadata for sample in self.samples):
            known = sorted({key for sample in self.samples for key in sample.metadata})
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(known) or 'none'}"
            raise UserError(f"the data have no column {name!r}; {hint}")
        return values

    def take(self, rows: Int[np.ndarray, " rows"]) -> LabelledVectors:
        """Some of the images, in the order of `rows`."""
        rows = np.asarray(rows)
        return LabelledVectors(
            self.features[rows], [self.samples[row] for row in rows], self.places[rows], self.left_out
        )


def unit(vectors: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dim"]:
    """The vectors at length 1; one of length 0 stays."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def embed_labelled(model: Model, source: Source, *, cache: VectorCache | None = None) -> LabelledVectors:
    """Encode all images of a source, each once; with `cache`, those alone that were not encoded before.

    An image that cannot be read is named on standard error and left out. UserError if none is left.
    """
    return embed_stored(model, stored_images(source), cache=cache)


@dataclass(frozen=True, slots=True)
class StoredImage(ImageFile):
    """One image of a source; what the source says of it is in `labels` once it was read."""

    source: Source | None = None
    place: int = 0
    labels: dict[int, Sample] | None = None

    def read(self) -> bytes:
        """The encoded image. OSError if the source has none, or cannot be read."""
        try:
            sample = self.source[self.place]
        except ValueError as error:
            raise OSError(str(error)) from error
        self.labels[self.place] = replace(sample, image=b"", captions={})
        if not sample.image:
            raise NoImage("it is missing")
        return sample.image


def read_labels(source: Source) -> list[Sample]:
    """What a source says of its images, without them; of what cannot be read it says nothing."""
    images = stored_images(source)
    for image in images:
        with contextlib.suppress(OSError):
            image.read()
    return [image.labels[image.place] for image in images if image.place in image.labels]


class NoImage(OSError):
    """A sample that has no image."""


def stored_images(source: Source, places: Iterable[int] | None = None) -> list[StoredImage]:
    """The images at `places` of a source, all of them by default, none of which is read yet."""
    labels: dict[int, Sample] = {}
    return [
        StoredImage(f"image {place}", "", source=source, place=place, labels=labels)
        for place in (range(len(source)) if places is None else places)
    ]


def cause(problem: UserError) -> str:
    """Why an image was left out, in a word: no_image, or what the decoder says."""
    if isinstance(problem.__cause__, NoImage):
        return "no_image"
    return problem.__cause__.cause if isinstance(problem.__cause__, BadImage) else "unreadable"


def embed_stored(
    model: Model, images: Sequence[StoredImage], *, cache: VectorCache | None = None
) -> LabelledVectors:
    """As embed_labelled, for images of one source."""
    unreadable = Unreadable(len(images))
    causes: Counter[str] = Counter()

    def leave_out(number: int, problem: UserError) -> None:
        causes[cause(problem)] += 1
        label = (images[number].labels or {}).get(images[number].place)
        about = (
            str(problem)
            if label is None
            else str(problem).replace(images[number].name, shown_path(label.key), 1)
        )
        named = UserError(about)
        named.__cause__ = problem.__cause__
        unreadable(number, named)

    features: list[Float32[np.ndarray, "rows dim"]] = []
    numbers: list[int] = []
    truncated = len(model.embedder.truncated)
    for rows, vectors in stream_vectors(model, images, leave_out, cache, normalize=False):
        numbers += rows
        features.append(vectors)
    report_truncated(model.embedder.truncated[truncated:])
    chosen = [images[number] for number in numbers]
    return LabelledVectors(
        np.concatenate(features),
        [image.labels[image.place] for image in chosen],
        np.array([image.place for image in chosen], np.int64),
        dict(causes),
    )
