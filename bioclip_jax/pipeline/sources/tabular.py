"""Samples from tables: image files that a table lists, and Parquet files that hold the images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_jax.errors import UserError, first_line
from bioclip_jax.tables import (
    PATH_COLUMNS,
    find_file,
    images_folder,
    path_column,
    read_table,
    table_row,
    texts,
)

from .sample import Sample, locate, sample_from_row

if TYPE_CHECKING:
    import pyarrow

IMAGE_COLUMN = "image"
KEY_COLUMNS = ("key", "uuid", "filepath", "id")
_RAW_SIZE = "resized_size"
# Columns about the download, not about the image.
_TECHNICAL = frozenset({"hashsum_original", "hashsum_resized", "original_size", _RAW_SIZE, "is_license_full"})


class FolderSource:
    """Images that a table lists: filepath (relative to the folder) or file_name, ranks, common_name, others.

    The rank class is in column `class` or `cls`; with both, `cls` is the rank and `class` becomes metadata. A
    missing image is not an error until its sample is read, which is then a bad one.
    """

    def __init__(self, images: str | Path | None, table: str | Path):
        """`images`: the folder of the images; None for that of images_folder."""
        self.skipped_shards: list[str] = []
        self._table = read_table(table, PATH_COLUMNS)
        self._path_column = path_column(self._table)
        if images is None:
            images = images_folder(table, texts(self._table[self._path_column].slice(0, 20)))
        self._images = Path(images)

    def __len__(self) -> int:
        return self._table.num_rows

    def column(self, name: str) -> list[Any] | None:
        """One column of the table, None if it has no such column."""
        return self._table[name].to_pylist() if name in self._table.column_names else None

    def files(self) -> list[Path]:
        """The images that the table lists, existing or not."""
        return [self._images / path for path in texts(self._table[self._path_column])]

    def __getitem__(self, index: int) -> Sample:
        """The sample; its image is empty if the file is missing."""
        row = table_row(self._table, index)
        path = texts(self._table[self._path_column].slice(index, 1))[0]
        row.pop(self._path_column)
        try:
            image = Path(find_file(self._images, path)).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            image = b""
        return sample_from_row(path, image, row)


class ParquetSource:
    """Rows of Parquet files in the order of the files: an image, a key, ranks, common_name, any others.

    Images are encoded bytes in a column `image` (also as {"bytes", "path"}, the Hub's form) or, as
    distributed-downloader and the TreeOfLife toolbox store them, raw BGR pixels with their [height, width] in
    a column `resized_size`; raw pixels become PPM images, which cost no encoding. The key is the
    first of KEY_COLUMNS that exists, else the file's name and the row number. Row groups are read whole and
    the last one is cached, so sequential reads load each group once. Raises UserError if a file is not
    Parquet or has no image column.
    """

    def __init__(self, files: Sequence[Path]):
        import pyarrow
        import pyarrow.parquet

        self.skipped_shards: list[str] = []
        self._files = list(files)
        self._groups: list[tuple[int, int]] = []
        sizes = []
        for number, file in enumerate(self._files):
            try:
                with pyarrow.parquet.ParquetFile(file) as opened:
                    metadata, names = opened.metadata, opened.schema_arrow.names
            except (pyarrow.ArrowException, OSError) as error:
                raise UserError(
                    f"{file} is not a readable Parquet file ({first_line(error)}); write it again"
                ) from None
            if IMAGE_COLUMN not in names:
                raise UserError(
                    f"{file} has no column {IMAGE_COLUMN}, only {', '.join(names)}; add the images' bytes"
                )
            self._groups += [(number, group) for group in range(metadata.num_row_groups)]
            sizes += [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self.group_starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        if not len(self):
            raise UserError(f"{self._files[0]} holds no rows; give Parquet files with images")
        self._cached: tuple[int, Any] = (-1, None)

    def __len__(self) -> int:
        return int(self.group_starts[-1])

    def __getitem__(self, index: int) -> Sample:
        """The sample. Raises ValueError or OSError if its file has changed or cannot be read any more."""
        group, number = locate(index, self.group_starts)
        row = table_row(self._read_group(group), number)
        image = row.pop(IMAGE_COLUMN)
        image = (image.get("bytes") if isinstance(image, dict) else image) or b""
        if (size := row.get(_RAW_SIZE)) is not None and image:
            image = _as_ppm(image, size)
        file = self._files[self._groups[group][0]]
        key = next(
            (str(row.pop(name)) for name in KEY_COLUMNS if row.get(name) is not None), f"{file.name}/{index}"
        )
        return sample_from_row(
            key, image, {name: value for name, value in row.items() if name not in _TECHNICAL}
        )

    def _read_group(self, group: int) -> "pyarrow.Table":
        import pyarrow.parquet

        if self._cached[0] != group:
            self._cached = (-1, None)  # frees the old group before the new one is read
            file, number = self._groups[group]
            # pyarrow's thread pool would compete for cores with the other reading processes.
            with pyarrow.parquet.ParquetFile(self._files[file]) as opened:
                self._cached = (group, opened.read_row_group(number, use_threads=False))
        return self._cached[1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cached": (-1, None)}


def _as_ppm(pixels: bytes, size: Sequence[int]) -> bytes:
    """Encode raw BGR pixels as PPM; bytes of another length are an encoded image, returned as is."""
    if len(size) != 2 or len(pixels) != size[0] * size[1] * 3:
        return pixels
    height, width = size
    rgb = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)[:, :, ::-1]
    return b"P6\n%d %d\n255\n" % (width, height) + rgb.tobytes()
