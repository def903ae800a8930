"""Times that people and cameras write, with or without a zone, and clock offsets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bioclip_jax.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

_OFFSET = re.compile(
    r"(?P<sign>[+-]?)\s*(?:(?P<days>\d+)\s*(?:d|days?)?[\s,]\s*)?(?P<hours>\d+):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)"
)
# Times as the standard writes them; they are kept as they are.
STANDARD_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$"
_SECONDS = re.compile(r"[+-]?\d+(\.\d+)?")
_LARGEST_OFFSET = 100 * 366 * 86_400.0  # seconds
_EXAMPLE = "write it as 2020-05-30T04:57:37+02:00, or without +02:00 in the camera's own zone"


def check_timezone(name: str | None) -> None:
    """Raise UserError for a zone that the IANA database lacks."""
    import zoneinfo

    if name is None:
        return
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        hint = did_you_mean(name, zoneinfo.available_timezones(), "give a name such as Europe/Brussels")
        raise UserError(f"the time zone {name!r} does not exist{hint}") from None


def parse_clock(texts: pl.Series, table: str, *, rows: bool = True) -> pl.DataFrame:
    """Return "instant" (UTC), of times with a zone, and "local" (without one) of the others; else null.

    texts: ISO 8601 with T or a blank, seconds optional, also EXIF's 2020:05:30 04:57:37; "" for none.
    table: its name in messages, which also name the row unless the texts are of one (rows=False).
    Raises UserError for a malformed time.
    """
    import polars as pl

    plain = (
        texts.str.strip_chars()
        .str.replace(r"^(\d{4})[:/-](\d\d)[:/-](\d\d)[T ](\d\d:\d\d)", "$1-$2-${3}T$4")
        .str.replace(r"T(\d\d:\d\d)(Z|[+-]\d\d:?\d\d)?$", "T${1}:00$2")
    )
    zoned = plain.str.contains(r"(Z|[+-]\d\d:?\d\d)$") & plain.str.contains("T", literal=True)
    times = pl.DataFrame({"text": plain, "zoned": zoned}).select(
        instant=pl.when("zoned")
        .then("text")
        .str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", strict=False)
        .dt.convert_time_zone("UTC"),
        local=pl.when(~pl.col("zoned"))
        .then("text")
        .str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False),
    )
    bad = (plain != "") & times["instant"].is_null() & times["local"].is_null()
    if bad.any():
        row = bad.arg_true()[0]
        where = f"{table}, row {row + 2:,}" if rows else table
        such = f" ({bad.sum():,} such rows)" if rows else ""
        raise UserError(f"{where}: {texts.name} is {texts[row]!r}{such}; {_EXAMPLE}")
    return times


def clock_offset(text: str, where: str) -> float:
    """Return the seconds to add to a camera's clock: of a number, of ±HH:MM:SS, or of DAYS d ±HH:MM:SS.

    Raises UserError for anything else.
    """
    text = text.strip()
    if not text:
        return 0.0
    total = None
    if _SECONDS.fullmatch(text):
        total = float(text)
    elif match := _OFFSET.fullmatch(text):
        days, hours, minutes, seconds = (
            int(match[name] or 0) for name in ("days", "hours", "minutes", "seconds")
        )
        total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        total = float(-total if match["sign"] == "-" else total)
    if total is not None and abs(total) <= _LARGEST_OFFSET:
        return total
    raise UserError(
        f"{where}: clockOffset is {text!r}; write what must be added to the camera's clock as seconds, "
        "±HH:MM:SS or ±DAYS d HH:MM:SS"
    )


def to_instant(local: pl.Expr, utc_offset: pl.Expr, timezone: str | None) -> pl.Expr:
    """UTC of a camera's clock: in an IANA zone, or without one at a fixed offset from UTC (Duration).

    Of the hour that occurs twice in autumn the first is meant; the one that is left out in spring counts on.
    """
    import polars as pl

    if timezone is None:
        return (local - utc_offset).dt.replace_time_zone("UTC")
    zone = {"time_zone": timezone, "ambiguous": "earliest", "non_existent": "null"}
    hour = pl.duration(hours=1)
    skipped = (local + hour).dt.replace_time_zone(**zone)
    return local.dt.replace_time_zone(**zone).fill_null(skipped).dt.convert_time_zone("UTC")


def time_text(instant: pl.Expr, utc_offset: pl.Expr, timezone: str | None) -> pl.Expr:
    """Write times to the second in ISO 8601, in an IANA zone or at an offset from UTC (Duration)."""
    import polars as pl

    if timezone is not None:
        return instant.dt.convert_time_zone(timezone).dt.strftime("%Y-%m-%dT%H:%M:%S%:z")
    local = instant.dt.replace_time_zone(None) + utc_offset
    minutes = utc_offset.dt.total_minutes()
    sign = pl.when(minutes < 0).then(pl.lit("-")).otherwise(pl.lit("+"))
    hour, minute = (part.cast(pl.String).str.zfill(2) for part in (minutes.abs() // 60, minutes.abs() % 60))
    suffix = pl.when(minutes == 0).then(pl.lit("Z")).otherwise(pl.concat_str(sign, hour, pl.lit(":"), minute))
    return pl.concat_str(local.dt.strftime("%Y-%m-%dT%H:%M:%S"), suffix)
