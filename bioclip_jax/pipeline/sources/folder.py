"""Samples from a folder of images and a table that says what is on them."""

from pathlib import Path
from typing import Any

from bioclip_jax.pipeline.sources.sample import Sample, sample_from_row
from bioclip_jax.pipeline.sources.table import read_table, table_row


class FolderSource:
    """The images that a CSV or Parquet table lists: filepath (relative to the folder), the ranks, common_name, others.

    The class may stand in `class` or `cls`; with both, `cls` is the rank and `class` becomes metadata. A row whose
    image is missing is a bad sample when it is read, not an error here.
    """

    def __init__(self, images: str | Path, table: str | Path):
        self.skipped_shards: list[str] = []
        self._images = Path(images)
        self._table = read_table(Path(table), ("filepath",))

    def __len__(self) -> int:
        return self._table.num_rows

    def column(self, name: str) -> list[Any] | None:
        """One column of the table, None if it has no such."""
        return self._table[name].to_pylist() if name in self._table.column_names else None

    def __getitem__(self, index: int) -> Sample:
        """The sample; one whose file is missing has no image."""
        row = table_row(self._table, index)
        path = str(row.pop("filepath"))
        try:
            image = (self._images / path).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            image = b""
        return sample_from_row(path, image, row)
