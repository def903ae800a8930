"""Predictions and similar images for photos, one request at a time: the model behind the page and the API."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import UserError
from bioclip_jax.predict import ImageLike, Model, Rank

from .classifiers import ALL, Choice, Classifiers, PhotoHead, PhotoLabels, PhotoTaxa
from .language import VisitorError
from .photos import Photo, predicted_columns, read_photo
from .queue import RequestQueue
from .similar import SimilarImages
from .uploads import Limits, Upload

Row = dict[str, Any]

# Label sets with cached vectors, for visitors who try one set on many photos.
_CACHED_LABEL_SETS = 16
# Classes of a learned head that a card lists.
_RANKED = 5


class PhotoService:
    """A model with its taxa and its index; every method takes its turn in a RequestQueue.

    model: the Model. name: its source, without local folders. taxa, index: None if the server has none.
    limits: of a request. within: the taxon that the taxa are restricted to, if any.
    """

    def __init__(
        self,
        model: Model,
        *,
        taxa: PhotoTaxa | None = None,
        index: SimilarImages | None = None,
        limits: Limits,
        within: str | None = None,
        heads: Mapping[str, PhotoHead] = MappingProxyType({}),
    ) -> None:
        self.model, self.taxa, self.index, self.limits, self.within = model, taxa, index, limits, within
        self.name = model.source if model.source.startswith("hf-hub:") else os.path.basename(model.source)
        self._queue = RequestQueue(limits.waiting)
        self._label_sets: OrderedDict[tuple[str, ...], PhotoLabels] = OrderedDict()
        self._classifiers = Classifiers(taxa, heads)

    def read(
        self, uploads: Sequence[Upload], choice: Choice | None = ALL
    ) -> tuple[list[Photo], list[tuple[str, UserError]]]:
        """Return the readable photos, and the name and the error of each other file.

        choice: of the taxa whose probabilities the photos have; None omits them. Raises VisitorError for too
        many files, or Busy.
        """
        if len(uploads) > self.limits.files:
            raise VisitorError("many_files", count=len(uploads), most=self.limits.files)
        max_bytes = self.limits.file_mb * 1_000_000
        with self._queue.turn():
            with ThreadPoolExecutor(2) as pool:
                decoded = list(
                    pool.map(lambda upload: read_photo(upload, max_bytes, self.model.preprocess), uploads)
                )
            readable = [
                (upload, *result)
                for upload, result in zip(uploads, decoded)
                if not isinstance(result, UserError)
            ]
            batches = self.model.embedder.pixels([pixels for _, pixels, _ in readable]) if readable else ()
            vectors = (vector for batch in batches for vector in batch)
            photos = [
                Photo(upload.name, thumbnail, vector, digest=upload.digest)
                for (upload, _, thumbnail), vector in zip(readable, vectors)
            ]
            if choice is not None:
                photos = self._explained(photos, choice)
        errors = [
            (upload.name, result) for upload, result in zip(uploads, decoded) if isinstance(result, UserError)
        ]
        return photos, errors

    def explain(self, photos: Sequence[Photo], choice: Choice) -> list[Photo]:
        """Return the photos with probabilities of a choice's taxa. Raises UserError for an impossible one."""
        with self._queue.turn():
            return self._explained(photos, choice)

    def _explained(self, photos: Sequence[Photo], choice: Choice) -> list[Photo]:
        classifier = self._classifiers[choice]
        if classifier is None or not photos:
            return list(photos)
        if isinstance(classifier, PhotoHead):
            ranked = _by_photo(photos, classifier.stream(photos, _RANKED))
            return [
                replace(photo, ranked=tuple(rows), metadata={**photo.metadata, **predicted_columns(rows[0])})
                for photo, rows in zip(photos, ranked)
            ]
        return [
            replace(
                photo,
                explained=explained,
                metadata={**photo.metadata, **predicted_columns(explained.species[0])},
            )
            for photo, explained in zip(photos, classifier.explain(photos))
        ]

    @property
    def heads(self) -> list[str]:
        """Names of the learned heads."""
        return list(self._classifiers.heads)

    def chosen(self, choice: Choice) -> PhotoTaxa | PhotoHead | None:
        """Return the classifier of a choice; None if the server has no taxa."""
        if choice == ALL:
            return self.taxa
        with self._queue.turn():
            return self._classifiers[choice]

    def embed(self, images: Sequence[ImageLike]) -> tuple[list[int], Float32[np.ndarray, "rows embed_dim"]]:
        """Return the indices of the readable images among the server's own, and their unit vectors."""
        with self._queue.turn():
            batches = list(self.model.embedder.stream(images, lambda index, error: None))
        if not batches:
            return [], np.empty((0, self.model.config.embed_dim), np.float32)
        indices = [index for batch, _ in batches for index in batch]
        return indices, np.concatenate([vectors for _, vectors in batches])

    def with_predicted_columns(self, photos: Sequence[Photo]) -> list[Photo]:
        """Add the lineage of the most probable species to the photos' metadata, if the server has taxa."""
        if self.taxa is None or not photos:
            return list(photos)
        rows = self.predict(photos, Rank.SPECIES, 1, None)
        return [
            replace(photo, metadata={**photo.metadata, **predicted_columns(best)})
            for photo, (best,) in zip(photos, rows)
        ]

    def predict(
        self,
        photos: Sequence[Photo],
        rank: Rank,
        k: int,
        min_confidence: float | None,
        choice: Choice = ALL,
    ) -> list[list[Row]]:
        """Rows of TreeOfLifeClassifier.stream for each photo.

        Raises UserError if the server has no taxa, and for an impossible choice.
        """
        if self.taxa is None and not choice.head:
            raise UserError("this server has no taxa; start it with --taxa FILE, or use /api/labels")
        with self._queue.turn():
            classifier = self._classifiers[choice]
            if isinstance(classifier, PhotoHead):
                if classifier.rank is None:
                    rank = None
                elif rank.value > classifier.rank.value:
                    rank = classifier.rank
                rows = classifier.stream(photos, k, rank=rank, min_confidence=min_confidence)
            else:
                rows = classifier.stream(photos, rank, k, min_confidence=min_confidence)
            return _by_photo(photos, rows)

    def compare(
        self, photos: Sequence[Photo], labels: Sequence[str], k: int | None = None
    ) -> list[list[Row]]:
        """Rows of CustomLabelsClassifier for each photo. Raises UserError for labels beyond the limits."""
        unique = tuple(dict.fromkeys(label.strip() for label in labels if label.strip()))
        if not unique:
            raise VisitorError("no_label")
        if len(unique) > self.limits.labels:
            raise VisitorError("many_labels", count=len(unique), most=self.limits.labels)
        longest, most = max(unique, key=len), self.limits.label_length
        if len(longest) > most:
            raise VisitorError("long_label", label=longest[:30], count=len(longest), most=most)
        with self._queue.turn():
            classifier = self._label_sets.pop(unique, None) or PhotoLabels(list(unique), self.model)
            self._label_sets[unique] = classifier
            if len(self._label_sets) > _CACHED_LABEL_SETS:
                self._label_sets.popitem(last=False)
            return _by_photo(photos, classifier.stream(photos, k))

    def similar(self, photo: Photo, k: int, within: str | None = None) -> list[Row]:
        """Search the index for the k most similar images, as SimilarImages.search.

        Raises UserError if the server has no index, or the index no image of the taxon `within`.
        """
        if self.index is None:
            raise UserError("this server has no index of images; start it with --index DIR")
        with self._queue.turn():
            return self.index.search(photo.vector, k, within)

    def attribution(
        self,
        upload: Upload,
        rank: Rank = Rank.SPECIES,
        k: int = 5,
        labels: Sequence[str] = (),
        choice: Choice = ALL,
    ) -> Row:
        """Return explain_upload of one photo: heat maps and reference pictures of its best candidates.

        labels: candidates instead of the choice. Raises UserError for an unreadable photo, for labels beyond
        the limits, and without labels if the server has no taxa.
        """
        from .explain import explain_upload

        if labels:
            self.compare([], labels)
        elif self.taxa is None and not choice.head:
            raise UserError("this server has no taxa; start it with --taxa FILE, or send labels")
        with self._queue.turn():
            names = tuple(dict.fromkeys(label.strip() for label in labels if label.strip()))
            if names:
                classifier = self._label_sets.get(names) or PhotoLabels(names, self.model)
            else:
                classifier = self._classifiers[choice]
            index = None if self.index is None else self.index.images
            max_bytes = self.limits.file_mb * 1_000_000
            return explain_upload(upload, max_bytes, classifier, index, k=k, rank=rank)


def _by_photo(photos: Sequence[Photo], rows: Iterable[Row]) -> list[list[Row]]:
    """Group rows by the photo whose index they have as their file name, and restore the name."""
    grouped: list[list[Row]] = [[] for _ in photos]
    for row in rows:
        index = int(row["file_name"])
        grouped[index].append({**row, "file_name": photos[index].name})
    return grouped
