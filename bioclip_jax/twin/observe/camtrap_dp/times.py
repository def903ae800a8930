"""Timestamps of Camtrap DP: ISO 8601 with a zone, as 2020-05-30T04:57:37+02:00."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioclip_jax.errors import UserError

from .fields import MISSING

if TYPE_CHECKING:
    import polars as pl

_TIMESTAMP = r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:[0-5]\d(\.\d{1,9})?([Zz]|[+-](0\d|1\d|2[0-3]):?[0-5]\d)$"


def parse_times(column: pl.Series, table: str) -> pl.Series:
    """Return timestamps as Datetime("us", "UTC"), null for a missing cell.

    Zones may differ between rows and be written as Z, +02:00 or +0200; fractions of seconds are kept to the
    microsecond. table: its name in messages. Raises UserError for a timestamp that is malformed or has no
    zone.
    """
    times = times_or_null(column)
    bad = times.is_null() & ~is_missing(column)
    if bad.any():
        row = bad.arg_true()[0]
        raise UserError(
            f"{table}, row {row + 2:,}: {column.name} is {column[row]!r} ({bad.sum():,} such rows); write it "
            "with its zone, as 2020-05-30T04:57:37+02:00 or 2020-05-30T02:57:37Z"
        )
    return times


def times_or_null(column: pl.Series) -> pl.Series:
    """Return timestamps as Datetime("us", "UTC"), null for a missing or malformed cell."""
    import polars as pl

    text = pl.col("text")
    texts = column.to_frame("text").select(
        pl.when(text.str.contains(_TIMESTAMP)).then(text.str.to_uppercase())
    )
    times = texts["text"].str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", strict=False)
    return times.dt.convert_time_zone("UTC").rename(column.name)


def is_missing(cells: pl.Series) -> pl.Series:
    """True for cells that the standard reads as missing: "", NA, NaN, nan."""
    return cells.is_null() | cells.is_in(MISSING)
