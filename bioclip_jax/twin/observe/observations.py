"""The table of observations: of media and events, by the machine and by people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .camtrap_dp import FIELDS
from .classify import Evidence, classify_events, classify_photos
from .labels import Labels

if TYPE_CHECKING:
    import polars as pl

# Decimals of probabilities.
_DECIMALS = 4


@dataclass(frozen=True)
class Classifiers:
    """Names for classifiedBy: of the model and of the detector."""

    model: str = ""
    detector: str = ""


def make_observations(
    photos: pl.DataFrame, evidence: Evidence, labels: Labels | None, names: Classifiers
) -> pl.DataFrame:
    """Return the observations of photographs of add_events: first of events, then of media.

    The machine's and people's stand side by side; a photograph or event that neither has seen is
    unclassified. All columns are those of Camtrap DP, as text.
    """
    import polars as pl

    columns = ("row", "mediaID", "deploymentID", "event", "eventID", "timestamp", "eventStart", "eventEnd")
    photos = photos.select(*columns)
    classes = classify_photos(photos["row"], evidence)
    media = pl.concat([photos, classes.drop("row")], how="horizontal")
    events = photos.select("event", "eventID", "deploymentID", "eventStart", "eventEnd").unique(
        "event", keep="first", maintain_order=True
    )
    event_classes = events.join(classify_events(media, evidence), "event")
    seen = media.filter(pl.col("kind").is_not_null())
    human_media = human_events = None
    if labels is not None:
        human_media = labels.frame.drop("eventID").drop_nulls("row").join(photos, "row")
        human_events = _label_events(labels, human_media, events)
    pieces = [
        _machine_rows(event_classes, "event", names),
        *([_human_rows(human_events, "event")] if labels is not None else []),
        _unclassified(events, "event", [event_classes, human_events]),
        _machine_rows(_with_boxes(seen, evidence), "media", names),
        *([_human_rows(human_media, "media")] if labels is not None else []),
        _unclassified(photos, "media", [seen, human_media]),
    ]
    fields = [field.name for field in FIELDS["observations"]]
    return pl.concat(
        [
            piece.select(name if name in piece.columns else pl.lit("").alias(name) for name in fields)
            for piece in pieces
        ]
    )


def _with_boxes(photos: pl.DataFrame, evidence: Evidence) -> pl.DataFrame:
    """Give photographs with animals one row per box of an animal, and one animal to all others."""
    import polars as pl

    is_animal = pl.col("kind").is_in(["animal", "unknown"])
    count = pl.when(is_animal).then(pl.lit(1, pl.Int64)).alias("count")
    if evidence.detections is None:
        return photos.with_columns(count)
    boxes = evidence.detections.boxes.filter(pl.col("kind") == "animal").select(
        "row", "confidence", bboxX="x", bboxY="y", bboxWidth="width", bboxHeight="height"
    )
    sides = pl.col("bboxX", "bboxY", "bboxWidth", "bboxHeight")
    return (
        photos.filter(is_animal)
        .join(boxes, "row", "left", maintain_order="left_right")
        .with_columns(
            # Without a species the probability is that of the box.
            probability=pl.when("by_model")
            .then("probability")
            .otherwise(pl.coalesce("confidence", "probability"))
        )
        .drop("confidence")
        .pipe(lambda animals: pl.concat([animals, photos.filter(~is_animal)], how="diagonal"))
        .with_columns(count, sides.cast(pl.String).fill_null(""))
        .sort("row", maintain_order=True)
    )


def _machine_rows(classes: pl.DataFrame, level: str, names: Classifiers) -> pl.DataFrame:
    """Format classes of the machine as observations."""
    import polars as pl

    probability = pl.col("probability").round(_DECIMALS).cast(pl.String).fill_null("")
    return _identified(classes, level, "m").with_columns(
        observationType="kind",
        scientificName="name",
        count=pl.col("count").cast(pl.String).fill_null(""),
        classificationMethod=pl.lit("machine"),
        classifiedBy=pl.when("by_model").then(pl.lit(names.model)).otherwise(pl.lit(names.detector)),
        classificationProbability=pl.when(pl.col("kind") == "blank").then(pl.lit("")).otherwise(probability),
    )


def _human_rows(labels: pl.DataFrame, level: str) -> pl.DataFrame:
    """Format labels of people as observations."""
    import polars as pl

    return _identified(labels, level, "h").with_columns(
        observationType="kind",
        scientificName="name",
        count=pl.col("count").cast(pl.String).fill_null(""),
        classificationMethod=pl.lit("human"),
    )


def _unclassified(photos: pl.DataFrame, level: str, classified: list[pl.DataFrame | None]) -> pl.DataFrame:
    """Observations of media or events that neither the machine nor a person has seen."""
    import polars as pl

    key = "mediaID" if level == "media" else "eventID"
    for frame in classified:
        if frame is not None:
            photos = photos.join(frame, key, "anti")
    return _identified(photos, level, "u").with_columns(observationType=pl.lit("unclassified"))


def _identified(rows: pl.DataFrame, level: str, mark: str) -> pl.DataFrame:
    """Add ids, numbered within a medium or event, the level and the time."""
    import polars as pl

    key = "mediaID" if level == "media" else "eventID"
    number = pl.int_range(1, pl.len() + 1).over(key)
    times = {} if level == "event" else {"eventStart": "timestamp", "eventEnd": "timestamp"}
    return rows.with_columns(
        observationID=pl.format(f"{{}}_{mark}{{}}", key, number), observationLevel=pl.lit(level), **times
    )


def _label_events(labels: Labels, media: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Labels of events: those given to them, and those of their photographs.

    Of equal labels in several photographs the largest number counts; an event is blank if all are.
    """
    import polars as pl

    same = ("kind", "name", "lifeStage", "sex")
    columns = ("event", "row", *same, "count", "classifiedBy")
    given = labels.frame.filter(pl.col("row").is_null()).join(events.select("event", "eventID"), "eventID")
    merged = (
        pl.concat([given.select(columns), media.select(columns)])
        .group_by("event", "row", *same, maintain_order=True)
        .agg(pl.col("classifiedBy").unique(maintain_order=True), count=_sum(pl.col("count")))
        .group_by("event", *same, maintain_order=True)
        .agg(
            pl.col("classifiedBy")
            .explode()
            .unique(maintain_order=True)
            .replace("", None)
            .drop_nulls()
            .str.join(", "),
            count=pl.col("count").max(),
        )
    )
    is_blank = pl.col("kind") == "blank"
    merged = merged.filter(~is_blank | is_blank.all().over("event"))
    return merged.join(events, "event", maintain_order="left")


def _sum(column: pl.Expr) -> pl.Expr:
    """Sum, null if no value is given."""
    import polars as pl

    return pl.when(column.count() > 0).then(column.sum())
