"""Metadata of images from tables beside them and from captions in tars."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import is_hidden_path, is_image
from bioclip_jax.pipeline.sources import METADATA_FILES, make_sample, members, split_name
from bioclip_jax.predict.image_tables import read_image_table
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.results import plain_text
from bioclip_jax.tables import lists_images
from bioclip_jax.text import RANKS

if TYPE_CHECKING:
    import pyarrow as pa

# These columns stay texts, even if all values look like numbers.
_TEXTS = frozenset({*RANKS, "cls", "class_", "common_name"})


class ImageMetadata:
    """The metadata columns of INPUTS, one row per image.

    A CSV or Parquet table of images has all its columns but filepath, a folder those of its metadata.csv
    (with filepath or file_name), and a tar the ranks, common_name and the content of its KEY.json files.
    Columns whose values are all numbers become numeric.
    """

    def __init__(
        self, paths: Sequence[str], images: Sequence[ImageFile], *, typed: bool = True, tars: bool = True
    ) -> None:
        """Read the tables of `paths`, from expand, for `images`, from find_images.

        typed: convert columns of numeric texts. tars: also read tars. A folder's unreadable table is reported
        on standard error.
        """
        import pyarrow as pa

        indices = _by_name(images)
        rows = np.full(len(images), -1)
        occurrences: Counter[str] = Counter()
        tables, start = [], 0
        for names, table in _tables(paths, images if tars else ()):
            for number, name in enumerate(names, start):
                # A repeated image takes its next row, or the last one if it has no more.
                if name in indices:
                    for group in indices[name][occurrences[name] :]:
                        rows[group] = number
                    occurrences[name] += 1
            tables.append(table)
            start += table.num_rows
        try:
            table = pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
        except pa.ArrowException as error:
            raise UserError(
                f"the inputs' tables do not agree: {error}; give a column one type in all"
            ) from error
        if typed:
            table = pa.table({name: _typed(name, table[name]) for name in table.column_names})
        self._table = table
        self._rows = rows

    def take(self, indices: Sequence[int]) -> pa.Table:
        """Return the rows of some images, null for those without metadata."""
        import pyarrow as pa

        rows = self._rows[np.asarray(indices, int)]
        return self._table.take(pa.array(rows, mask=rows < 0))


def _by_name(images: Sequence[ImageFile]) -> dict[str, list[list[int]]]:
    """Return the indices of images by the name that a table may list.

    All pages and frames of a file are one group, which takes the row of the file; a row may also list a page.
    """
    groups: dict[str, list[list[int]]] = defaultdict(list)
    frames: dict[str, set[int | float]] = {}
    for index, image in enumerate(images):
        groups[image.name].append([index])
        if image.frame is not None:
            source = image.source_name
            if source not in frames or image.frame in frames[source]:  # the file is listed again
                frames[source] = set()
                groups[source].append([])
            frames[source].add(image.frame)
            groups[source][-1].append(index)
    return groups


def _tables(paths: Sequence[str], images: Sequence[ImageFile]) -> Iterator[tuple[list[str], pa.Table]]:
    """Yield tables with the image name of each row."""
    for path in paths:
        if os.path.isdir(path):
            files = [os.path.join(path, name) for name in METADATA_FILES]
            if file := next(filter(os.path.isfile, files), None):
                try:
                    yield _read_table(file)
                except UserError as problem:
                    print(f"skipped: {problem}", file=sys.stderr)
        elif lists_images(path):
            # find_images has reported or refused unreadable tables.
            with contextlib.suppress(UserError):
                yield _read_table(path, quiet=True)
    for tar in dict.fromkeys(image.path for image in images if image.size is not None):
        yield _read_tar(tar)


def _read_table(path: str, quiet: bool = False) -> tuple[list[str], pa.Table]:
    table = read_image_table(path, quiet=quiet)
    return table.names, table.columns


def _read_tar(path: str) -> tuple[list[str], pa.Table]:
    import pyarrow as pa

    names: list[str] = []
    rows: list[dict[str, Any]] = []
    with open(path, "rb") as file:

        def read(offset: int, size: int) -> bytes:
            file.seek(offset)
            return file.read(size)

        for key, images, files in _samples(members(read, os.path.getsize(path)), read):
            sample = make_sample(key, files)
            taxon = sample.taxon
            row = (
                {}
                if taxon is None
                else {**{rank: taxon.rank(rank) for rank in RANKS}, "common_name": taxon.common_name}
            )
            names += (f"{path}/{image}" for image in images)
            rows += [{**row, **sample.metadata}] * len(images)
    columns = [*RANKS, "common_name", *dict.fromkeys(name for row in rows for name in row)]
    # As texts, because a key may hold a number in one sample and a text in another.
    cells = {
        name: [plain_text(str(row[name])) if name in row else None for row in rows]
        for name in dict.fromkeys(columns)
    }
    return names, pa.table(cells, schema=pa.schema([(name, pa.large_string()) for name in cells]))


def _samples(tar: Iterable[Any], read: Any) -> Iterator[tuple[str, list[str], dict[str, bytes]]]:
    """Yield each sample's key, the names of its images, and the content of its other files by suffix."""
    key, images, files = None, [], {}
    for member in tar:
        parts = split_name(member.name)
        if parts is None:
            continue
        if parts[0] != key:
            if images:
                yield key, images, files
            key, images, files = parts[0], [], {}
        if is_hidden_path(member.name):
            continue
        if is_image(member.name):
            images.append(member.name)
        else:
            files[parts[1]] = read(member.offset, member.size)
    if images:
        yield key, images, files


def _typed(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Convert a column of texts to numbers if all are numeric."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if name in _TEXTS or not pa.types.is_large_string(column.type):
        return column
    known = pc.if_else(pc.equal(column, ""), None, column)
    # A code such as 0071 would lose its leading zeros.
    if known.null_count == len(known) or pc.any(pc.match_substring_regex(known, r"^0\d")).as_py():
        return column
    # float64 cannot represent 16 digits exactly, and such numbers are identifiers.
    long = pc.any(pc.match_substring_regex(known, r"^-?\d{16,}$")).as_py()
    for kind in (pa.int64(),) if long else (pa.int64(), pa.float64()):
        try:
            return known.cast(kind)
        except pa.ArrowInvalid:
            pass
    return column
