"""Read tables of any format as Arrow columns, and resolve the image paths in their cells."""

from __future__ import annotations

import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from bioclip_jax.errors import UserError, first_line
from bioclip_jax.file_kinds import PARQUET_SUFFIXES
from bioclip_jax.text import NAME_COLUMNS, RANKS

from .delimited import ChooseColumns, fold_name, read_delimited
from .encoding import COMPRESSED_SUFFIXES, DAMAGED

if TYPE_CHECKING:
    import pyarrow as pa

TEXT_SUFFIXES = (".csv", ".tsv", ".tab")
# Columns of image paths, in order of preference; Camtrap DP has filePath.
PATH_COLUMNS = ("filepath", "file_name")
TAXON_COLUMNS = (*RANKS, "cls", "class_", "common_name")
_LONGEST_SHOWN = 300
# Paths of a table that are looked for, to find the folder that they are relative to.
_PROBES = 20
# Columns that are recognized in any case and with surrounding blanks.
_KNOWN = (*PATH_COLUMNS, *TAXON_COLUMNS, *NAME_COLUMNS)


def is_table(path: str | os.PathLike[str]) -> bool:
    """True for the name of a table: .csv, .tsv or .tab, maybe compressed, or Parquet, in any case."""
    name = os.fspath(path).lower()
    if name.endswith(COMPRESSED_SUFFIXES):
        return name.rpartition(".")[0].endswith(TEXT_SUFFIXES)
    return name.endswith((*TEXT_SUFFIXES, *PARQUET_SUFFIXES))


def lists_images(path: str | os.PathLike[str]) -> bool:
    """True for the name of a table, or a .txt file with one of PATH_COLUMNS in its header."""
    if is_table(path) or not os.fspath(path).lower().endswith(".txt"):
        return is_table(path)
    try:
        return read_table(path, PATH_COLUMNS, only=PATH_COLUMNS, quiet=True).num_rows > 0
    except UserError:
        return False


def read_table(
    path: str | os.PathLike[str],
    required: Sequence[str] = (),
    *,
    known: Collection[str] = (),
    only: Collection[str] | None = None,
    keep_unnamed: bool = False,
    has_header: bool = True,
    content: bytes | None = None,
    quiet: bool = False,
) -> pa.Table:
    """Read delimited text (all values as strings) or a Parquet file (types preserved).

    Format, compression, encoding and separator are detected from the content. Column names are stripped;
    those in `required`, `known`, PATH_COLUMNS, TAXON_COLUMNS and NAME_COLUMNS match in any case and take that
    spelling in the result.

    required: columns of which at least one must exist. only: columns to read, None for all. keep_unnamed:
    call unnamed columns "Unnamed: INDEX", as pandas does, instead of dropping them. has_header: if False, the
    first line is a row too and columns are named "0", "1", ... content: the bytes of the table, with `path`
    only as its name. quiet: print no notes, because an earlier read printed them.

    Raises UserError if it cannot be read, has none of `required`, one of the names twice, or no rows.
    """
    names = dict.fromkeys([*required, *known, *_KNOWN])

    def choose_columns(header: Sequence[str]) -> list[str | None]:
        if not has_header:
            return [str(index) for index in range(len(header))]
        columns = _column_names(header, names, str(path), keep_unnamed)
        if not any(header):
            raise UserError(f"{path} is empty; give a CSV, TSV or Parquet table with a header")
        if required and not any(name in columns for name in required):
            none = (
                f"none of the columns {', '.join(required)}"
                if len(required) > 2
                else f"no column {' or '.join(required)}"
            )
            raise UserError(
                f"{path} has {none}, only {', '.join(filter(None, header))}; add "
                + ("one" if len(required) > 2 else "it")
            )
        return [name if only is None or name in only else None for name in columns]

    def open_content() -> BinaryIO:
        return open(path, "rb") if content is None else io.BytesIO(content)

    try:
        if content is None and not os.path.isfile(path):
            with open(path, "rb") as file:  # a pipe can be read only once
                content = file.read()
        with open_content() as file:
            is_parquet = file.read(4) == b"PAR1" or str(path).lower().endswith(PARQUET_SUFFIXES)
        if is_parquet:
            table = _read_parquet(open_content, str(path), choose_columns)
        else:
            known_names = map(fold_name, names)
            table = read_delimited(open_content, str(path), choose_columns, known_names, has_header, quiet)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give a CSV, TSV or Parquet table") from None
    except (OSError, *DAMAGED) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read ({reason}); give a CSV, TSV or Parquet table") from None
    if not table.num_rows:
        raise UserError(f"{path} has no rows; add some below its header")
    return table


def table_row(table: pa.Table, number: int) -> dict[str, Any]:
    """One row as a dict by column name."""
    return {name: column[number].as_py() for name, column in zip(table.column_names, table.columns)}


