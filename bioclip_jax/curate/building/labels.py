"""A source whose labels stand in a table of their own."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import KEY_COLUMNS, Sample, Source, sample_from_row
from bioclip_jax.tables import read_table, table_row


class LabelledSource:
    """The samples of `source` with the labels of `table`, joined on the key; one that is not in it keeps its own.

    The table is a CSV or Parquet file with one of KEY_COLUMNS. It is in the memory of every worker.
    UserError if it has no such column or names a key twice.
    """

    def __init__(self, source: Source, table: Path):
        import pyarrow
        import pyarrow.compute

        self.skipped_shards = source.skipped_shards
        self._source = source
        labels = read_table(table, KEY_COLUMNS)
        column = next(name for name in KEY_COLUMNS if name in labels.column_names)
        keys = labels[column].cast(pyarrow.large_string())
        named = keys.is_valid()
        labels, keys = labels.filter(named), keys.filter(named)
        order = pyarrow.compute.sort_indices(keys)
        self._labels = labels.drop_columns([column]).take(order).combine_chunks()
        self._keys = keys.take(order).combine_chunks()
        same = pyarrow.compute.equal(self._keys[1:], self._keys[:-1]).to_numpy(zero_copy_only=False)
        if same.any():
            raise UserError(
                f"{table} names the key {self._keys[int(np.argmax(same))].as_py()!r} twice; keep one row"
            )
        if hasattr(source, "group_starts"):
            self.group_starts = source.group_starts

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Sample:
        """The sample, under its labels from the table if that has its key."""
        sample = self._source[index]
        row = self._row(sample.key)
        if row is None:
            return sample
        labels = table_row(self._labels, row)
        labelled = sample_from_row(sample.key, sample.image, labels)
        return replace(labelled, metadata={**sample.metadata, **labelled.metadata})

    def _row(self, key: str) -> int | None:
        low, high = 0, len(self._keys)
        while low < high:
            middle = (low + high) // 2
            if self._keys[middle].as_py().encode() < key.encode():
                low = middle + 1
            else:
                high = middle
        return low if low < len(self._keys) and self._keys[low].as_py() == key else None
