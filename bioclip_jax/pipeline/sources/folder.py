"""Samples from a folder of images and a table that says what is on them."""

from pathlib import Path
from typing import Any

from bioclip_jax.tables import PATH_COLUMNS, find_file, path_column, read_table, table_row, texts

from .sample import Sample, sample_from_row


class FolderSource:
    """The images that a table lists: filepath (relative to the folder) or file_name, the ranks, common_name, others.

    The class may stand in `class` or `cls`; with both, `cls` is the rank and `class` becomes metadata. A row
    whose image is missing is a bad sample when it is read, not an error here.
    """

    def __init__(self, images: str | Path, table: str | Path):
        self.skipped_shards: list[str] = []
        self._images = Path(images)
        self._table = read_table(table, PATH_COLUMNS)
        self._path_column = path_column(self._table)

    def __len__(self) -> int:
        return self._table.num_rows

    def column(self, name: str) -> list[Any] | None:
        """One column of the table, None if it has no such."""
        return self._table[name].to_pylist() if name in self._table.column_names else None

    def files(self) -> list[Path]:
        """The images that the table lists, there or not."""
        return [self._images / path for path in texts(self._table[self._path_column])]

    def __getitem__(self, index: int) -> Sample:
        """The sample; one whose file is missing has no image."""
        row = table_row(self._table, index)
        path = texts(self._table[self._path_column].slice(index, 1))[0]
        row.pop(self._path_column)
        try:
            image = Path(find_file(self._images, path)).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            image = b""
        return sample_from_row(path, image, row)
