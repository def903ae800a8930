"""Events: photographs of one deployment without a long pause between them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from bioclip_jax.predict.events import event_numbers

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

    places = frame["deploymentID"].rank("dense").cast(pl.Int64).to_numpy()
    times = frame["time"].dt.timestamp("us").to_numpy()
    return pl.Series("event", event_numbers(places, times, gap_seconds), dtype=pl.Int64)


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
