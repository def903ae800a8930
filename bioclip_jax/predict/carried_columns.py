"""Columns of input tables that `predict` writes beside its results."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bioclip_jax.predict.embedding import ImageMetadata
from bioclip_jax.tables import lists_images

from .inputs import ImageFile, expand

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from .resume import Answer

# Before the name of a column that a result has too.
_PREFIX = "input_"
# Rows that are Python objects at once.
_BLOCK = 4096


class CarriedColumns:
    """The columns of the tables among INPUTS, a row an image, without the paths.

    A text stays as it stands in the table; what is neither text nor number is left out. Images that no table
    names have an empty text.
    """

    def __init__(self, inputs: Sequence[Any], images: Sequence[ImageFile]) -> None:
        """`images`: what find_images gives for `inputs`."""
        self._images = images
        paths = [path for path in expand(inputs) if not os.path.isdir(path) and lists_images(path)]
        columns = ImageMetadata(paths, images, typed=False, tars=False) if paths else None
        self._table = None if columns is None else _plain_columns(columns.take(range(len(images))))

    def digest(self) -> str:
        """A hash of the columns; "" where there are none."""
        if self._table is None or not self._table.num_columns:
            return ""
        import pyarrow as pa

        stream = pa.BufferOutputStream()
        with pa.ipc.new_stream(stream, self._table.schema) as writer:
            writer.write_table(self._table.combine_chunks())
        return hashlib.sha256(memoryview(stream.getvalue())).hexdigest()

    def beside(self, answers: Iterable[Answer]) -> Iterator[Answer]:
        """The answers, in the order of the images, with the columns behind those of each result.

        A column that a result has itself is called input_NAME.
        """
        if self._table is None or not self._table.num_columns:
            yield from answers
            return
        places = iter(range(len(self._images)))
        block: list[dict[str, Any]] = []
        start, names = 0, None
        for image, rows in answers:
            place = next(place for place in places if self._images[place] is image)
            if place >= start + len(block):
                start, block = place, self._table.slice(place, _BLOCK).to_pylist()
            if names is None and rows:
                names = _names(rows[0], self._table.column_names)
            given = {names[name]: value for name, value in block[place - start].items()} if rows else {}
            yield image, [{**row, **given} for row in rows]


def _plain_columns(table: pa.Table) -> pa.Table:
    """The texts, numbers and truth values; dates as texts."""
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
        # A Parquet file takes its types from the first rows, which may know nothing of a column.
        if name in columns and columns[name].null_count:
            columns[name] = pc.fill_null(columns[name].cast(pa.large_string()), "")
    return pa.table(columns)


def _names(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, str]:
    """The name of each column beside those of a result."""
    names: dict[str, str] = {}
    for column in columns:
        name = column
        while name in row or name in names.values() or (name != column and name in columns):
            name = _PREFIX + name
        names[column] = name
    return names
