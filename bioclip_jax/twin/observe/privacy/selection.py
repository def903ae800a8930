"""Observations and media that may be shared: none of people, of vehicles, of camera set-up or withheld."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bioclip_jax.twin.observe.camtrap_dp import HUMAN_NAME, PEOPLE, parse_times

if TYPE_CHECKING:
    import polars as pl

    from bioclip_jax.twin.observe.camtrap_dp import Package


@dataclass(frozen=True)
class Selection:
    """Rows that may be shared, and how many observations of people and of withheld taxa were left out.

    Columns in addition to those of the package: `time` in media and `start` in observations, in UTC.
    classified: mediaIDs of images that, or whose event, someone or a model has found to show an animal or
    nothing; any other may show people.
    """

    media: pl.DataFrame
    observations: pl.DataFrame
    classified: pl.Series
    people: int
    withheld: int


def select_rows(package: Package, withheld: Collection[str]) -> Selection:
    """Leave out observations of people, vehicles, set-up and `withheld` names, and all media of their events.

    An event's other images may show the same animal or person unnamed, so they go too: those whose
    observations have the event's ID, and those taken during it at the same deployment. Other species of such
    an event stay at the event's level.
    """
    import polars as pl

    media = package.media.with_columns(time=parse_times(package.media["timestamp"], "media"))
    observations = package.observations.with_columns(
        start=parse_times(package.observations["eventStart"], "observations"),
        end=parse_times(package.observations["eventEnd"], "observations"),
    )
    for name in ("mediaID", "eventID", "scientificName", "cameraSetupType"):
        if name not in observations.columns:
            observations = observations.with_columns(pl.lit("").alias(name))
    hidden = pl.col("scientificName").is_in(list(withheld))
    people = (
        pl.col("observationType").is_in(PEOPLE)
        | (pl.col("scientificName").str.to_lowercase() == HUMAN_NAME.lower())
        | (pl.col("cameraSetupType") != "")
    )
    gone = observations.filter(hidden | people)
    media_of_events = pl.concat([_by_number(observations, gone), _by_time(media, gone), gone["mediaID"]])
    media = media.filter(~pl.col("mediaID").is_in(media_of_events.unique().implode()))
    kept = observations.filter(
        ~(hidden | people) & ((pl.col("mediaID") == "") | pl.col("mediaID").is_in(media["mediaID"].implode()))
    )
    n_withheld = gone.filter(hidden).height
    known = kept.filter(pl.col("observationType").is_in(["animal", "blank"]))
    by_event = _by_time(media, known.filter(pl.col("observationLevel") == "event"))
    classified = pl.concat([known["mediaID"], by_event]).unique()
    return Selection(media, kept.drop("end"), classified, gone.height - n_withheld, n_withheld)


def _by_number(observations: pl.DataFrame, gone: pl.DataFrame) -> pl.Series:
    """The media with an observation in one of the events."""
    import polars as pl

    events = gone.filter(pl.col("eventID") != "").select("deploymentID", "eventID").unique()
    return observations.join(events, on=("deploymentID", "eventID"), how="semi")["mediaID"]


def _by_time(media: pl.DataFrame, gone: pl.DataFrame) -> pl.Series:
    """The media that were taken at the deployment of one of the events, between its start and end."""
    import polars as pl

    # Events of a deployment may overlap: of those that have begun, the one that ends last decides.
    events = (
        gone.select("deploymentID", "start", "end")
        .sort("start")
        .with_columns(pl.col("end").cum_max().over("deploymentID"))
    )
    begun = (
        media.select("mediaID", "deploymentID", "time")
        .sort("time")
        .join_asof(events, left_on="time", right_on="start", by="deploymentID", check_sortedness=False)
    )
    return begun.filter(pl.col("time") <= pl.col("end"))["mediaID"]
