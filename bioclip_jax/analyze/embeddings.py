"""Embeddings of images with their metadata, and the species among them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from bioclip_jax.errors import UserError, closest
from bioclip_jax.pipeline.images import BadImage, Preprocess
from bioclip_jax.predict import load_pixels
from bioclip_jax.text import RANKS, Taxon, clean_text, is_missing, known_text, known_value

from .pca import group_means
from .vector_table import normalized, read_picture, read_vector_table

if TYPE_CHECKING:
    import pyarrow as pa

    from bioclip_jax.pipeline.sources import Source
    from bioclip_jax.predict import VectorCache
    from bioclip_jax.predict.embedding import LabeledEmbeddings

# Columns that a Taxon is read from.
_TAXON_COLUMNS = (*RANKS, "cls", "class_", "common_name")
# Values that an error message lists.
_LISTED = 8


@dataclass(frozen=True)
class Embeddings:
    """Images as unit vectors float32 [n, dim], with a table of n rows of metadata.

    picture: returns the encoded image of a row, or None. source: the origin, for messages.
    """

    vectors: Float32[np.ndarray, "n dim"]
    columns: pa.Table
    picture: Callable[[int], bytes | None]
    source: str

    def __len__(self) -> int:
        return len(self.vectors)

    def texts(self, name: str) -> np.ndarray:
        """Return a column as texts [n], "" where empty. Raises UserError if there is no such column."""
        return np.array([clean_text(value) for value in self._column(name).to_pylist()], dtype=str)

    def values(self, name: str) -> np.ndarray:
        """Return a factor as texts [n], "" where empty or marked unknown. Raises UserError as texts."""
        return np.array([known_value(value) for value in self._column(name).to_pylist()], dtype=str)

    def numbers(self, name: str) -> Float[np.ndarray, " n"]:
        """Return a column as float64 [n], NaN where missing.

        Raises UserError if there is no such column, or for a value that is not a finite number.
        """
        numbers = np.full(len(self), np.nan)
        for row, value in enumerate(self._column(name).to_pylist()):
            if value is None or value != value or (isinstance(value, str) and is_missing(value)):
                continue
            try:
                number = float(value)
            except (TypeError, ValueError):
                number = math.inf
            if math.isinf(number):
                raise UserError(
                    f"column {name} of {self.source} holds {value!r} in row {row + 1}, which is not a "
                    "number; name a column of numbers"
                )
            numbers[row] = number
        return numbers

    def species(self, column: str | None = None) -> np.ndarray:
        """Return the species of each row as text [n], "" where unknown.

        column: holds the species; by default scientific names are built from genus and species columns.
        Raises UserError if there is no such column, or by default no column genus or species.
        """
        if column is not None:
            return np.array([known_text(value) for value in self._column(column).to_pylist()], dtype=str)
        if not {"genus", "species"} <= set(self.columns.column_names):
            raise UserError(
                f"{self.source} has no columns genus and species; name the species column with "
                f"--species-column, one of: {', '.join(self.columns.column_names) or 'none'}"
            )
        return np.array([taxon.scientific_name if taxon.species else "" for taxon in self.taxa()], dtype=str)

    def taxa(self) -> list[Taxon]:
        """Return the taxon of each row; ranks without a column are unknown."""
        return self._taxa

    @cached_property
    def _taxa(self) -> list[Taxon]:
        names = [name for name in _TAXON_COLUMNS if name in self.columns.column_names]
        # Rows of a species share one Taxon.
        distinct: dict[tuple[Any, ...], Taxon] = {}
        taxa = []
        for values in zip(*(self.columns[name].to_pylist() for name in names)):
            if (taxon := distinct.get(values)) is None:
                taxon = distinct[values] = Taxon.from_row(dict(zip(names, values)))
            taxa.append(taxon)
        return taxa if names else [Taxon()] * len(self)

    def thumbnail(self, row: int, pixels: int = 96) -> UInt8[np.ndarray, "pixels pixels 3"] | None:
        """Return the center crop of a row's image, or None if there is no readable image."""
        content = self.picture(row)
        if content is None:
            return None
        try:
            return load_pixels(content, Preprocess(pixels, resize_mode="shortest"))
        except (BadImage, OSError, ValueError):
            return None

    def take(self, rows: Int[np.ndarray, " rows"]) -> Embeddings:
        """Select rows, in that order."""
        rows = np.asarray(rows, np.int64)
        picture = self.picture
        return Embeddings(
            self.vectors[rows], self.columns.take(rows), lambda row: picture(int(rows[row])), self.source
        )

    def where(self, column: str, value: str) -> Embeddings:
        """Select the rows with `value` in `column`. Raises UserError if there is none."""
        values = self.texts(column)
        rows = np.flatnonzero(values == clean_text(value))
        if not len(rows):
            known = sorted({text for text in values.tolist() if text})
            raise UserError(
                f"no row of {self.source} has {column} {value!r}{_nearest(value, known)}; it has "
                f"{', '.join(known[:_LISTED]) or 'no value'}{', …' if len(known) > _LISTED else ''}"
            )
        return self.take(rows)

    def _column(self, name: str) -> pa.ChunkedArray:
        known = self.columns.column_names
        if known.count(name) != 1:
            problem = "has no column" if name not in known else "has more than one column"
            raise UserError(
                f"{self.source} {problem} {name!r}{_nearest(name, known)}; it has "
                f"{', '.join(known) or 'none'}"
            )
        return self.columns[name]


