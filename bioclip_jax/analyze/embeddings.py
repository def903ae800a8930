"""Embeddings of images beside what is known of each, as the analyses read them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32, Int

from bioclip_jax.errors import UserError, closest
from bioclip_jax.text import RANKS, Taxon, clean_text, is_missing, known_text, known_value

from .vector_table import normalized, read_picture, read_vector_table

if TYPE_CHECKING:
    import pyarrow as pa

    from bioclip_jax.pipeline.sources import Source
    from bioclip_jax.predict import VectorCache
    from bioclip_jax.predict.embedding import LabeledEmbeddings

# Where a table keeps what a Taxon is made of.
_TAXON_COLUMNS = (*RANKS, "cls", "class_", "common_name")
# Values that an error lists.
_LISTED = 8


@dataclass(frozen=True)
class Embeddings:
    """Images as unit vectors float32 [n, dim], and a table of n rows of what is known of each.

    picture: the encoded image of a row, None where it is not at hand. source: where they come from, for a
    person.
    """

    vectors: Float32[np.ndarray, "n dim"]
    columns: pa.Table
    picture: Callable[[int], bytes | None]
    source: str

    def __len__(self) -> int:
        return len(self.vectors)

    def texts(self, name: str) -> np.ndarray:
        """A column as texts [n], "" where it is empty. UserError if there is no such column."""
        return np.array([clean_text(value) for value in self._column(name).to_pylist()], dtype=str)

    def values(self, name: str) -> np.ndarray:
        """A factor as texts [n], "" where it is empty or says that it is unknown. UserError as texts."""
        return np.array([known_value(value) for value in self._column(name).to_pylist()], dtype=str)

    def numbers(self, name: str) -> Float[np.ndarray, " n"]:
        """A column as float64, NaN where nothing is known.

        UserError if there is no such column, or it holds what is no finite number.
        """
        found = np.full(len(self), np.nan)
        for row, value in enumerate(self._column(name).to_pylist()):
            if value is None or value != value or (isinstance(value, str) and is_missing(value)):
                continue
            try:
                number = float(value)
            except (TypeError, ValueError):
                number = math.inf
            if math.isinf(number):
                raise UserError(
                    f"column {name} of {self.source} holds {value!r} in row {row + 1}, which is no number; "
                    "name a column of numbers"
                )
            found[row] = number
        return found

    def species(self, column: str | None = None) -> np.ndarray:
        """The species of each row as text [n], "" where it is not known: that column's values, or without one the
        scientific names of the rows whose ranks go down to a species.

        UserError if there is no such column, or without one, no column genus or species.
        """
        if column is not None:
            return np.array([known_text(value) for value in self._column(column).to_pylist()], dtype=str)
        if not {"genus", "species"} <= set(self.columns.column_names):
            raise UserError(
                f"{self.source} has no columns genus and species; say with --species-column what tells "
                f"species apart: "
                f"{', '.join(self.columns.column_names) or 'it has no column'}"
            )
        return np.array([taxon.scientific_name if taxon.species else "" for taxon in self.taxa()], dtype=str)

    def taxa(self) -> list[Taxon]:
        """The taxon of each row; what no column says is unknown."""
        return self._taxa

    @cached_property
    def _taxa(self) -> list[Taxon]:
        names = [name for name in _TAXON_COLUMNS if name in self.columns.column_names]
        made: dict[tuple[Any, ...], Taxon] = {}
        found = []
        for values in zip(*(self.columns[name].to_pylist() for name in names)):
            # Rows of a species share one Taxon, which is made once.
            if (taxon := made.get(values)) is None:
                taxon = made[values] = Taxon.from_row(dict(zip(names, values)))
            found.append(taxon)
        return found if names else [Taxon()] * len(self)

    def take(self, rows: Int[np.ndarray, " rows"]) -> Embeddings:
        """Some of the rows, in that order."""
        rows = np.asarray(rows, np.int64)
        picture = self.picture
        return Embeddings(
            self.vectors[rows], self.columns.take(rows), lambda row: picture(int(rows[row])), self.source
        )

    def where(self, column: str, value: str) -> Embeddings:
        """The rows whose `column` says `value`. UserError if none does."""
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


def read_embeddings(path: Path) -> Embeddings:
    """The Parquet that `bioclip-jax embed` writes: emb (lists of numbers), path, and what else was known of the images.

    Vectors are normalised. Rows whose vector is missing, not finite or all zero are left out and counted on
    standard error. UserError if it cannot be read or has no vectors.
    """
    path = Path(path)
    vectors, columns = read_vector_table(path)
    paths = columns["path"].to_pylist() if "path" in columns.column_names else []
    return Embeddings(vectors, columns, lambda row: read_picture(paths, row, path.parent), str(path))


def of_source(
    model: str, source: Source, *, batch_size: int | None = None, cache: VectorCache | None = None
) -> Embeddings:
    """The images of a source, encoded by a MODEL under its own preprocessing; as of_labelled.

    An image that cannot be read is named on standard error and left out. UserError if none is left, or MODEL
    is none.
    """
    from bioclip_jax.convert import resolve
    from bioclip_jax.predict import Model
    from bioclip_jax.predict.embedding import embed_labeled

    bundle = resolve(model)
    loaded = Model(bundle, batch_size=batch_size, transform="model")
    return of_labelled(embed_labeled(loaded, source, cache=cache), source, model)


def of_labelled(labelled: LabeledEmbeddings, source: Source, name: str) -> Embeddings:
    """Vectors of a source's images: the columns are the ranks, common_name, and what else the source says of each.

    A label that the source calls by a rank's name is in the column label.
    """
    import pyarrow as pa

    usable, vectors = normalized(labelled.features)
    if not usable.all():
        print(f"left out: {int((~usable).sum()):,} images without a usable vector", file=sys.stderr)
    rows = np.flatnonzero(usable)
    samples, places = [labelled.samples[row] for row in rows], labelled.indices[rows].tolist()
    if not samples:
        raise UserError(f"no image has a usable vector of {name}; give another model or other images")
    taxa = [sample.taxon or Taxon() for sample in samples]
    columns: dict[str, Any] = {rank: [taxon.rank(rank) for taxon in taxa] for rank in RANKS}
    columns["common_name"] = [taxon.common_name for taxon in taxa]
    keys = dict.fromkeys(key for sample in samples for key in sample.metadata)
    for key in keys:
        free = key if key not in columns else "label" if "label" not in keys else f"{key}_label"
        columns[free] = _of_one_type([sample.metadata.get(key) for sample in samples])

    def picture(row: int) -> bytes | None:
        try:
            return source[places[row]].image or None
        except (OSError, ValueError):
            return None

    return Embeddings(vectors, pa.table(columns), picture, name)


def _of_one_type(values: Sequence[Any]) -> Sequence[Any]:
    """The values as they are where all are numbers or all texts, otherwise as texts."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return [None if value is None else float(value) for value in values] if len(kinds) == 2 else values
    return values if len(kinds) == 1 else [None if value is None else str(value) for value in values]


def _nearest(name: str, known: Sequence[str]) -> str:
    near = closest(name, known)
    return f" (did you mean {near[0]}?)" if near and near[0] != name else ""
