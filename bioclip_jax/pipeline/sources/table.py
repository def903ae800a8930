"""Tables of labels, from CSV or Parquet, kept as columns: a million rows cost what their text does."""

import csv
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import PARQUET_SUFFIXES

if TYPE_CHECKING:
    import pyarrow

# Rows that are held as Python objects while a CSV is read.
_BLOCK_ROWS = 50_000


def read_table(path: Path, required: Sequence[str]) -> "pyarrow.Table":
    """The table in a CSV (every value a text) or, by its suffix, a Parquet file, whose types stay.

    UserError if it cannot be read, has none of the columns `required` or no rows.
    """
    wanted = " or ".join(required)
    table = _read_parquet(path) if path.suffix.lower() in PARQUET_SUFFIXES else _read_csv(path, wanted)
    if not any(name in table.column_names for name in required):
        have = ", ".join(table.column_names) or "nothing"
        raise UserError(f"{path} has no column {wanted}, only {have}; add it")
    if not table.num_rows:
        raise UserError(f"{path} lists no images; add rows")
    return table.combine_chunks()


def table_row(table: "pyarrow.Table", number: int) -> dict[str, Any]:
    """One row by its columns' names."""
    return {name: column[number].as_py() for name, column in zip(table.column_names, table.columns)}


def _read_parquet(path: Path) -> "pyarrow.Table":
    import pyarrow
    import pyarrow.parquet

    try:
        return _large_texts(pyarrow.parquet.ParquetFile(path).read())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give a CSV or Parquet table") from None
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is no readable Parquet file ({str(error).splitlines()[0]}); write it again") from None


def _read_csv(path: Path, wanted: str) -> "pyarrow.Table":
    import pyarrow

    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = list(dict.fromkeys(name for name in reader.fieldnames or [] if name))
            schema = pyarrow.schema([(name, pyarrow.large_string()) for name in names])
            blocks = []
            while rows := list(islice(reader, _BLOCK_ROWS)):
                columns = {name: [row[name] or "" for row in rows] for name in names}
                blocks.append(pyarrow.table(columns, schema=schema))
            return pyarrow.concat_tables(blocks) if blocks else schema.empty_table()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give a CSV with a {wanted} column") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no readable CSV ({error}); save it as UTF-8 text") from None


def _large_texts(table: "pyarrow.Table") -> "pyarrow.Table":
    """The table with 64-bit offsets, so that a column of more than 2 GiB is one piece too."""
    import pyarrow

    types = {pyarrow.string(): pyarrow.large_string(), pyarrow.binary(): pyarrow.large_binary()}
    return table.cast(pyarrow.schema([(field.name, types.get(field.type, field.type)) for field in table.schema]))