def table_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Iterate over rows as dicts by column name, a few thousand in memory at once."""
    for batch in table.to_batches(max_chunksize=8192):
        yield from batch.to_pylist()


def texts(column: pa.ChunkedArray) -> list[str]:
    """A column's values as strings: bytes decoded as file names, nulls as ""."""
    import pyarrow as pa

    if pa.types.is_large_string(column.type) or pa.types.is_string(column.type):
        return [value or "" for value in column.to_pylist()]
    values = column.to_pylist()
    return ["" if v is None else os.fsdecode(v) if isinstance(v, bytes) else str(v) for v in values]


def path_column(table: pa.Table, named_by: Sequence[str] = PATH_COLUMNS) -> str:
    """The first of the columns `named_by` that the table has."""
    return next(name for name in named_by if name in table.column_names)


def shown_path(path: str) -> str:
    """Format a path for a message: quoted if a part starts or ends in a blank, and shortened if very long."""
    if len(path) > _LONGEST_SHOWN:
        return f"{path[:_LONGEST_SHOWN]!r}... ({len(path):,} characters)"
    has_blanks = any(part != part.strip() for part in re.split(r"[/\\]", path))
    return repr(path) if has_blanks or not path.isprintable() else path


def find_file(folder: str | os.PathLike[str], cell: str) -> str:
    """Path of the file in a table's cell, relative to `folder`.

    If it does not exist, other spellings are tried: stripped, with backslashes as separators, and each part
    in Unicode's composed (NFC) and decomposed (NFD) form. If none exists, returns the path as written.
    """
    path = os.path.join(folder, cell)
    # Plain ASCII paths have no other spelling, so most tables need no disk access.
    if cell.isascii() and "\\" not in cell and cell == cell.strip() or os.path.lexists(path):
        return path
    stripped = cell.strip()
    for spelling in dict.fromkeys([cell, stripped, cell.replace("\\", "/"), stripped.replace("\\", "/")]):
        if existing := _existing_form(folder, spelling):
            return existing
    return path


def images_folder(table: str | os.PathLike[str], cells: Sequence[str]) -> str:
    """Folder that the paths in a table's cells are relative to: the table's own.

    It is the working directory, as "", if none of the first paths is beside the table but some are there: the
    table was downloaded, or `predict` wrote it elsewhere.
    """
    folder = os.path.dirname(table)
    probes = [cell for cell in cells[:_PROBES] if cell and not os.path.isabs(cell)]
    if not probes or any(os.path.lexists(find_file(folder, cell)) for cell in probes):
        return folder
    return "" if any(os.path.lexists(find_file("", cell)) for cell in probes) else folder


def _existing_form(folder: str | os.PathLike[str], spelling: str) -> str | None:
    """The path with each part in the Unicode form that exists on disk; None if a part does not exist."""
    path = os.fspath(folder)
    if os.path.isabs(spelling):
        path = os.sep
    for part in spelling.split("/"):
        forms = dict.fromkeys([part, unicodedata.normalize("NFC", part), unicodedata.normalize("NFD", part)])
        candidates = (os.path.join(path, form) for form in forms)
        path = next(filter(os.path.lexists, candidates), None)
        if path is None:
            return None
    return path


def _column_names(
    header: Sequence[str], known: Collection[str], path: str, keep_unnamed: bool
) -> list[str | None]:
    """Column names of a header's cells; None for one without a name."""
    exact = Counter(header)
    folded = Counter(fold_name(cell) for cell in header if cell not in known)
    names: list[str | None] = []
    used: set[str] = set()
    canonical = {fold_name(name): name for name in reversed(list(known))}
    for index, cell in enumerate(header):
        name = cell
        if not cell:
            name = f"Unnamed: {index}" if keep_unnamed else None
        elif cell in known:
            if exact[cell] > 1:
                raise UserError(f"{path} has {exact[cell]} columns {cell}; rename all but one")
        elif (known_name := canonical.get(fold_name(cell))) is not None and known_name not in exact:
            if folded[fold_name(cell)] > 1:
                raise UserError(
                    f"{path} has {folded[fold_name(cell)]} columns {known_name}; rename all but one"
                )
            name = known_name
        number = 1
        while name is not None and name in used:
            name, number = f"{cell}.{number}", number + 1
        if name is not None:
            used.add(name)
        names.append(name)
    return names


def _read_parquet(
    open_content: Callable[[], BinaryIO],
    path: str,
    choose_columns: ChooseColumns,
) -> pa.Table:
    """Read the chosen columns with 64-bit offsets, so that columns over 2 GiB are one chunk."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_content() as source, pq.ParquetFile(source) as file:
            header = file.schema_arrow.names
            names = dict(zip(header, choose_columns([name.strip() for name in header])))
            chosen = (
                None if None not in names.values() else [old for old, new in names.items() if new is not None]
            )
            table = file.read(columns=chosen)
        # Reading a column "a" also reads one named "a.b".
        table = table.select(
            [index for index, name in enumerate(table.column_names) if names[name] is not None]
        )
        table = table.rename_columns([names[name] for name in table.column_names])
        return table.cast(
            pa.schema([(field.name, _plain_type(field.type)) for field in table.schema])
        ).combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path} is not a readable Parquet file ({first_line(error)}); write it again"
        ) from None


def _plain_type(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary(kind) else kind
