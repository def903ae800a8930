"""The machine's class of each photograph and event, from the model's species and the detector's boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .camtrap_dp import HUMAN_NAME, PEOPLE
from .detections import Detections
from .labels import kind_of
from .predictions import Predictions

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Evidence:
    """Results of the model and the detector. unknown: an animal of less probability has no species."""

    predictions: Predictions | None = None
    detections: Detections | None = None
    unknown: float = 0.0


def classify_photos(rows: pl.Series, evidence: Evidence) -> pl.DataFrame:
    """Return the machine's class of each photograph ("row"), in their order.

    Columns: "row"; "kind", an observationType, null where the machine has not seen the photograph; "name", of
    an animal or human; "probability", null where there is none; "by_model", False if the detector decides;
    "boxes", the number of animals' boxes, null where there was no detector.

    A detector decides whether there is a person, a vehicle, an animal or nothing, and the classifier on the
    species; without a detector the best class of the classifier decides.
    """
    import polars as pl

    frame = rows.cast(pl.UInt32).to_frame("row")
    frame = frame.join(_best(evidence.predictions), "row", "left", maintain_order="left")
    frame = frame.join(_boxes(evidence.detections), "row", "left", maintain_order="left")
    boxes, kind = pl.col("boxes"), pl.col("best_kind")
    uncertain = (kind == "animal") & (pl.col("best") < evidence.unknown)
    unnamed = (boxes > 0) & (kind.is_null() | (kind == "blank"))
    detected = (
        pl.when(pl.col("person"))
        .then(pl.lit("human"))
        .when(pl.col("vehicle") & (boxes == 0))
        .then(pl.lit("vehicle"))
        .when(boxes == 0)
        .then(pl.lit("blank"))
        .when(unnamed)
        .then(pl.lit("animal"))
    )
    by_model = detected.is_null() & kind.is_not_null()
    frame = frame.with_columns(
        kind=detected.fill_null(pl.when(uncertain).then(pl.lit("unknown")).otherwise(kind)), by_model=by_model
    )
    is_animal = pl.col("kind") == "animal"
    return frame.select(
        "row",
        "kind",
        name=pl.when(is_animal & pl.col("by_model"))
        .then("best_name")
        .when(pl.col("kind") == "human")
        .then(pl.lit(HUMAN_NAME))
        .otherwise(pl.lit("")),
        probability=pl.when("by_model").then("best").otherwise("confidence"),
        by_model="by_model",
        boxes="boxes",
    )


def _best(predictions: Predictions | None) -> pl.DataFrame:
    """The most probable class of each photograph: "row", "best_name", "best", "best_kind"."""
    import polars as pl

    if predictions is None:
        schema = {"row": pl.UInt32, "best_name": pl.String, "best": pl.Float64, "best_kind": pl.String}
        return pl.DataFrame(schema=schema)
    # Of equal probabilities the first name, in any order of rows.
    best = predictions.frame.sort("row", -pl.col("probability"), "name").unique("row", keep="first")
    return best.select("row", best_name="name", best="probability", best_kind=kind_of(pl.col("name")))


def _boxes(detections: Detections | None) -> pl.DataFrame:
    """Detections by photograph: "row", "boxes" (of animals), "person", "vehicle", "confidence"."""
    import polars as pl

    if detections is None:
        schema = {"row": pl.UInt32, "boxes": pl.Int64, "confidence": pl.Float64}
        return pl.DataFrame(schema=schema | {"person": pl.Boolean, "vehicle": pl.Boolean})
    kind = pl.col("kind")
    by_row = detections.boxes.group_by("row").agg(
        boxes=(kind == "animal").sum().cast(pl.Int64),
        person=(kind == "person").any(),
        vehicle=(kind == "vehicle").any(),
        confidence=pl.col("confidence").max(),
    )
    return (
        detections.images.unique("row")
        .join(by_row, "row", "left")
        .with_columns(pl.col("boxes").fill_null(0), pl.col("person", "vehicle").fill_null(False))
    )


def classify_events(photos: pl.DataFrame, evidence: Evidence) -> pl.DataFrame:
    """Return the machine's classes of events, from those of classify_photos with "event" added.

    Columns: "event", "kind", "name", "probability", "by_model", "count"; rows sorted by event. The species of
    an event is the one of the highest mean probability over its photographs with animals, and the mean its
    probability; an event without any animal is blank. count: the most boxes of a photograph, 1 without boxes.
    People and vehicles have rows of their own.
    """
    import polars as pl

    with_animal = photos.filter(pl.col("kind").is_in(["animal", "unknown"]))
    animals = with_animal.group_by("event").agg(
        detected=pl.col("probability").filter(~pl.col("by_model")).max(),
        count=pl.col("boxes").max().fill_null(1).clip(1),
    )
    means = _mean_probabilities(with_animal, evidence.predictions)
    unknown = (pl.col("mean") < evidence.unknown) | (kind_of(pl.col("name")) == "unknown")
    by_model = pl.col("mean").is_not_null()
    animals = animals.join(means, "event", "left").select(
        "event",
        kind=pl.when(unknown.fill_null(False)).then(pl.lit("unknown")).otherwise(pl.lit("animal")),
        name=pl.when(unknown).then(pl.lit("")).otherwise(pl.col("name").fill_null("")),
        probability=pl.coalesce("mean", "detected"),
        by_model=by_model,
        count="count",
    )
    rest = photos.filter(pl.col("kind").is_in(["blank", *PEOPLE]))
    people = _others(rest.filter(pl.col("kind").is_in(PEOPLE)))
    seen = pl.concat([animals["event"], people["event"]])
    blank = _others(rest.filter((pl.col("kind") == "blank") & ~pl.col("event").is_in(seen.implode())))
    return pl.concat([animals, people, blank]).sort("event", "kind")


def _mean_probabilities(photos: pl.DataFrame, predictions: Predictions | None) -> pl.DataFrame:
    """The best species of events by mean probability: "event", "name", "mean"."""
    import polars as pl

    if predictions is None:
        return pl.DataFrame(schema={"event": pl.Int64, "name": pl.String, "mean": pl.Float64})
    rows = predictions.frame.join(photos.select("row", "event"), "row")
    counts = rows.group_by("event").agg(n=pl.col("row").n_unique())
    names = (
        rows["name"].unique().to_frame("name").filter(kind_of(pl.col("name")).is_in(["animal", "unknown"]))
    )
    sums = rows.join(names, "name", "semi").group_by("event", "name").agg(pl.col("probability").sum())
    best = sums.sort("event", -pl.col("probability"), "name").unique("event", keep="first")
    return best.join(counts, "event").select("event", "name", mean=pl.col("probability") / pl.col("n"))


def _others(photos: pl.DataFrame) -> pl.DataFrame:
    """Rows for each event and kind of photographs without animals."""
    import polars as pl

    return (
        photos.group_by("event", "kind")
        .agg(
            name=pl.col("name").first(),
            probability=pl.col("probability").max(),
            by_model=pl.col("by_model").any(),
            count=pl.lit(None, pl.Int64),
        )
        .select("event", "kind", "name", "probability", "by_model", "count")
    )
