"""Embeddings of images beside what is known of each, as the analyses read them."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32, Int

from bioclip_jax.errors import UserError
from bioclip_jax.predict.embedding.labelled import LabelledVectors, unit
from bioclip_jax.text.taxon import RANKS, Taxon

if TYPE_CHECKING:
    import pyarrow as pa

    from bioclip_jax.pipeline.sources import Source

# Where a table keeps what a Taxon is made of.
_TAXON_COLUMNS = (*RANKS, "cls", "class_", "common_name")
_VECTORS = "emb"


@dataclass(frozen=True)
class Embeddings:
    """Images as unit vectors float32 [n, dim], and a table of n rows of what is known of each.

    picture: the encoded image of a row, None where it is not at hand. source: where they come from, for a person.
    """

    vectors: Float32[np.ndarray, "n dim"]
    columns: pa.Table
    picture: Callable[[int], bytes | None]
    source: str

    def __len__(self) -> int:
        return len(self.vectors)

    def texts(self, name: str) -> np.ndarray:
        """A column as texts, "" where nothing is known. UserError if there is no such column."""
        values = self._column(name).to_pylist()
        return np.array(["" if value is None or value != value else str(value).strip() for value in values], dtype=str)

    def numbers(self, name: str) -> Float[np.ndarray, " n"]:
        """A column as float64, NaN where nothing is known. UserError if there is none, or it holds other than numbers."""
        found = np.full(len(self), np.nan)
        for row, value in enumerate(self._column(name).to_pylist()):
            if value is None or value == "":
                continue
            try:
                found[row] = float(value)
            except (TypeError, ValueError):
                raise UserError(
                    f"column {name} of {self.source} holds {value!r} in row {row + 1}, which is no number; "
                    "name a column of numbers"
                ) from None
        return found

    def species(self, column: str | None = None) -> np.ndarray:
        """The species of each row as text, "" where it is not known: that column's values, or without one the
        scientific names of the rows whose ranks go down to a species."""
        if column is not None:
            return self.texts(column)
        if "genus" not in self.columns.column_names or "species" not in self.columns.column_names:
            raise UserError(
                f"{self.source} has no columns genus and species; say with --species-column what tells species apart: "
                f"{', '.join(self.columns.column_names)}"
            )
        names = [taxon.scientific_name if taxon.species else "" for taxon in self.taxa()]
        return np.array(names, dtype=str)

    def taxa(self) -> list[Taxon]:
        """The taxon of each row; what no column says is unknown."""
        names = [name for name in _TAXON_COLUMNS if name in self.columns.column_names]
        columns = [self.columns[name].to_pylist() for name in names]

        @lru_cache(maxsize=None)
        def taxon(*values: Any) -> Taxon:
            return Taxon.from_row(dict(zip(names, values)))

        return [taxon(*values) for values in zip(*columns)] if columns else [Taxon()] * len(self)

    def take(self, rows: Int[np.ndarray, " rows"]) -> Embeddings:
        """Some of the rows, in that order."""
        rows = np.asarray(rows)
        return Embeddings(
            self.vectors[rows], self.columns.take(rows), lambda row: self.picture(int(rows[row])), self.source
        )

    def where(self, column: str, value: str) -> Embeddings:
        """The rows whose `column` says `value`. UserError if none does."""
        values = self.texts(column)
        rows = np.flatnonzero(values == value)
        if not len(rows):
            known = sorted({text for text in values.tolist() if text})
            raise UserError(
                f"no row of {self.source} has {column} {value!r}{_nearest(value, known)}; it has "
                f"{', '.join(known[:8])}{', …' if len(known) > 8 else ''}"
            )
        return self.take(rows)

    def _column(self, name: str) -> pa.ChunkedArray:
        if name not in self.columns.column_names:
            known = self.columns.column_names
            raise UserError(
                f"{self.source} has no column {name!r}{_nearest(name, known)}; it has {', '.join(known) or 'none'}"
            )
        return self.columns[name]


def read_embeddings(path: Path) -> Embeddings:
    """The Parquet that `bioclip-jax embed` writes: emb (a list of floats), path, and what else was known.

    Vectors are normalised; rows whose vector is not finite, or all zero, are left out, which is told on standard error.
    UserError if it cannot be read or has no vectors.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    advice = "give the Parquet of `bioclip-jax embed IMAGES --output FILE.parquet`"
    path = Path(path)
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if _VECTORS not in names:
                raise UserError(f"{path} has no column {_VECTORS}, only {', '.join(names) or 'nothing'}; {advice}")
            vectors = _read_vectors(file, path)
            columns = file.read(columns=[name for name in names if name != _VECTORS])
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {advice}") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is no readable Parquet file ({str(error).splitlines()[0]}); {advice}") from None
    lengths = np.linalg.norm(vectors, axis=1)
    good = np.flatnonzero(np.isfinite(lengths) & (lengths > 0))
    if not len(good):
        raise UserError(f"{path} has no row with a vector; {advice}")
    if len(good) < len(vectors):
        print(f"left out: {len(vectors) - len(good):,} rows of {path} without a vector", file=sys.stderr)
        vectors, columns, lengths = vectors[good], columns.take(good), lengths[good]
    vectors /= lengths[:, None]
    paths = columns["path"].to_pylist() if "path" in columns.column_names else []
    return Embeddings(vectors, columns, lambda row: _read_picture(paths, row, path.parent), str(path))


