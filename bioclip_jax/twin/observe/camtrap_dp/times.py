"""Timestamps of Camtrap DP: ISO 8601 with a zone, as 2020-05-30T04:57:37+02:00."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioclip_jax.errors import UserError

from .fields import MISSING

if TYPE_CHECKING:
    import polars as pl

# The group is the zone.
_TIMESTAMP = r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:[0-5]\d(?:\.\d{1,9})?([Zz]|[+-](?:0\d|1\d|2[0-3]):?[0-5]\d)$"


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


def utc_offsets(column: pl.Series) -> pl.Series:
    """Return the zones of timestamps as Int32 minutes east of UTC, null for a missing or malformed cell."""
    import polars as pl

    zones = column.str.extract(_TIMESTAMP)
    minutes = {zone: _minutes(zone) for zone in zones.unique() if zone is not None}
    return zones.replace_strict(minutes, default=None, return_dtype=pl.Int32)


def format_times(times: pl.Series, offsets: pl.Series | int = 0) -> pl.Series:
    """Write times as the standard has them, in whole seconds (fractions are cut), "" for null.

    times: Datetime in UTC. offsets: minutes east of UTC, for each row or for all; 0 is written as Z.
    """
    import polars as pl

    frame = times.dt.replace_time_zone(None).to_frame("time")
    frame = frame.with_columns(offset=offsets if isinstance(offsets, pl.Series) else pl.lit(offsets))
    zones = {offset: _zone(offset) for offset in frame["offset"].unique() if offset is not None}
    local = pl.col("time") + pl.duration(minutes=pl.col("offset"))
    zone = pl.col("offset").replace_strict(zones, default=None, return_dtype=pl.String)
    texts = frame.select((local.dt.strftime("%Y-%m-%dT%H:%M:%S") + zone).fill_null(""))
    return texts.to_series().rename(times.name)


def _minutes(zone: str) -> int:
    if zone in "Zz":
        return 0
    minutes = 60 * int(zone[1:3]) + int(zone[-2:])
    return -minutes if zone[0] == "-" else minutes


def _zone(offset: int) -> str:
    hours, minutes = divmod(abs(offset), 60)
    return f"{'-' if offset < 0 else '+'}{hours:02}:{minutes:02}" if offset else "Z"


def is_missing(cells: pl.Series) -> pl.Series:
    """True for cells that the standard reads as missing: "", NA, NaN, nan."""
    return cells.is_null() | cells.is_in(MISSING)
