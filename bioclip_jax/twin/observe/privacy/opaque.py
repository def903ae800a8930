"""The tables of a shared package: opaque ids, and only columns that name no place, camera or person."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bioclip_jax.twin.observe.camtrap_dp import MEDIA_FOLDER

from .grid import coarsen_deployments
from .sites import opaque_numbers

if TYPE_CHECKING:
    import polars as pl

    from .selection import Selection

# All other columns are dropped: those of the standard that hold free text or identify, and those outside it.
SHARED = {
    "deployments": (
        "deploymentID", "locationID", "latitude", "longitude", "coordinateUncertainty", "deploymentStart",
        "deploymentEnd", "cameraModel", "cameraDelay", "cameraHeight", "cameraDepth", "cameraTilt",
        "detectionDistance", "timestampIssues", "baitUse", "deploymentTags",
    ),
    "media": (
        "mediaID", "deploymentID", "captureMethod", "timestamp", "filePath", "filePublic", "fileMediatype",
        "favorite",
    ),
    "observations": (
        "observationID", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd", "observationLevel",
        "observationType", "scientificName", "count", "lifeStage", "sex", "individualPositionRadius",
        "individualPositionAngle", "individualSpeed", "bboxX", "bboxY", "bboxWidth", "bboxHeight",
        "classificationMethod", "classifiedBy", "classificationTimestamp", "classificationProbability",
    ),
}  # fmt: skip
# Of a place; shared where its exact position is.
PRECISE = {
    "deployments": (
        "locationName", "cameraID", "cameraHeading", "featureType", "habitat", "deploymentGroups",
        "deploymentComments",
    ),
    "media": ("mediaComments",),
    "observations": ("behavior", "observationTags", "observationComments"),
}  # fmt: skip
_STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?"
_DOWN_TIME = re.compile(rf"downTime:{_STAMP}/{_STAMP}")
_MEDIA_TYPE = r"^(image|video|audio)/[a-z0-9.+-]+$"
_SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "video/mp4": ".mp4", "video/x-msvideo": ".avi"}


@dataclass(frozen=True)
class Opaque:
    """The tables with opaque ids, and `media_ids`: pairs of an original mediaID and its new `id`."""

    deployments: pl.DataFrame
    media: pl.DataFrame
    observations: pl.DataFrame
    media_ids: pl.DataFrame


def make_opaque(
    deployments: pl.DataFrame,
    rows: Selection,
    category: int,
    *,
    precise: bool,
    reveals: Callable[[str], bool],
) -> Opaque:
    """Renumber all ids, generalize positions, and drop what names a place, camera or person.

    Deployments and locations are numbered in a random order; media, events and observations by deployment and
    time, without gaps where rows were left out. Of deploymentTags the down-time stays, without which effort
    would be wrong; classifiedBy stays for machines. precise: positions and texts about places stay. reveals:
    True for a text that must not be shared.
    """
    import polars as pl

    deployment_numbers, locations = opaque_numbers(deployments)
    numbers = pl.DataFrame({"deploymentID": deployments["deploymentID"], "deployment": deployment_numbers})

    media = rows.media.join(numbers, on="deploymentID").sort("deployment", "time", maintain_order=True)
    media = media.with_columns(new_media=_ids("media", media.height))
    media_ids = media.select("mediaID", id="new_media")

    observations = rows.observations.join(numbers, on="deploymentID")
    events = (
        observations.filter(pl.col("eventID") != "")
        .group_by("deployment", "eventID", maintain_order=True)
        .agg(pl.col("start").min())
        .sort("deployment", "start", maintain_order=True)
    )
    events = events.select("deployment", "eventID", new_event=_ids("event", events.height))
    observations = (
        observations.join(events, on=("deployment", "eventID"), how="left")
        .join(media_ids.rename({"id": "new_media"}), on="mediaID", how="left")
        .sort("deployment", "start", "observationLevel", "new_media", maintain_order=True)
    )

    shared_deployments = deployments if precise else coarsen_deployments(deployments, category)
    shared_deployments = (
        shared_deployments.with_columns(
            deploymentID=_labels("deployment", deployment_numbers),
            locationID=_labels("location", locations),
            order=deployment_numbers,
        )
        .sort("order")
        .drop("order")
    )
    if "deploymentTags" in shared_deployments.columns:
        private_tags = shared_deployments["deploymentTags"].unique().to_list()
        # Effort needs the down-time, so it stays, whatever else a tag reveals.
        hidden = [tags for tags in private_tags if not precise or reveals(tags)]
        shared_deployments = shared_deployments.with_columns(
            pl.col("deploymentTags").replace(hidden, [_down_time(tags) for tags in hidden])
        )
    media = media.with_columns(
        pl.when(pl.col("fileMediatype").str.contains(_MEDIA_TYPE))
        .then("fileMediatype")
        .otherwise(pl.lit("image/jpeg"))
        .alias("fileMediatype")
    )
    suffixes = pl.col("fileMediatype").replace_strict(_SUFFIXES, default="")
    shared_media = media.with_columns(
        pl.concat_str(pl.lit(f"{MEDIA_FOLDER}/"), "new_media", suffixes).alias("filePath"),
        mediaID="new_media",
        deploymentID=_labels("deployment", media["deployment"], deployments.height),
        filePublic=pl.lit("false"),
    )
    shared_observations = observations.with_columns(
        observationID=_ids("observation", observations.height),
        deploymentID=_labels("deployment", observations["deployment"], deployments.height),
        mediaID=pl.col("new_media").fill_null(""),
        eventID=pl.col("new_event").fill_null(""),
    )
    if {"classifiedBy", "classificationMethod"} <= {*shared_observations.columns}:
        machine = pl.col("classificationMethod") == "machine"
        shared_observations = shared_observations.with_columns(
            pl.when(machine).then("classifiedBy").otherwise(pl.lit("")).alias("classifiedBy")
        )
    tables = {
        "deployments": shared_deployments, "media": shared_media, "observations": shared_observations,
    }  # fmt: skip
    for name, table in tables.items():
        columns = [
            column
            for column in table.columns
            if column in SHARED[name] or (precise and column in PRECISE[name])
        ]
        tables[name] = _without(table.select(columns), reveals, precise)
    return Opaque(**tables, media_ids=media_ids)


def _down_time(tags: str) -> str:
    """The down-times among the tags of a deployment."""
    return " | ".join(tag for tag in map(str.strip, tags.split("|")) if _DOWN_TIME.fullmatch(tag))


def _without(table: pl.DataFrame, reveals: Callable[[str], bool], precise: bool) -> pl.DataFrame:
    """Empty the cells of free-text columns that reveal something."""
    import polars as pl

    free: Collection[str] = {"cameraModel", "classifiedBy"}
    if precise:
        free = {*free, *(column for columns in PRECISE.values() for column in columns)}
    for column in [column for column in table.columns if column in free]:
        revealing = [text for text in table[column].unique().to_list() if text and reveals(text)]
        if revealing:
            table = table.with_columns(pl.col(column).replace(revealing, [""] * len(revealing)))
    return table


def _ids(kind: str, n: int) -> pl.Series:
    import polars as pl

    return _labels(kind, pl.int_range(1, n + 1, eager=True), n)


def _labels(kind: str, numbers: pl.Series, most: int | None = None) -> pl.Series:
    """Numbers as text of one length, so that they sort as numbers do: media-000001."""
    import polars as pl

    numbers = pl.Series(numbers, dtype=pl.Int64)
    width = max(3 if kind in ("deployment", "location") else 6, len(str(most or numbers.max() or 0)))
    return pl.select(pl.concat_str(pl.lit(f"{kind}-"), numbers.cast(pl.String).str.zfill(width))).to_series()