@dataclass(frozen=True)
class Species:
    """The species of images: names, means of their unit vectors (not normalized again), and taxa.

    groups: index of each image's species, -1 if unknown.
    """

    names: list[str]
    groups: Int[np.ndarray, " n"]
    means: Float[np.ndarray, "species dim"]
    taxa: list[Taxon]

    @classmethod
    def of(cls, embeddings: Embeddings, column: str | None) -> Species:
        """Group the images by Embeddings.species(column). Raises UserError if no image has a species."""
        names, groups = np.unique(embeddings.species(column), return_inverse=True)
        if len(names) and not names[0]:
            names, groups = names[1:], groups - 1
        if not len(names):
            raise UserError(
                f"{embeddings.source} names no species; give images with a genus and a species, or a column"
            )
        means = group_means(embeddings.vectors, groups, len(names))
        return cls(names.tolist(), groups, means, _most_frequent(embeddings.taxa(), groups, len(names)))


def _most_frequent(taxa: Sequence[Taxon], groups: Int[np.ndarray, " n"], number: int) -> list[Taxon]:
    """Return the most frequent known taxon of each group."""
    codes: dict[Taxon, int] = {}
    code = np.array([codes.setdefault(taxon, len(codes)) for taxon in taxa], np.int64)
    distinct = list(codes)
    known = (groups >= 0) & np.array([any(taxon.lineage()) for taxon in distinct], bool)[code]
    pairs, counts = np.unique(groups[known] * len(distinct) + code[known], return_counts=True)
    frequent = [Taxon()] * number
    for index in np.argsort(counts, kind="stable"):
        frequent[pairs[index] // len(distinct)] = distinct[pairs[index] % len(distinct)]
    return frequent


def read_embeddings(path: Path) -> Embeddings:
    """Read the Parquet file of `bioclip-jax embed`: emb (lists of numbers), path, and columns of metadata.

    Vectors are normalized. Rows whose vector is missing, not finite or all zero are skipped and counted on
    standard error. Raises UserError if the file cannot be read or has no vectors.
    """
    path = Path(path)
    vectors, columns = read_vector_table(path)
    paths = columns["path"].to_pylist() if "path" in columns.column_names else []
    return Embeddings(vectors, columns, lambda row: read_picture(paths, row, path.parent), str(path))


def embed_source(
    model: str, source: Source, *, batch_size: int | None = None, cache: VectorCache | None = None
) -> Embeddings:
    """Encode the images of a source with a MODEL and its own preprocessing; columns as from_labeled.

    Unreadable images are named on standard error and skipped. Raises UserError if no image remains, or if
    `model` is not a MODEL.
    """
    from bioclip_jax.convert import resolve
    from bioclip_jax.predict import Model
    from bioclip_jax.predict.embedding import embed_labeled

    bundle = resolve(model)
    loaded = Model(bundle, batch_size=batch_size, transform="model")
    return from_labeled(embed_labeled(loaded, source, cache=cache), source, model)


def from_labeled(labeled: LabeledEmbeddings, source: Source, name: str) -> Embeddings:
    """Combine vectors with the source's metadata: ranks, common_name, and its other columns.

    A column of the source named like a rank becomes the column label.
    """
    import pyarrow as pa

    usable, vectors = normalized(labeled.features)
    if not usable.all():
        print(f"skipped {int((~usable).sum()):,} images without a usable vector", file=sys.stderr)
    rows = np.flatnonzero(usable)
    samples, indices = [labeled.samples[row] for row in rows], labeled.indices[rows].tolist()
    if not samples:
        raise UserError(f"no image has a usable vector of {name}; give another model or other images")
    taxa = [sample.taxon or Taxon() for sample in samples]
    columns: dict[str, Any] = {rank: [taxon.rank(rank) for taxon in taxa] for rank in RANKS}
    columns["common_name"] = [taxon.common_name for taxon in taxa]
    keys = dict.fromkeys(key for sample in samples for key in sample.metadata)
    for key in keys:
        free = key if key not in columns else "label" if "label" not in keys else f"{key}_label"
        columns[free] = _with_one_type([sample.metadata.get(key) for sample in samples])

    def picture(row: int) -> bytes | None:
        try:
            return source[indices[row]].image or None
        except (OSError, ValueError):
            return None

    return Embeddings(vectors, pa.table(columns), picture, name)


def _with_one_type(values: Sequence[Any]) -> Sequence[Any]:
    """Return values of one type: unchanged, integers among floats as floats, other mixtures as texts."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return [None if value is None else float(value) for value in values] if len(kinds) == 2 else values
    return values if len(kinds) == 1 else [None if value is None else str(value) for value in values]


def _nearest(name: str, known: Sequence[str]) -> str:
    near = closest(name, known)
    return f" (did you mean {near[0]}?)" if near and near[0] != name else ""
