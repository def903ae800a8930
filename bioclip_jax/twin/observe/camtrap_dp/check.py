"""Check the tables of a package against the standard: constraints, keys, order of times."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bioclip_jax.errors import UserError

from .descriptor import descriptor_problems
from .fields import FIELDS, FOREIGN_KEYS, MEDIA_TYPE, MISSING, PATH, PRIMARY_KEYS, Field
from .locate import existing_media, locate
from .package import Package
from .times import is_missing, times_or_null

if TYPE_CHECKING:
    import polars as pl

_FORMATS = {
    "integer": r"^[+-]?\d+$",
    "number": r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$",
    "boolean": r"^(?:true|True|TRUE|1|false|False|FALSE|0)$",
    # The standard's times have no fractions; times_or_null checks the rest.
    "datetime": r"T\d{2}:\d{2}:\d{2}(?:Z|[+-]\d{2}:?\d{2})$",
}
_MEANINGS = {
    "integer": "must be an integer",
    "number": "must be a number",
    "boolean": "must be true or false",
    "datetime": "must be a time in whole seconds with its zone, as 2020-05-30T04:57:37+02:00",
}
# The standard's patterns without look-ahead, which polars lacks, and their meaning.
PATTERNS = {
    PATH: (r"^[^./~\n](?:\.?[^.\n])*\.?$", "must be a URL or a path in the package, without .. in it"),
    MEDIA_TYPE: ("^(?:image|video|audio)/.*$", "must be a media type, as image/jpeg"),
}
# Times of which the first may not be after the second.
_ORDERED = (("deploymentStart", "deploymentEnd"), ("eventStart", "eventEnd"))
_LONGEST_SHOWN = 80


@dataclass(frozen=True)
class _Violation:
    """A constraint and the rows of a table that violate it."""

    table: str
    column: str
    rows: pl.Series
    wanted: str


def check_package(
    package: Package,
    *,
    media_files: bool = False,
    columns: Mapping[str, Collection[str]] | None = None,
) -> None:
    """Raise UserError with the first violation of the standard and the number of further ones.

    Checked are types, required and unique cells, enumerations, ranges, patterns, primary and foreign keys,
    the order of start and end, and the descriptor. media_files: relative paths of media must exist too.
    columns: only these, by table, without the descriptor, for a reader that needs no others.
    """
    if columns is None:
        for name, value, wanted in descriptor_problems(package.descriptor):
            raise UserError(f"datapackage.json: {name} {_shown(value)}, but {wanted}; correct it")
    count, first = 0, None
    for violation in _violations(package, media_files, columns):
        count += violation.rows.len()
        order = package.tables[violation.table].columns
        place = (
            list(FIELDS).index(violation.table),
            violation.rows[0],
            order.index(violation.column),
        )
        if first is None or place < first[0]:
            first = (place, violation)
    if first is None:
        return
    (_, row, _), violation = first
    value = package.tables[violation.table][violation.column][row]
    further = f" ({count - 1:,} further problems)" if count > 1 else ""
    raise UserError(
        f"{violation.table}, row {row + 2:,}: {violation.column} {_shown(value)}, but {violation.wanted}"
        f"{further}; correct the table"
    )


def find_problems(package: Package, *, media_files: bool = False) -> pl.DataFrame:
    """Return all violations that check_package checks: table, row, column, value, wanted.

    Rows are numbered as in the file, the header being row 1; of the descriptor they are null.
    """
    import polars as pl

    schema = {
        "table": pl.String,
        "row": pl.Int64,
        "column": pl.String,
        "value": pl.String,
        "wanted": pl.String,
    }
    described = [
        ("datapackage.json", None, name, None if value is None else str(value), wanted)
        for name, value, wanted in descriptor_problems(package.descriptor)
    ]
    frames = [pl.DataFrame(described, schema, orient="row")]
    for violation in _violations(package, media_files):
        cells = package.tables[violation.table][violation.column]
        row = violation.rows.cast(pl.Int64)
        frames.append(
            pl.select(
                table=pl.lit(violation.table),
                row=row + 2,
                column=pl.lit(violation.column),
                value=cells.gather(violation.rows),
                wanted=pl.lit(violation.wanted),
            )
        )
    tables = pl.Enum(["datapackage.json", *FIELDS])
    return pl.concat(frames).sort(pl.col("table").cast(tables), "row", maintain_order=True)


def _violations(
    package: Package, media_files: bool, columns: Mapping[str, Collection[str]] | None = None
) -> Iterator[_Violation]:
    """Violations in the order of tables and columns, each with at least one row; as check_package."""
    for table, frame in package.tables.items():
        checked = frame.columns if columns is None else columns.get(table, ())
        for column, rows, wanted in _table_violations(table, frame, package, checked):
            if rows.any():
                yield _Violation(table, column, rows.arg_true(), wanted)
    if media_files and (rows := _lacks_file(package)).any():
        yield _Violation("media", "filePath", rows.arg_true(), "there is no such file in the package")


def _table_violations(
    table: str, frame: pl.DataFrame, package: Package, checked: Collection[str]
) -> Iterator[tuple[str, pl.Series, str]]:
    """Columns, of those to be checked, with masks of violating rows and the constraints."""
    times: dict[str, pl.Series] = {}
    for field in FIELDS[table]:
        if field.name not in frame.columns:
            if field.required:
                raise UserError(f"{table} has no column {field.name}; add it")
            continue
        if field.name not in checked:
            continue
        cells = frame[field.name]
        missing = is_missing(cells)
        if field.required:
            yield field.name, missing, "is required"
        if missing.all():
            continue
        if field.unique:
            yield field.name, ~cells.is_first_distinct() & ~missing, "must be unique"
        if field.type == "datetime":
            times[field.name] = times_or_null(cells)
        for invalid, wanted in _field_violations(field, cells, times.get(field.name)):
            yield field.name, invalid & ~missing, wanted
        if field.name in FOREIGN_KEYS[table]:
            other = FOREIGN_KEYS[table][field.name]
            key = PRIMARY_KEYS[other]
            yield (
                field.name,
                ~cells.is_in(package.tables[other][key].implode()) & ~missing,
                f"is not a {key} of {other}",
            )
    for start, end in _ORDERED:
        if start in times and end in times:
            yield end, (times[start] > times[end]).fill_null(False), f"must not be before {start}"


def _field_violations(
    field: Field, cells: pl.Series, times: pl.Series | None
) -> Iterator[tuple[pl.Series, str]]:
    """Masks of cells that violate a field's constraints, meaningless for missing cells."""
    import polars as pl

    if field.enum:
        yield ~cells.is_in(field.enum), f"must be one of {', '.join(field.enum)}"
    if field.pattern:
        pattern, meaning = PATTERNS[field.pattern]
        yield ~cells.str.contains(pattern), meaning
    if field.type not in _FORMATS:
        return
    is_valid = cells.str.contains(_FORMATS[field.type])
    if times is not None:
        is_valid &= times.is_not_null()
    yield ~is_valid, _MEANINGS[field.type]
    if field.minimum is None and field.maximum is None:
        return
    numbers = cells.cast(pl.Float64, strict=False)
    if field.minimum is not None:
        yield is_valid & (numbers < field.minimum).fill_null(False), f"must be at least {field.minimum}"
    if field.maximum is not None:
        yield is_valid & (numbers > field.maximum).fill_null(False), f"must be at most {field.maximum}"


def _lacks_file(package: Package) -> pl.Series:
    """True for media at relative paths without a file."""
    import polars as pl

    paths = package.media["filePath"]
    existing: list[str] = []
    if package.folder is not None:
        root = package.folder if package.folder.is_dir() else locate(package.folder)[0]
        existing = existing_media(package.media, root)
    exists = paths.is_in(pl.Series(existing, dtype=pl.String).implode())
    return ~exists & ~paths.str.contains("://") & ~is_missing(paths)


def _shown(value: object) -> str:
    if value is None or value in MISSING:
        return "is missing"
    text = repr(value)
    return f"is {text}" if len(text) <= _LONGEST_SHOWN else f"is {text[:_LONGEST_SHOWN]}…"
