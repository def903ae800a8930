"""Events: photographs of one deployment without a long pause between them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from bioclip_jax.errors import UserError

if TYPE_CHECKING:
    import polars as pl

GAP_SECONDS = 120.0


def group_events(frame: pl.DataFrame, gap_seconds: float = GAP_SECONDS) -> pl.Series:
    """Return the event number of each row, of columns "deploymentID" and "time" (Datetime, no nulls).

    An event ends when the next image of its deployment is more than `gap_seconds` later. Numbers count from 0
    through all deployments, ordered by deploymentID and time; they do not depend on the order of the rows.
    Raises UserError for a negative gap.
    """
    import polars as pl

    if not gap_seconds >= 0:
        raise UserError(f"the gap between events is {gap_seconds} s; it must be at least 0")
    gap = pl.duration(microseconds=round(gap_seconds * 1e6))
    new_deployment = pl.col("deploymentID") != pl.col("deploymentID").shift()
    starts = (new_deployment | (pl.col("time").diff() > gap)).fill_null(True)
    return (
        frame.select("deploymentID", "time")
        .with_row_index("row")
        .sort("deploymentID", "time")
        .with_columns(event=starts.cum_sum().cast(pl.Int64) - 1)
        .sort("row")["event"]
    )


def add_events(photos: pl.DataFrame, gap_seconds: float) -> pl.DataFrame:
    """Add "event" (number), "eventID", "eventStart" and "eventEnd" (as timestamp) to photographs."""
    import polars as pl

    photos = photos.with_columns(event=group_events(photos, gap_seconds))
    events = (
        photos.sort("event", "time")
        .group_by("event", maintain_order=True)
        .agg(
            pl.col("deploymentID").first(),
            eventStart=pl.col("timestamp").first(),
            eventEnd=pl.col("timestamp").last(),
            first=pl.col("time").first().dt.timestamp("us"),
        )
    )
    keys = events.select(pl.format("{} {}", "deploymentID", "first")).to_series()
    events = events.select("event", "eventStart", "eventEnd", eventID=stable_ids(keys))
    return photos.join(events, "event", "left", maintain_order="left")


def stable_ids(texts: pl.Series) -> pl.Series:
    """Return 16 hexadecimal digits for each text: the same in every run, and silent about the text."""
    import polars as pl

    ids = [hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in texts.to_list()]
    return pl.Series(texts.name, ids, dtype=pl.String)
