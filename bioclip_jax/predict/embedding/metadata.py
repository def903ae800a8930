"""What the tables beside images, and the captions in tars, say about them."""

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
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.results import plain_text
from bioclip_jax.tables import PATH_COLUMNS, lists_images, path_column, read_table, texts
from bioclip_jax.text import RANKS

if TYPE_CHECKING:
    import pyarrow as pa

# These stay texts, even where all of them could be read as numbers.
_TEXTS = frozenset({*RANKS, "cls", "class_", "common_name"})


class ImageMetadata:
    """The columns that INPUTS bring along beside the images themselves, a row an image.

    For a CSV (or Parquet table) of images those are all its columns but filepath, for a folder those of its
    metadata.csv, whose file_name will do for filepath, and for a tar the ranks, common_name and what its
    KEY.json files hold. A column of which every value is a number becomes one.
    """

    def __init__(
        self, paths: Sequence[str], images: Sequence[ImageFile], *, typed: bool = True, tars: bool = True
    ) -> None:
        """`paths`: what expand gives for INPUTS; `images`: what find_images does.

        typed: make numbers of a column of texts that are numbers. tars: look into them. A folder's table that
        cannot be read is reported on standard error.
        """
        import pyarrow as pa

        places = defaultdict(list)
        for place, image in enumerate(images):
            places[image.name].append(place)
        rows = np.full(len(images), -1)
        mentions: Counter[str] = Counter()
        tables, start = [], 0
        for names, table in _tables(paths, images if tars else ()):
            for number, name in enumerate(names, start):
                # An image that is named again has a row of its own, and where it has none, the last one.
                if name in places:
                    rows[places[name][mentions[name] :]] = number
                    mentions[name] += 1
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

    def take(self, places: Sequence[int]) -> pa.Table:
        """The rows of the images at `places`; null where nothing is known."""
        import pyarrow as pa

        rows = self._rows[np.asarray(places, int)]
        return self._table.take(pa.array(rows, mask=rows < 0))


def _tables(paths: Sequence[str], images: Sequence[ImageFile]) -> Iterator[tuple[list[str], pa.Table]]:
    """Tables, and for each row the name of its image."""
    for path in paths:
        if os.path.isdir(path):
            files = [os.path.join(path, name) for name in METADATA_FILES]
            if file := next(filter(os.path.isfile, files), None):
                try:
                    yield _of_table(file)
                except UserError as problem:
                    print(f"skipped: {problem}", file=sys.stderr)
        elif lists_images(path):
            # One that cannot be read was reported, or refused, when its images were looked for.
            with contextlib.suppress(UserError):
                yield _of_table(path, quiet=True)
    for tar in dict.fromkeys(image.path for image in images if image.size is not None):
        yield _of_tar(tar)


def _of_table(path: str, quiet: bool = False) -> tuple[list[str], pa.Table]:
    table = read_table(path, PATH_COLUMNS, quiet=quiet)
    column = path_column(table)
    folder = os.path.dirname(path)
    return [os.path.join(folder, name) for name in texts(table[column])], table.drop_columns([column])


def _of_tar(path: str) -> tuple[list[str], pa.Table]:
    import pyarrow as pa

    names: list[str] = []
    rows: list[dict[str, Any]] = []
    with open(path, "rb") as file:

        def read(offset: int, size: int) -> bytes:
            file.seek(offset)
            return file.read(size)

        for key, pictures, files in _by_key(members(read, os.path.getsize(path)), read):
            sample = make_sample(key, files)
            taxon = sample.taxon
            row = (
                {}
                if taxon is None
                else {**{rank: taxon.rank(rank) for rank in RANKS}, "common_name": taxon.common_name}
            )
            names += (f"{path}/{picture}" for picture in pictures)
            rows += [{**row, **sample.metadata}] * len(pictures)
    columns = [*RANKS, "common_name", *dict.fromkeys(name for row in rows for name in row)]
    # As texts, because one key may hold a number here and a text there.
    cells = {
        name: [plain_text(str(row[name])) if name in row else None for row in rows]
        for name in dict.fromkeys(columns)
    }
    return names, pa.table(cells, schema=pa.schema([(name, pa.large_string()) for name in cells]))


def _by_key(found: Iterable[Any], read: Any) -> Iterator[tuple[str, list[str], dict[str, bytes]]]:
    """Samples of a tar: their key, the names of their images, and the contents of their other files by kind."""
    key, pictures, files = None, [], {}
    for member in found:
        parts = split_name(member.name)
        if parts is None:
            continue
        if parts[0] != key:
            if pictures:
                yield key, pictures, files
            key, pictures, files = parts[0], [], {}
        if is_hidden_path(member.name):
            continue
        if is_image(member.name):
            pictures.append(member.name)
        else:
            files[parts[1]] = read(member.offset, member.size)
    if pictures:
        yield key, pictures, files


def _typed(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of texts as numbers, where all of them are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if name in _TEXTS or not pa.types.is_large_string(column.type):
        return column
    known = pc.if_else(pc.equal(column, ""), None, column)
    # A code such as 0071 would lose its zeros.
    if known.null_count == len(known) or pc.any(pc.match_substring_regex(known, r"^0\d")).as_py():
        return column
    # float64 has no place for so many digits, and those are of a number that names something.
    long = pc.any(pc.match_substring_regex(known, r"^-?\d{16,}$")).as_py()
    for kind in (pa.int64(),) if long else (pa.int64(), pa.float64()):
        try:
            return known.cast(kind)
        except pa.ArrowInvalid:
            pass
    return column
