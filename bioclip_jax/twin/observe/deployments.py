"""Deployments of a user's table: Camtrap DP's columns and ours: folder, clockOffset, downTime."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bioclip_jax.errors import UserError
from bioclip_jax.tables import read_table

from .camtrap_dp import FIELDS, MISSING
from .clock import STANDARD_TIME, clock_offset, parse_clock, time_text, to_instant
from .effort import DOWN_TIME, effort_days

if TYPE_CHECKING:
    import polars as pl

_REQUIRED = tuple(field.name for field in FIELDS["deployments"] if field.required)
_OURS = ("folder", "clockOffset", "downTime")
_HOUR = 3_600_000_000  # microseconds


@dataclass(frozen=True)
class Deployments:
    """Deployments of a survey.

    table: as in a package. clocks: deploymentID, start and end (UTC), utc_offset (Duration, of
    deploymentStart) and clock_offset (Duration, to add to the camera's clock). folders: deploymentIDs of each
    folder of photographs, slash-separated. timezone: IANA name of the zone of the cameras' clocks, None for
    utc_offset.
    """

    table: pl.DataFrame
    clocks: pl.DataFrame
    folders: dict[str, list[str]]
    timezone: str | None


def read_deployments(path: str | os.PathLike[str], timezone: str | None = None) -> Deployments:
    """Read a table of deployments: the columns of Camtrap DP, and folder, clockOffset and downTime.

    folder: of the deployment's photographs (default: deploymentID or locationName). clockOffset: what must be
    added to the camera's clock, as clock_offset. downTime: START/END of intervals without a working camera,
    separated by "|". clockOffset, downTime and columns outside the standard are kept in deploymentTags.
    timezone: of times without a zone and of the cameras' clocks. Raises UserError for what a package cannot
    hold, for times that no one zone explains, and if no camera ran.
    """
    import polars as pl

    table = _read(path)
    starts, ends = (
        parse_clock(table[name].replace(list(MISSING), ""), str(path))
        for name in ("deploymentStart", "deploymentEnd")
    )
    _check_zones(table, starts, ends, str(path), timezone)
    utc_offset = _start_offsets(table["deploymentStart"], starts, timezone)
    offset = pl.lit(utc_offset)
    start, end = (
        times.select(pl.coalesce("instant", to_instant(pl.col("local"), offset, timezone))).to_series()
        for times in (starts, ends)
    )
    if (backwards := start > end).any():
        row = table.row(number := backwards.arg_true()[0], named=True)
        raise UserError(
            f"{path}, row {number + 2:,}: {row['deploymentID']} ends at {row['deploymentEnd']}, before it "
            f"starts at {row['deploymentStart']}; correct one of them"
        )
    offsets = [
        clock_offset("" if text in MISSING else text, f"{path}, row {row:,}")
        for row, text in enumerate(_column(table, "clockOffset"), 2)
    ]
    clocks = pl.DataFrame(
        {
            "deploymentID": table["deploymentID"],
            "start": start,
            "end": end,
            "utc_offset": utc_offset,
            "clock_offset": (pl.Series(offsets, dtype=pl.Float64) * 1e6).round().cast(pl.Duration("us")),
        }
    )
    written = _to_package(table, clocks, str(path), timezone)
    if written.height and effort_days(written)["effort_days"].is_null().all():
        raise UserError(
            f"{path}: no camera ran at any time, since down-time or equal start and end leave nothing; "
            "correct deploymentStart, deploymentEnd or downTime"
        )
    return Deployments(written, clocks, _folders(table), timezone)


def _read(path: str | os.PathLike[str]) -> pl.DataFrame:
    """Read the table as text and check its ids and coordinates."""
    import polars as pl

    known = [field.name for field in FIELDS["deployments"]] + list(_OURS)
    table = pl.from_arrow(read_table(path, ("deploymentID",), known=known))
    table = table.with_columns(pl.all().cast(pl.String).fill_null("").str.strip_chars())
    if missing := [name for name in _REQUIRED if name not in table.columns]:
        raise UserError(f"{path} has no column {', '.join(missing)}; add it: Camtrap DP requires it")
    for name in _REQUIRED:
        empty = table[name].is_in(MISSING)
        if empty.any():
            row = empty.arg_true()[0]
            raise UserError(
                f"{path}, row {row + 2:,}: {name} of deployment {table['deploymentID'][row]!r} is empty "
                f"({empty.sum():,} such rows); give it for every deployment"
            )
    for name, most in (("latitude", 90), ("longitude", 180)):
        bad = ~table[name].cast(pl.Float64, strict=False).is_between(-most, most).fill_null(False)
        if bad.any():
            row = bad.arg_true()[0]
            raise UserError(
                f"{path}, row {row + 2:,}: {name} is {table[name][row]!r}; write decimal degrees between "
                f"-{most} and {most}, as 50.699"
            )
    twice = table["deploymentID"].is_duplicated()
    if twice.any():
        name = table["deploymentID"][twice.arg_true()[0]]
        rows = " and ".join(f"{row + 2:,}" for row in (table["deploymentID"] == name).arg_true()[:2])
        raise UserError(f"{path}, rows {rows}: the deploymentID {name!r} occurs twice; make it unique")
    return table


def _check_zones(
    table: pl.DataFrame, starts: pl.DataFrame, ends: pl.DataFrame, path: str, timezone: str | None
) -> None:
    """Raise UserError if the times do not all have a zone, or have those of different places."""
    import polars as pl

    if timezone is not None:
        return
    zoned = pl.concat([starts["instant"], ends["instant"]]).is_not_null()
    texts = pl.concat([table["deploymentStart"], table["deploymentEnd"]])
    if not zoned.all():
        text = texts.filter(~zoned)[0]
        what = "some times have a zone and some have none" if zoned.any() else "times have no zone"
        raise UserError(
            f"{path}: {what}, such as {text}; write it with each, as 2020-05-30T04:57:37+02:00, or name the "
            "zone with --timezone"
        )
    offsets = _zones(texts)
    if (offsets.max() or 0) - (offsets.min() or 0) > _HOUR:
        first, last = texts[offsets.arg_min()], texts[offsets.arg_max()]
        raise UserError(
            f"{path}: {first} and {last} are in zones more than an hour apart, which no one place has; name "
            "the zone of the cameras' clocks with --timezone, or run each zone by itself"
        )


def _zones(texts: pl.Series) -> pl.Series:
    """Microseconds from UTC of times that end in a zone."""
    import polars as pl

    parts = texts.to_frame("text").select(
        sign=pl.when(pl.col("text").str.contains(r"-\d\d:?\d\d$")).then(-1).otherwise(1),
        hours=pl.col("text").str.extract(r"[+-](\d\d):?\d\d$").cast(pl.Int64).fill_null(0),
        minutes=pl.col("text").str.extract(r"[+-]\d\d:?(\d\d)$").cast(pl.Int64).fill_null(0),
    )
    return parts.select(pl.col("sign") * (pl.col("hours") * 60 + pl.col("minutes")) * 60_000_000).to_series()


def _start_offsets(texts: pl.Series, starts: pl.DataFrame, timezone: str | None) -> pl.Series:
    """Offset from UTC of each deploymentStart; in an IANA zone, of times without one."""
    import polars as pl

    written = _zones(texts)
    if timezone is None:
        return written.cast(pl.Duration("us"))
    local = starts["local"]
    instant = starts.select(to_instant(pl.col("local"), pl.duration(), timezone)).to_series()
    in_zone = (local - instant.dt.replace_time_zone(None)).dt.total_microseconds()
    return in_zone.fill_null(written).cast(pl.Duration("us"))


def _to_package(table: pl.DataFrame, clocks: pl.DataFrame, path: str, timezone: str | None) -> pl.DataFrame:
    """Return the standard's columns, with times in ISO 8601 and all others in deploymentTags."""
    import polars as pl

    standard = [field.name for field in FIELDS["deployments"]]
    tags = [
        [tag.strip() for tag in text.split("|") if tag.strip()] for text in _column(table, "deploymentTags")
    ]
    comments = _column(table, "deploymentComments")
    for name in table.columns:
        if name in standard or name == "folder":
            continue
        for row, value in enumerate(table[name].to_list()):
            if value in MISSING:
                continue
            if name == "downTime":
                down = _down_times(value, clocks.row(row, named=True), f"{path}, row {row + 2:,}", timezone)
                tags[row] += [DOWN_TIME + interval for interval in down]
            elif "|" in value:
                # The separator of tags.
                comments[row] = "; ".join(filter(None, (comments[row], f"{name}: {value}")))
            else:
                tags[row].append(f"{name}:{value}")
    columns = [pl.col(name) if name in table.columns else pl.lit("").alias(name) for name in standard]
    offset = pl.lit(clocks["utc_offset"])
    times = {
        name: pl.when(pl.col(name).str.contains(STANDARD_TIME))
        .then(name)
        .otherwise(time_text(pl.lit(clocks[edge]), offset, timezone))
        for name, edge in (("deploymentStart", "start"), ("deploymentEnd", "end"))
    }
    return table.select(columns).with_columns(
        **times,
        deploymentTags=pl.Series([" | ".join(row) for row in tags], dtype=pl.String),
        deploymentComments=pl.Series(comments, dtype=pl.String),
    )


def _down_times(text: str, clock: dict, where: str, timezone: str | None) -> list[str]:
    """Return the intervals of a cell of downTime, START/END in ISO 8601 with a zone."""
    import polars as pl

    intervals = [[time.strip() for time in part.split("/")] for part in text.split("|") if part.strip()]
    if not intervals or any(len(interval) != 2 or "" in interval for interval in intervals):
        raise UserError(f"{where}: downTime is {text!r}; write START/END, and | between intervals")
    texts = pl.Series("downTime", [time for part in intervals for time in part])
    times = parse_clock(texts, where, rows=False)
    offset = pl.lit(clock["utc_offset"], pl.Duration("us"))
    instant = pl.coalesce("instant", to_instant(pl.col("local"), offset, timezone))
    texts = times.select(instant=instant).select(
        "instant", text=time_text(pl.col("instant"), offset, timezone)
    )
    pairs = list(zip(texts.rows()[::2], texts.rows()[1::2], strict=True))
    for (start, start_text), (end, end_text) in pairs:
        if start > end:
            raise UserError(
                f"{where}: downTime {start_text}/{end_text} does not end after its start; correct it"
            )
    return [f"{start_text}/{end_text}" for (_, start_text), (_, end_text) in pairs]


def _folders(table: pl.DataFrame) -> dict[str, list[str]]:
    """Map folders to their deployments: `folder`, without it both deploymentID and locationName."""
    folders: dict[str, list[str]] = {}
    rows = zip(*(_column(table, name) for name in ("deploymentID", "folder", "locationName")), strict=True)
    for deployment, folder, location in rows:
        for name in [folder] if folder not in MISSING else dict.fromkeys([deployment, location]):
            name = "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))
            if name or folder == ".":
                folders.setdefault(name, []).append(deployment)
    return folders


def _column(table: pl.DataFrame, name: str) -> list[str]:
    return table[name].to_list() if name in table.columns else [""] * table.height
