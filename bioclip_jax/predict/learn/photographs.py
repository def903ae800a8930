"""Embed the labeled photographs of a folder, a table, tars or TFDS, cropped, without rejected rows."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import Sample, Source, open_source
from bioclip_jax.predict.crop import BOX_COLUMNS, Box, row_box
from bioclip_jax.predict.embedding import StoredImage, embed_stored, stored_images, unit
from bioclip_jax.predict.review import REJECTED
from bioclip_jax.predict.reviewed_sample import sample_caution

if TYPE_CHECKING:
    from bioclip_jax.predict.model import Model
    from bioclip_jax.predict.vector_cache import VectorCache

STATUS_COLUMN = "status"


@dataclass(frozen=True)
class Photographs:
    """Readable photographs with their labels.

    vectors: of length 1. images: to read them again. samples: their labels, without image bytes. paths: for
    tables, absolute where the photograph is a file, else its key. skipped: number of unreadable ones.
    caution: of sample_caution, for reviewed photographs.
    """

    vectors: Float32[np.ndarray, "n dim"]
    images: Sequence[StoredImage]
    samples: Sequence[Sample]
    paths: Sequence[str]
    skipped: int
    caution: str | None = None

    def __len__(self) -> int:
        return len(self.samples)


def read_photographs(data: str, model: Model, cache: VectorCache | None = None) -> Photographs:
    """Embed the photographs of `data`, as open_source; a folder may also hold one folder for each class.

    Rows that a person rejected in a review are skipped, and rows with a box are cropped to it. Raises
    UserError without data, for an invalid box, and if no photograph is readable.
    """
    source = open_source(data, split="train", class_folders=True)
    images = labeled_images(source)
    embedded = embed_stored(model, images, cache=cache)
    files = source.files() if hasattr(source, "files") else None
    by_index = {image.index: image for image in images}
    indices = embedded.indices.tolist()
    return Photographs(
        unit(embedded.features),
        [by_index[index] for index in indices],
        embedded.samples,
        [
            sample.key if files is None else os.path.abspath(files[index])
            for index, sample in zip(indices, embedded.samples)
        ],
        len(images) - len(embedded),
        sample_caution(source.column) if hasattr(source, "column") else None,
    )


def labeled_images(source: Source) -> list[StoredImage]:
    """Return the images of a source without those of rejected rows, and cropped where rows have a box.

    The number of rejected rows is reported on standard error.
    """
    images = stored_images(source)
    if not hasattr(source, "column"):
        return images
    boxes = _boxes(source)
    statuses = source.column(STATUS_COLUMN) or [None] * len(images)
    kept = [
        image if boxes[image.index] is None else replace(image, box=boxes[image.index])
        for image, status in zip(images, statuses)
        if str(status or "").strip().lower() != REJECTED
    ]
    if rejected := len(images) - len(kept):
        print(f"skipped {rejected:,} rejected rows", file=sys.stderr)
    if not kept:
        raise UserError("all rows of the table are rejected; confirm or correct some")
    return kept


def _boxes(source: Any) -> list[Box | None]:
    """Return each row's box, None for a row without one."""
    columns = {name: column for name in BOX_COLUMNS if (column := source.column(name)) is not None}
    if not columns:
        return [None] * len(source)
    return [
        row_box(dict(zip(columns, cells)), f"row {number} of the table")
        for number, cells in enumerate(zip(*columns.values()), 1)
    ]
