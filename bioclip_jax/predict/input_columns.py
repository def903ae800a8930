"""Columns of input tables, copied into the result rows of `predict`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bioclip_jax.predict.embedding import ImageMetadata
from bioclip_jax.tables import lists_images

from .input_paths import expand
from .inputs import ImageFile
from .results import Prediction, with_index

if TYPE_CHECKING:
    import pyarrow as pa

# Prefix of a copied column that a result also has.
_PREFIX = "input_"
# Rows that are converted to Python objects at once.
_BLOCK = 4096


class InputColumns:
    """The columns of the tables among INPUTS, one row per image, without the paths.

    Texts stay as in the table; columns that are neither text nor numbers are dropped. Images that are in no
    table have empty texts.
    """

    def __init__(self, inputs: Sequence[Any], images: Sequence[ImageFile]) -> None:
        """images: as find_images returns them for `inputs`."""
        self._images = images
        paths = [path for path in expand(inputs) if not os.path.isdir(path) and lists_images(path)]
        metadata = ImageMetadata(paths, images, typed=False, tars=False) if paths else None
        self._table = None if metadata is None else _plain_columns(metadata.take(range(len(images))))

    @property
    def table(self) -> pa.Table | None:
        """The columns, one row per image; None without a table."""
        return self._table

    def digest(self) -> str:
        """Return a hash of the columns, "" without columns."""
        if self._table is None or not self._table.num_columns:
            return ""
        import pyarrow as pa

        stream = pa.BufferOutputStream()
        with pa.ipc.new_stream(stream, self._table.schema) as writer:
            writer.write_table(self._table.combine_chunks())
        return hashlib.sha256(memoryview(stream.getvalue())).hexdigest()

    def append_to(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Append the columns to the rows of predictions, which are in image order.

        A column that a result also has becomes input_NAME.
        """
        yield from self._append(with_index(predictions, self._images), _BLOCK)

    def append_by_index(self, predictions: Iterable[tuple[int, Prediction]]) -> Iterator[Prediction]:
        """Append the columns to the rows of predictions in any order, each with the index of its image."""
        yield from self._append(predictions, 1)

    def _append(self, predictions: Iterable[tuple[int, Prediction]], size: int) -> Iterator[Prediction]:
        """Append the columns, of which `size` rows are read at once."""
        if self._table is None or not self._table.num_columns:
            yield from (prediction for _, prediction in predictions)
            return
        block: list[dict[str, Any]] = []
        start, names = 0, None
        for index, (image, rows) in predictions:
            if not start <= index < start + len(block):
                start, block = index, self._table.slice(index, size).to_pylist()
            if names is None and rows:
                names = _column_names(rows[0], self._table.column_names)
            values = {names[name]: value for name, value in block[index - start].items()} if rows else {}
            yield image, [{**row, **values} for row in rows]


def _plain_columns(table: pa.Table) -> pa.Table:
    """Keep texts, numbers and booleans, and dates as texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {}
    for name, column in zip(table.column_names, table.columns):
        kind = column.type
        if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
            columns[name] = column.cast(pa.string()).cast(pa.large_string())
        elif pa.types.is_floating(kind):
            # JSON has no NaN.
            columns[name] = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        elif pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_large_string(kind):
            columns[name] = column
        # The Parquet writer infers types from the first rows, where a column may be all null.
        if name in columns and columns[name].null_count:
            columns[name] = pc.fill_null(columns[name].cast(pa.large_string()), "")
    return pa.table(columns)


def _column_names(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, str]:
    """Map each column to its name in the result, distinct from those of `row`."""
    names: dict[str, str] = {}
    for column in columns:
        name = column
        while name in row or name in names.values() or (name != column and name in columns):
            name = _PREFIX + name
        names[column] = name
    return names