def of_labelled(labelled: LabelledVectors, source: Source, name: str) -> Embeddings:
    """The images of a source, encoded: the columns are the ranks, common_name, and what else the source says."""
    import pyarrow as pa

    taxa = [sample.taxon or Taxon() for sample in labelled.samples]
    columns: dict[str, Any] = {rank: [taxon.rank(rank) for taxon in taxa] for rank in RANKS}
    columns["common_name"] = [taxon.common_name for taxon in taxa]
    for key in dict.fromkeys(key for sample in labelled.samples for key in sample.metadata):
        values = [sample.metadata.get(key) for sample in labelled.samples]
        # In a table of its own a label is called class; here that is a rank.
        columns["label" if key in columns else key] = _of_one_type(values)
    places = labelled.places.tolist()

    def picture(row: int) -> bytes | None:
        try:
            return source[places[row]].image or None
        except (OSError, ValueError):
            return None

    return Embeddings(unit(labelled.features), pa.table(columns), picture, name)


def _read_vectors(file: Any, path: Path) -> Float32[np.ndarray, "n dim"]:
    """All vectors in one array, row group by row group, so that they are in memory once."""
    found, done = None, 0
    for group in range(file.num_row_groups):
        column = file.read_row_group(group, columns=[_VECTORS])[_VECTORS].combine_chunks()
        flat = column.flatten() if column.null_count == 0 else None
        if flat is None or not len(column) or len(flat) % len(column):
            if not len(column):
                continue
            raise UserError(f"{path} has rows in {_VECTORS} without numbers, or of another length; write it again")
        rows = flat.to_numpy(zero_copy_only=False).reshape(len(column), -1)
        if found is None:
            found = np.empty((file.metadata.num_rows, rows.shape[1]), np.float32)
        if rows.shape[1] != found.shape[1]:
            raise UserError(f"{path} has vectors of {found.shape[1]} and of {rows.shape[1]} numbers; write it again")
        found[done : done + len(rows)] = rows
        done += len(rows)
    if found is None:
        raise UserError(f"{path} lists no images; give the vectors of some")
    return found


def _read_picture(paths: list[str | None], row: int, folder: Path) -> bytes | None:
    """The image at a row's path, which starts from the current folder or from the table's; it may lie in a tar."""
    name = paths[row] if row < len(paths) else None
    if not name:
        return None
    for start in (Path(), folder):
        try:
            if ".tar/" in name:
                return _tar_members(str(start / name.rpartition(".tar/")[0]) + ".tar")[
                    name.rpartition(".tar/")[2]
                ].read()
            return (start / name).read_bytes()
        except (OSError, KeyError, UserError):
            continue
    return None


@lru_cache(maxsize=8)
def _tar_members(path: str) -> dict[str, Any]:
    from bioclip_jax.predict.inputs import find_images

    return {image.name.removeprefix(path + os.sep): image for image in find_images([path])}


def _of_one_type(values: list[Any]) -> list[Any]:
    """The values as they are where all are numbers or all texts, otherwise as texts."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float, bool} or kinds == {str}:
        return values
    return [None if value is None else str(value) for value in values]


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
