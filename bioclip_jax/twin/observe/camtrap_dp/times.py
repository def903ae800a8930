"""Timestamps of Camtrap DP: ISO 8601 with a zone, as 2020-05-30T04:57:37+02:00."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioclip_jax.errors import UserError

if TYPE_CHECKING:
    import polars as pl


def parse_times(column: pl.Series, table: str) -> pl.Series:
    """Return timestamps as Datetime("us", "UTC"); an empty cell becomes null.

    table: its name in messages. Raises UserError for a timestamp that is malformed or has no zone.
    """
    import polars as pl

    texts = column.replace("", None)
    times = texts.str.to_datetime("%Y-%m-%dT%H:%M:%S%#z", time_unit="us", strict=False).dt.convert_time_zone(
        "UTC"
    )
    bad = times.is_null() & texts.is_not_null()
    if bad.any():
        row = bad.arg_true()[0]
        raise UserError(
            f"{table}, row {row + 2:,}: {column.name} is {column[row]!r} ({bad.sum():,} such rows); write it "
            "with its zone, as 2020-05-30T04:57:37+02:00 or 2020-05-30T02:57:37Z"
        )
    return times.rename(column.name).cast(pl.Datetime("us", "UTC"))
