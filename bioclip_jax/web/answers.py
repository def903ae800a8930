"""What the server can say of photos: one place for the page and the API."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import UserError
from bioclip_jax.predict import ImageLike, Model, OnBad, Rank
from bioclip_jax.predict.classifiers import CustomLabelsClassifier, TreeOfLifeClassifier

from .limits import Limits, Turns
from .metadata import predicted_columns
from .photos import Photo, Upload, read_photo

Row = dict[str, Any]

# Label sets whose vectors are kept, for people who try one set on many photos.
_KEPT_LABEL_SETS = 16


class _OfVectors:
    """A classifier's images are photos whose vectors are known: the towers see each photo once.

    Rows call a photo by its place, because two photos may have the same name.
    """

    def features(
        self, images: Iterable[Photo], on_bad: OnBad | None = None
    ) -> Iterator[tuple[list[str], Float32[np.ndarray, "rows embed_dim"]]]:
        photos = list(images)
        for start in range(0, len(photos), 64):
            some = photos[start : start + 64]
            yield (
                [str(start + place) for place in range(len(some))],
                np.stack([photo.vector for photo in some]),
            )


class PhotoTaxa(_OfVectors, TreeOfLifeClassifier):
    """TreeOfLifeClassifier for photos whose vectors are known."""


class PhotoLabels(_OfVectors, CustomLabelsClassifier):
    """CustomLabelsClassifier for photos whose vectors are known."""


class Answers:
    """A model, and the taxa and the index that were named with it. Every answer waits for its turn.

    model: the Model. name: what visitors may read of where it came from. taxa: the classifier over the taxa,
    or None.
    index: similar images, or None. limits: what one request may bring. within: the taxon that the taxa belong
    to, where they were chosen by one.
    """

    def __init__(
        self,
        model: Model,
        *,
        taxa: PhotoTaxa | None = None,
        index: Any = None,
        limits: Limits,
        within: str | None = None,
    ) -> None:
        self.model, self.taxa, self.index, self.limits, self.within = model, taxa, index, limits, within
        self.name = model.source if model.source.startswith("hf-hub:") else os.path.basename(model.source)
        self._turns = Turns(limits.waiting)
        self._label_sets: OrderedDict[tuple[str, ...], PhotoLabels] = OrderedDict()

    def photos(self, uploads: Sequence[Upload], *, explain: bool = True) -> tuple[list[Photo], list[Row]]:
        """The photos that can be read, and for the others rows with "file_name" and "error".

        `explain`: ask the taxa too, where there are some. UserError for more files than are taken; Busy.
        """
        if len(uploads) > self.limits.files:
            raise UserError(f"{len(uploads)} files are too many; send at most {self.limits.files} at once")
        most = self.limits.file_mb * 1_000_000
        with self._turns.turn():
            with ThreadPoolExecutor(2) as pool:
                read = list(pool.map(lambda upload: read_photo(upload, most, self.model.preprocess), uploads))
            good = [
                (upload.name, *found)
                for upload, found in zip(uploads, read)
                if not isinstance(found, UserError)
            ]
            # The pixels are prepared already, in floats for a model that is shown squashed images.
            batches = self.model.embedder.pixels([pixels for _, pixels, _ in good]) if good else ()
            vectors = (vector for batch in batches for vector in batch)
            photos = [Photo(name, thumbnail, vector) for (name, _, thumbnail), vector in zip(good, vectors)]
            if explain and photos and self.taxa is not None:
                photos = [
                    replace(photo, explained=found, about=predicted_columns(found.species[0]))
                    for photo, found in zip(photos, self.taxa.explain(photos))
                ]
        bad = [(upload.name, found) for upload, found in zip(uploads, read) if isinstance(found, UserError)]
        return photos, [{"file_name": name, "error": str(problem)} for name, problem in bad]

    def vectors(self, images: Sequence[ImageLike]) -> tuple[list[int], Float32[np.ndarray, "rows embed_dim"]]:
        """The places of the server's own images that can be read, and their unit vectors."""
        with self._turns.turn():
            parts = list(self.model.embedder.stream(images, lambda place, problem: None))
        places = [place for some, _ in parts for place in some]
        dim = self.model.config.embed_dim
        return places, np.concatenate([vectors for _, vectors in parts]) if parts else np.empty(
            (0, dim), np.float32
        )

    def with_predicted_columns(self, photos: Sequence[Photo]) -> list[Photo]:
        """The photos with the most probable species' lineage among their columns, where the server has taxa."""
        if self.taxa is None or not photos:
            return list(photos)
        rows = self.at_rank(photos, Rank.SPECIES, 1, None)
        return [
            replace(photo, about={**photo.about, **predicted_columns(best)})
            for photo, (best,) in zip(photos, rows)
        ]

    def at_rank(
        self, photos: Sequence[Photo], rank: Rank, k: int, min_confidence: float | None
    ) -> list[list[Row]]:
        """TreeOfLifeClassifier.stream's rows of each photo. UserError where the server has no taxa."""
        if self.taxa is None:
            raise UserError("this server has no taxa; start it with --taxa FILE, or ask /api/labels")
        with self._turns.turn():
            return _of_each(photos, self.taxa.stream(photos, rank, k, min_confidence=min_confidence))

    def with_labels(
        self, photos: Sequence[Photo], labels: Sequence[str], k: int | None = None
    ) -> list[list[Row]]:
        """CustomLabelsClassifier's rows of each photo, for labels that a person wrote.

        UserError for no labels, too many, or too long ones.
        """
        key = tuple(dict.fromkeys(label.strip() for label in labels if label.strip()))
        if not key:
            raise UserError(
                "there is no label to choose from; write one a line, or separate them with commas"
            )
        if len(key) > self.limits.labels:
            raise UserError(f"{len(key)} labels are too many; write at most {self.limits.labels}")
        longest = max(key, key=len)
        if len(longest) > self.limits.label_length:
            most = self.limits.label_length
            raise UserError(f"the label {longest[:30]}… has {len(longest)} characters; write at most {most}")
        with self._turns.turn():
            classifier = self._label_sets.pop(key, None) or PhotoLabels(list(key), self.model)
            self._label_sets[key] = classifier
            if len(self._label_sets) > _KEPT_LABEL_SETS:
                self._label_sets.popitem(last=False)
            return _of_each(photos, classifier.stream(photos, k))

    def similar(self, photo: Photo, k: int, within: str | None = None) -> list[Row]:
        """The k most similar images of the index, best first, as its search gives them: "path", "score", lineage.

        UserError where the server has no index, or its names do not hold `within`.
        """
        if self.index is None:
            raise UserError("this server has no index of images; start it with --index DIR")
        with self._turns.turn():
            return self.index.similar(photo.vector, k, within)


def _of_each(photos: Sequence[Photo], rows: Iterable[Row]) -> list[list[Row]]:
    """Each photo's rows, from those of all, which call it by its place."""
    found: list[list[Row]] = [[] for _ in photos]
    for row in rows:
        place = int(row["file_name"])
        found[place].append({**row, "file_name": photos[place].name})
    return found
