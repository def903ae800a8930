"""The one reader of tables (CSV, TSV, semicolons, Parquet), as columns: a million rows cost what their text does."""

from __future__ import annotations

import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from bioclip_jax.delimited import COMPRESSED_SUFFIXES, DAMAGED, fold_name, read_delimited
from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import PARQUET_SUFFIXES
from bioclip_jax.text import NAME_COLUMNS, RANKS

if TYPE_CHECKING:
    import pyarrow as pa

TEXT_SUFFIXES = (".csv", ".tsv", ".tab")
# Columns that name an image file, the first that is there; Camtrap DP calls it filePath.
PATH_COLUMNS = ("filepath", "file_name")
TAXON_COLUMNS = (*RANKS, "cls", "class_", "common_name")
_LONGEST_SHOWN = 300
# Names that are found whatever their case and the blanks around them.
_KNOWN = (*PATH_COLUMNS, *TAXON_COLUMNS, *NAME_COLUMNS)


def is_table(path: str | os.PathLike[str]) -> bool:
    """True for the name of a table: .csv, .tsv or .tab, also compressed, or Parquet; case does not matter."""
    name = os.fspath(path).lower()
    if name.endswith(COMPRESSED_SUFFIXES):
        return name.rpartition(".")[0].endswith(TEXT_SUFFIXES)
    return name.endswith((*TEXT_SUFFIXES, *PARQUET_SUFFIXES))


def lists_images(path: str | os.PathLike[str]) -> bool:
    """True for the name of a table, and for a .txt file with one of PATH_COLUMNS in its header."""
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
    """The table in a delimited text (every value a text) or a Parquet file (whose types stay).

    What it is, its compression, encoding and separator are told from the content. Names of columns lose the
    blanks around them; those of `required`, `known`, PATH_COLUMNS, TAXON_COLUMNS and NAME_COLUMNS are found
    whatever their case, and are spelled so in the result.

    required: columns of which one must be there. only: columns to read, all if None. keep_unnamed: columns
    without a
    name become "Unnamed: 0", counted from the left, as pandas calls them, instead of being left out.
    has_header: if not, the first line of a text is a row too, and columns are called "0", "1" and so on.
    content: the table itself, of which `path` is the name. quiet: print no notes, because they were printed
    when it was read before.
    Errors: UserError if it cannot be read, has none of `required`, one of the names twice, or no rows.
    """
    names = dict.fromkeys([*required, *known, *_KNOWN])
    wanted = " or ".join(required[:2])

    def columns(header: Sequence[str]) -> list[str | None]:
        if not has_header:
            return [str(place) for place in range(len(header))]
        found = _column_names(header, names, str(path), keep_unnamed)
        if not any(header):
            raise UserError(f"{path} is empty; give a CSV, TSV or Parquet table with a header")
        if required and not any(name in found for name in required):
            have = ", ".join(filter(None, header))
            none = (
                f"none of the columns {', '.join(required)}" if len(required) > 2 else f"no column {wanted}"
            )
            raise UserError(f"{path} has {none}, only {have}; add it")
        return [name if only is None or name in only else None for name in found]

    def opened() -> BinaryIO:
        return open(path, "rb") if content is None else io.BytesIO(content)

    try:
        if content is None and not os.path.isfile(path):
            with open(path, "rb") as file:  # a pipe can be read once
                content = file.read()
        with opened() as file:
            is_parquet = file.read(4) == b"PAR1" or str(path).lower().endswith(PARQUET_SUFFIXES)
        if is_parquet:
            table = _read_parquet(opened, str(path), columns)
        else:
            table = read_delimited(opened, str(path), columns, map(fold_name, names), has_header, quiet)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give a CSV, TSV or Parquet table") from None
    except (OSError, *DAMAGED) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read ({reason}); give a CSV, TSV or Parquet table") from None
    if not table.num_rows:
        raise UserError(f"{path} has no rows; add some below its header")
    return table


def table_row(table: pa.Table, number: int) -> dict[str, Any]:
    """One row by its columns' names."""
    return {name: column[number].as_py() for name, column in zip(table.column_names, table.columns)}


def table_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows by their columns' names, a few thousand in memory at once."""
    for batch in table.to_batches(max_chunksize=8192):
        yield from batch.to_pylist()


