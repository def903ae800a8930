"""Sampling effort: days that a camera ran, by deployment and by visit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bioclip_jax.errors import UserError

from .camtrap_dp import parse_times

if TYPE_CHECKING:
    import polars as pl

# Entry of deploymentTags, START/END in ISO 8601.
DOWN_TIME = "downTime:"
_DAY = 86_400e6  # microseconds


def effort_days(deployments: pl.DataFrame) -> pl.DataFrame:
    """Return columns "deploymentID" and "effort_days": deployment time less down-time, in days of 24 hours.

    deployments: a package's table. Down-time is in deploymentTags as `downTime:START/END`, entries separated
    by "|"; overlapping entries count once, and time outside the deployment does not count. The effort is null
    for a camera that did not run at all: its species are not available, not absent.
    Raises UserError for a time without a zone and for a deployment or down-time that ends before it starts.
    """
    import polars as pl

    periods = _periods(deployments)
    down = _down_times(deployments, periods).group_by("deploymentID").agg(down=(_length("from", "to")).sum())
    effort = _days(_length("start", "end") - pl.col("down").fill_null(0.0))
    return periods.join(down, "deploymentID", "left", maintain_order="left").select(
        "deploymentID", effort_days=effort
    )


def visit_effort(deployments: pl.DataFrame, visit_days: float = 1.0) -> pl.DataFrame:
    """Return the effort of each visit: columns "deploymentID", "visit", "visit_start" (UTC), "effort_days".

    Visit v of a deployment lasts from v to v + 1 times `visit_days` after the local midnight at or before
    deploymentStart, in that time's own offset; the last one holds the deployment's end. Effort, down-time and
    errors as in effort_days: a visit during which the camera did not run has null.
    """
    import polars as pl

    if not (math.isfinite(visit_days) and visit_days > 0):
        raise UserError(f"a visit lasts {visit_days} days; it must be above 0")
    step = visit_days * _DAY
    span = pl.col("end") - pl.col("midnight")
    last = (span.dt.total_microseconds() / step).ceil().cast(pl.Int64).clip(1)
    periods = _periods(deployments)
    offset = (pl.col("visit") * step).round().cast(pl.Int64)
    visits = (
        periods.with_columns(visit=pl.int_ranges(0, last))
        .explode("visit")
        .with_columns(visit_start=pl.col("midnight") + pl.duration(microseconds=offset))
        .with_columns(
            visit_end=pl.col("midnight")
            + pl.duration(microseconds=((pl.col("visit") + 1) * step).round().cast(pl.Int64))
        )
        .with_columns(
            running_from=pl.max_horizontal("start", "visit_start"),
            running_to=pl.min_horizontal("end", "visit_end"),
        )
    )
    overlap_from, overlap_to = (
        pl.max_horizontal("running_from", "from"),
        pl.min_horizontal("running_to", "to"),
    )
    down = (
        visits.join(_down_times(deployments, periods), "deploymentID")
        .with_columns(overlap_from=overlap_from, overlap_to=overlap_to)
        .filter(pl.col("overlap_to") > pl.col("overlap_from"))
        .group_by("deploymentID", "visit")
        .agg(down=_length("overlap_from", "overlap_to").sum())
    )
    running = _length("running_from", "running_to").clip(0)
    return visits.join(down, ["deploymentID", "visit"], "left", maintain_order="left").select(
        "deploymentID", "visit", "visit_start", effort_days=_days(running - pl.col("down").fill_null(0.0))
    )


def _periods(deployments: pl.DataFrame) -> pl.DataFrame:
    """Return "deploymentID", "start" and "end" (UTC) and "midnight": the local one at or before the start."""
    import polars as pl

    starts, ends = (
        parse_times(deployments[name], "deployments") for name in ("deploymentStart", "deploymentEnd")
    )
    if (backwards := (starts > ends).fill_null(False)).any():
        row = deployments.row(number := backwards.arg_true()[0], named=True)
        raise UserError(
            f"deployments, row {number + 2:,}: {row['deploymentID']} ends at {row['deploymentEnd']}, before "
            f"it starts at {row['deploymentStart']}; correct one of them"
        )
    local = (
        deployments["deploymentStart"].str.slice(0, 19).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us")
    )
    midnight = starts - (local - local.dt.truncate("1d"))
    return pl.DataFrame(
        {"deploymentID": deployments["deploymentID"], "start": starts, "end": ends, "midnight": midnight}
    )


def _down_times(deployments: pl.DataFrame, periods: pl.DataFrame) -> pl.DataFrame:
    """Return disjoint down-times inside the deployments: "deploymentID", "from" and "to" (UTC)."""
    import polars as pl

    schema = {"deploymentID": pl.String, "from": pl.Datetime("us", "UTC"), "to": pl.Datetime("us", "UTC")}
    if "deploymentTags" not in deployments.columns:
        return pl.DataFrame(schema=schema)
    tags = (
        deployments.select("deploymentID", tag=pl.col("deploymentTags").str.split("|"))
        .explode("tag")
        .with_columns(pl.col("tag").str.strip_chars())
        .filter(pl.col("tag").str.starts_with(DOWN_TIME))
        .with_columns(pl.col("tag").str.strip_prefix(DOWN_TIME).str.split("/"))
    )
    if not tags.height:
        return pl.DataFrame(schema=schema)
    for name, tag in tags.filter(pl.col("tag").list.len() != 2).rows():
        raise UserError(
            f"deployment {name} has the tag {DOWN_TIME}{'/'.join(tag)}; write {DOWN_TIME}START/END"
        )
    table = "deploymentTags of deployments"
    intervals = tags.select(
        "deploymentID",
        *(
            pl.col("tag").list.get(i).str.strip_chars().alias(DOWN_TIME[:-1] + end)
            for i, end in enumerate(("Start", "End"))
        ),
    )
    start, end = (parse_times(intervals[name], table) for name in intervals.columns[1:])
    if (missing := start.is_null() | end.is_null() | (start > end).fill_null(False)).any():
        name, *interval = intervals.row(missing.arg_true()[0])
        raise UserError(
            f"deployment {name} has the down-time {'/'.join(interval)}; write its START before its END"
        )
    clipped = (
        intervals.select("deploymentID", start.alias("from"), end.alias("to"))
        .join(periods, "deploymentID")
        .select(
            "deploymentID",
            pl.max_horizontal("from", "start").alias("from"),
            pl.min_horizontal("to", "end").alias("to"),
        )
        .filter(pl.col("to") > pl.col("from"))
        .sort("deploymentID", "from")
    )
    # An interval joins the ones before it if it starts before all of them end.
    earlier_end = pl.col("to").cum_max().shift().over("deploymentID")
    group = (pl.col("from") > earlier_end).fill_null(True).cast(pl.Int64).cum_sum()
    return (
        clipped.with_columns(group=group)
        .group_by("deploymentID", "group", maintain_order=True)
        .agg(pl.col("from").min(), pl.col("to").max())
        .drop("group")
    )


def _length(start: str, end: str) -> pl.Expr:
    """Microseconds from one time to another."""
    import polars as pl

    return (pl.col(end) - pl.col(start)).dt.total_microseconds().cast(pl.Float64)


def _days(microseconds: pl.Expr) -> pl.Expr:
    """Days, null where there are none."""
    import polars as pl

    return pl.when(microseconds > 0).then(microseconds / _DAY)
