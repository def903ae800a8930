"""Labels of events: the classes that people and machines gave each event of a package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioclip_jax.twin.observe import group_events, one_spelling
from bioclip_jax.twin.observe.camtrap_dp import Package, parse_times, with_all_fields

if TYPE_CHECKING:
    import polars as pl

# The class of events without an animal: false triggers, people, vehicles.
BLANK = "blank"


def event_labels(package: Package, gap_seconds: float = 120.0) -> pl.DataFrame:
    """Return a row for each class that each method gave an event.

    Columns: deploymentID, event, time (its start, UTC), method ("human" or "machine"), label (a species,
    BLANK, or "" for an animal without a name), count (individuals), probability (NaN where none is given).
    Deployments without event-level observations have their media-level ones grouped: by eventID, and where
    that is empty by gaps of more than `gap_seconds`. A machine gives one label to an event: of the animals
    that it sees in the event's images, the one with the largest summed probability. Observations without a
    method are human. Unknown and unclassified observations are dropped, and so are setups of the camera.
    """
    import polars as pl

    observations = _typed(package)
    level = pl.col("observationLevel")
    with_events = observations.filter(level == "event").get_column("deploymentID").unique().implode()
    event_level = observations.filter(level == "event").with_columns(
        event=pl.when(pl.col("eventID") == "").then("observationID").otherwise("eventID")
    )
    media_level = observations.filter((level == "media") & ~pl.col("deploymentID").is_in(with_events))
    keys = ("deploymentID", "event", "method", "label")
    by_event = event_level.group_by(keys, maintain_order=True).agg(
        pl.col("time").min(), pl.col("count").sum(), pl.col("probability").max(), weight=pl.lit(1.0)
    )
    by_media = (
        _grouped(media_level, gap_seconds)
        .group_by(*keys, "mediaID", maintain_order=True)
        .agg(pl.col("time").min(), pl.col("count").sum(), pl.col("probability").max())
        .group_by(keys, maintain_order=True)
        .agg(
            pl.col("time").min(),
            pl.col("count").max(),
            pl.col("probability").mean(),
            weight=pl.col("probability").fill_nan(1.0).sum(),
        )
    )
    return _one_machine_label(pl.concat([by_event, by_media])).drop("weight")


def verified_pairs(labels: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Return the human's and the machine's label of each event that both have labeled.

    Of an event with several species, the human label is the machine's if it is among them, else the first.
    """
    import polars as pl

    named = labels.filter(pl.col("label") != "")
    human = named.filter(pl.col("method") == "human").select("deploymentID", "event", human="label")
    machine = named.filter(pl.col("method") == "machine").select("deploymentID", "event", machine="label")
    pairs = (
        machine.join(human, on=["deploymentID", "event"], maintain_order="left_right")
        .with_columns(agrees=pl.col("human") == pl.col("machine"), blank=pl.col("human") == BLANK)
        .sort("agrees", "blank", descending=[True, False], maintain_order=True)
        .unique(["deploymentID", "event"], keep="first", maintain_order=True)
    )
    return pairs.get_column("human").to_list(), pairs.get_column("machine").to_list()


def _typed(package: Package) -> pl.DataFrame:
    """Observations with the columns that labels need, parsed."""
    import polars as pl

    kind = pl.col("observationType")
    observations = with_all_fields(package.observations, "observations")
    observations = observations.with_columns(time=parse_times(observations["eventStart"], "observations"))
    # People write authors and small letters, machines do not; such names would look like errors of both.
    spelling = one_spelling(observations["scientificName"])
    observations = observations.with_columns(pl.col("scientificName").replace(spelling))
    return observations.filter(
        ~kind.is_in(["unknown", "unclassified"]), pl.col("cameraSetupType") == ""
    ).select(
        "deploymentID",
        "observationLevel",
        "observationID",
        "eventID",
        "mediaID",
        "time",
        method=pl.when(pl.col("classificationMethod") == "machine")
        .then(pl.lit("machine"))
        .otherwise(pl.lit("human")),
        label=pl.when(kind == "animal").then("scientificName").otherwise(pl.lit(BLANK)),
        count=pl.col("count").cast(pl.Int64, strict=False).fill_null(1),
        probability=pl.col("classificationProbability")
        .cast(pl.Float64, strict=False)
        .fill_null(float("nan")),
    )


def _grouped(media_level: pl.DataFrame, gap_seconds: float) -> pl.DataFrame:
    """Add the column event: the observation's own, or a number by gaps in time."""
    import polars as pl

    images = media_level.filter(pl.col("eventID") == "").select("deploymentID", "mediaID", "time").unique()
    images = images.sort("deploymentID", "time")
    images = images.with_columns(number=group_events(images, gap_seconds))
    images = images.unique(["deploymentID", "mediaID"], keep="first")
    return media_level.join(
        images.select("deploymentID", "mediaID", "number"), on=["deploymentID", "mediaID"], how="left"
    ).with_columns(
        event=pl.when(pl.col("eventID") == "")
        .then(pl.format("gap-{}", pl.col("number")))
        .otherwise("eventID")
    )


def _one_machine_label(labels: pl.DataFrame) -> pl.DataFrame:
    """Keep a machine's best label of each event; blank only if it saw no animal in any image."""
    import polars as pl

    event = ["deploymentID", "event"]
    machine = (
        labels.filter(pl.col("method") == "machine")
        .sort(pl.col("label") == BLANK, -pl.col("weight"), maintain_order=True)
        .unique(event, keep="first", maintain_order=True)
    )
    human = labels.filter(pl.col("method") == "human")
    with_animal = human.filter(pl.col("label") != BLANK).select(event).unique()
    blank = human.filter(pl.col("label") == BLANK).join(with_animal, on=event, how="anti")
    return pl.concat([human.filter(pl.col("label") != BLANK), blank, machine])