def texts(column: pa.ChunkedArray) -> list[str]:
    """A column's values as texts, bytes decoded as the names of files are; "" for null."""
    import pyarrow as pa

    if pa.types.is_large_string(column.type) or pa.types.is_string(column.type):
        return [value or "" for value in column.to_pylist()]
    values = column.to_pylist()
    return ["" if v is None else os.fsdecode(v) if isinstance(v, bytes) else str(v) for v in values]


def path_column(table: pa.Table, named_by: Sequence[str] = PATH_COLUMNS) -> str:
    """The first of the columns `named_by` that the table has."""
    return next(name for name in named_by if name in table.column_names)


def shown_path(path: str) -> str:
    """A path as a message shows it: in quotes where one could not see a blank at the end of one of its parts.

    Of a long one, which may be no path at all, the beginning.
    """
    if len(path) > _LONGEST_SHOWN:
        return f"{path[:_LONGEST_SHOWN]!r}... ({len(path):,} characters)"
    has_blanks = any(part != part.strip() for part in re.split(r"[/\\]", path))
    return repr(path) if has_blanks or not path.isprintable() else path


def find_file(folder: str | os.PathLike[str], cell: str) -> str:
    """The file that a table's cell names, relative to `folder`.

    Of a path at which there is nothing, other spellings are tried: without the blanks around it, with
    backslashes as separators, and each part in Unicode's composed (NFC) and decomposed (NFD) form. Where none
    is there, the path as it stands.
    """
    path = os.path.join(folder, cell)
    # Only these can be spelled in another way; of all others a million rows cost no look at the disk.
    if cell.isascii() and "\\" not in cell and cell == cell.strip() or os.path.lexists(path):
        return path
    stripped = cell.strip()
    for spelling in dict.fromkeys([cell, stripped, cell.replace("\\", "/"), stripped.replace("\\", "/")]):
        if found := _with_forms(folder, spelling):
            return found
    return path


def _with_forms(folder: str | os.PathLike[str], spelling: str) -> str | None:
    """The path with each part in the form that is on the disk; None where one is in none."""
    path = os.fspath(folder)
    if os.path.isabs(spelling):
        path = os.sep
    for part in spelling.split("/"):
        forms = dict.fromkeys([part, unicodedata.normalize("NFC", part), unicodedata.normalize("NFD", part)])
        tried = (os.path.join(path, form) for form in forms)
        if (found := next(filter(os.path.lexists, tried), None)) is None:
            return None
        path = found
    return path


def _column_names(
    header: Sequence[str], known: Collection[str], path: str, keep_unnamed: bool
) -> list[str | None]:
    """Each cell of the header as a column's name; None for one without a name."""
    exact = Counter(header)
    folded = Counter(fold_name(cell) for cell in header if cell not in known)
    names: list[str | None] = []
    used: set[str] = set()
    canonical = {fold_name(name): name for name in reversed(list(known))}
    for place, cell in enumerate(header):
        name = cell
        if not cell:
            name = f"Unnamed: {place}" if keep_unnamed else None
        elif cell in known:
            if exact[cell] > 1:
                raise UserError(f"{path} has {exact[cell]} columns {cell}; rename all but one")
        elif (spelled := canonical.get(fold_name(cell))) is not None and spelled not in exact:
            if folded[fold_name(cell)] > 1:
                raise UserError(f"{path} has {folded[fold_name(cell)]} columns {spelled}; rename all but one")
            name = spelled
        number = 1
        while name is not None and name in used:
            name, number = f"{cell}.{number}", number + 1
        if name is not None:
            used.add(name)
        names.append(name)
    return names


def _read_parquet(opened: Any, path: str, columns: Any) -> pa.Table:
    """The chosen columns, with 64-bit offsets, so that one of more than 2 GiB is one piece too."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with opened() as source, pq.ParquetFile(source) as file:
            header = file.schema_arrow.names
            names = dict(zip(header, columns([name.strip() for name in header])))
            chosen = (
                None if None not in names.values() else [old for old, new in names.items() if new is not None]
            )
            table = file.read(columns=chosen)
        # A column "a" brings along one that is called "a.b".
        table = table.select(
            [place for place, name in enumerate(table.column_names) if names[name] is not None]
        )
        table = table.rename_columns([names[name] for name in table.column_names])
        return table.cast(
            pa.schema([(field.name, _plain_type(field.type)) for field in table.schema])
        ).combine_chunks()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is not a readable Parquet file ({reason}); write it again") from None


def _plain_type(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary(kind) else kind
