"""Read a Camtrap DP without changing a cell."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from bioclip_jax.errors import UserError
from bioclip_jax.tables import DAMAGED, read_delimited, uncompressed

from .fields import FIELDS
from .locate import Files, is_remote, locate, read_descriptor, resource_paths, table_resource
from .package import Package

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

_UTF8 = ("utf-8", "utf8", "utf-8-sig")
_BLOCK_BYTES = 1 << 22


def read_package(path: str | os.PathLike[str]) -> Package:
    """Read a Camtrap DP 1.x from its folder, its datapackage.json or a zip archive.

    Every cell is the text in the file, also "NA"; unknown columns are kept in place, and optional fields that
    a file lacks are added, empty. Nothing is fetched: media at URLs are left there.

    Raises UserError for a missing or malformed file, a missing required column, a table at a URL, and a path
    that leaves the package.
    """
    path = Path(path)
    root, file = locate(path)
    descriptor = read_descriptor(file)
    for resource in descriptor["resources"]:
        for name in resource_paths(resource, str(file)):
            if not is_remote(name) and not (root / name).is_file():
                raise UserError(f"{root / name}, a file of the resource {resource['name']}, does not exist")
    tables = {table: _read_resource(root, table_resource(descriptor, table), str(file)) for table in FIELDS}
    return Package(descriptor, **tables, folder=root if isinstance(root, Path) else path)


def _read_resource(root: Files, resource: dict[str, Any], where: str) -> pl.DataFrame:
    """Read a table from its files or its inline data."""
    import polars as pl

    table = resource["name"]
    if "data" in resource:
        return _completed(_inline(resource["data"], table, where), table, where)
    paths = resource_paths(resource, where)
    if not paths:
        raise UserError(f"{where}: the resource {table} has no path; add it")
    frames = []
    for path in paths:
        if is_remote(path):
            raise UserError(f"{where}: the table {table} is at {path}; download it beside {where}")
        frames.append(_completed(_read_file(root / path, resource), table, str(root / path)))
    if len({frozenset(frame.columns) for frame in frames}) > 1:
        raise UserError(f"{where}: the files of the resource {table} have different columns; make them equal")
    return pl.concat(frame.select(frames[0].columns) for frame in frames)


def _completed(frame: pl.DataFrame, table: str, where: str) -> pl.DataFrame:
    """All fields of a table; those of the standard for a file without a header."""
    import polars as pl

    if not frame.columns:
        return pl.DataFrame(schema={field.name: pl.String for field in FIELDS[table]})
    return with_all_fields(frame, table, where)


def with_all_fields(frame: pl.DataFrame, table: str, where: str | None = None) -> pl.DataFrame:
    """Add the optional fields that a table lacks, empty, each after the field before it in the standard.

    where: the table's name in messages. Raises UserError for a missing required field.
    """
    import polars as pl

    columns = list(frame.columns)
    for index, field in enumerate(FIELDS[table]):
        if field.name in columns:
            continue
        if field.required:
            names = ", ".join(frame.columns[:10])
            raise UserError(f"{where or table} has no column {field.name}, only {names}; add it")
        previous = columns.index(FIELDS[table][index - 1].name) if index else -1
        columns.insert(previous + 1, field.name)
    added = [pl.lit("").alias(name) for name in columns if name not in frame.columns]
    return frame.with_columns(added).select(columns)


def _inline(data: Any, table: str, where: str) -> pl.DataFrame:
    """A table from inline data: a list of objects, or of lists of which the first is the header."""
    import polars as pl

    rows = data if isinstance(data, list) else [None]
    if rows and all(isinstance(row, list) for row in rows):
        rows = [dict(zip(map(str, rows[0]), row)) for row in rows[1:]]
    if not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{where}: data of the resource {table} is not a list of rows; correct it")
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame(
        {name: [_cell(row.get(name)) for row in rows] for name in names},
        schema=dict.fromkeys(names, pl.String),
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class _Dialect:
    """CSV dialect of a resource, https://specs.frictionlessdata.io/csv-dialect."""

    delimiter: str
    quote: str
    double_quote: bool
    escape: str | None

    @classmethod
    def of(cls, resource: dict[str, Any]) -> _Dialect:
        dialect = resource.get("dialect")
        dialect = dialect if isinstance(dialect, dict) else {}
        return cls(
            _character(dialect.get("delimiter")) or ",",
            _character(dialect.get("quoteChar")) or '"',
            dialect.get("doubleQuote") is not False,
            _character(dialect.get("escapeChar")),
        )


def _character(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) == 1 and value.isascii() else None


def _read_file(file: Files, resource: dict[str, Any]) -> pl.DataFrame:
    """Read one file as its resource describes it, or, if that fails, as the table reader detects it."""
    import polars as pl

    name = str(file)
    required = [field.name for field in FIELDS[resource["name"]] if field.required]

    def open_content() -> BinaryIO:
        return file.open("rb")

    try:
        table = _read_declared(file, open_content, _Dialect.of(resource), resource.get("encoding"), required)
        if table is None:
            table = read_delimited(open_content, name, lambda header: _checked(header, name), required)
    except (OSError, *DAMAGED) as error:
        raise UserError(f"{name} cannot be read ({getattr(error, 'strerror', None) or error})") from None
    return pl.from_arrow(table)


def _read_declared(
    file: Files,
    open_content: Callable[[], BinaryIO],
    dialect: _Dialect,
    encoding: Any,
    required: Sequence[str],
) -> pa.Table | None:
    """Read a file with the given dialect and encoding; None if it is not such a file."""
    import pyarrow as pa
    import pyarrow.csv

    content = uncompressed(open_content, str(file))
    is_utf8 = not isinstance(encoding, str) or encoding.lower() in _UTF8
    try:
        if is_utf8 and isinstance(file, Path) and content is open_content and file.stat().st_size:
            source = pa.memory_map(str(file))
        else:
            with content() as opened:
                data = opened.read()
            source = pa.BufferReader(data if is_utf8 else data.decode(encoding).encode())
        header = _header(source, dialect)
        if not header:
            return pa.table({})
        if not set(required) <= set(header):
            return None
        names = _checked(header, str(file))
        source.seek(0)
        return pyarrow.csv.read_csv(
            source,
            pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES),
            pyarrow.csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote,
                double_quote=dialect.double_quote,
                escape_char=dialect.escape or False,
                newlines_in_values=True,
            ),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, UnicodeError, LookupError, csv.Error):
        return None


def _header(source: BinaryIO, dialect: _Dialect) -> list[str]:
    """Names in the first line that is not empty."""
    text = io.TextIOWrapper(source, "utf-8-sig", newline="")
    rows = csv.reader(
        text,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        doublequote=dialect.double_quote,
        escapechar=dialect.escape,
    )
    header = next((row for row in rows if row), [])
    text.detach()
    return header


def _checked(header: Sequence[str], name: str) -> list[str]:
    """The header, if all of its names differ."""
    for column in header:
        if header.count(column) > 1:
            shown = f"columns {column}" if column else "columns without a name"
            raise UserError(f"{name} has {header.count(column)} {shown}; rename or remove all but one")
    return list(header)
