"""Photographs of people and vehicles: found, and dropped or kept as not public."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .camtrap_dp import PEOPLE
from .classify import Evidence, classify_photos
from .events import group_events
from .labels import Labels

if TYPE_CHECKING:
    import polars as pl


def find_people(
    photos: pl.DataFrame, evidence: Evidence, labels: Labels | None, gap_seconds: float
) -> pl.Series:
    """Return the rows of photographs with a person or vehicle: a box, the best prediction, or a label.

    Photographs that seem empty count too if they are in an event with a person or vehicle, since a detector
    overlooks some.
    """
    import polars as pl

    rows = photos["row"]
    people = [_classified(rows, evidence)]
    if evidence.detections is not None:
        # The detector may have overlooked a person that the model names.
        people.append(_classified(rows, Evidence(evidence.predictions)))
        boxes = evidence.detections.boxes
        people.append(boxes.filter(pl.col("kind") != "animal")["row"])
    if labels is not None:
        people.append(labels.frame.filter(pl.col("kind").is_in(PEOPLE))["row"].drop_nulls())
    found = pl.concat(people).unique()
    return pl.concat([found, _overlooked(photos, found, evidence, gap_seconds)])


def _classified(rows: pl.Series, evidence: Evidence) -> pl.Series:
    import polars as pl

    return classify_photos(rows, evidence).filter(pl.col("kind").is_in(PEOPLE))["row"]


def _overlooked(photos: pl.DataFrame, people: pl.Series, evidence: Evidence, gap_seconds: float) -> pl.Series:
    """Rows of seemingly empty photographs in the events of people."""
    import polars as pl

    rows = photos.select("row", event=group_events(photos, gap_seconds))
    events = rows.filter(pl.col("row").is_in(people.implode()))["event"]
    near = rows.filter(pl.col("event").is_in(events.implode()))["row"]
    empty = classify_photos(near, evidence).filter(pl.col("kind") == "blank")["row"]
    return empty.filter(~empty.is_in(people.implode()))


def people_events(labels: Labels) -> pl.Series:
    """Return the eventIDs that a person labeled as events of people."""
    import polars as pl

    return labels.frame.filter(pl.col("kind").is_in(PEOPLE) & (pl.col("eventID") != ""))["eventID"].unique()


def hide_photos(photos: pl.DataFrame, people: pl.Expr, how: Literal["drop", "keep"]) -> pl.DataFrame:
    """Drop the photographs of people, or keep them as not public."""
    import polars as pl

    if how == "drop":
        return photos.filter(~people)
    public = pl.when(people).then(pl.lit("false")).otherwise("filePublic")
    return photos.with_columns(filePublic=public)
