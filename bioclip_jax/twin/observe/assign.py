"""Photographs to deployments and moments: by table, folder and time."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bioclip_jax.errors import UserError

from .clock import STANDARD_TIME, parse_clock, time_text, to_instant
from .deployments import Deployments
from .photos import Photos

if TYPE_CHECKING:
    import polars as pl

# Photographs without a folder times deployments; of more than so many, time alone could not decide anyway.
_MOST_PAIRS = 10_000_000


@dataclass(frozen=True)
class Assigned:
    """Photographs of deployments, sorted by deployment and time.

    frame: that of Photos, with its "row", deploymentID, timestamp, and "time" (UTC) of the corrected clock.
    outside_deployments: photographs of no deployment, or taken outside the time of theirs. without_time:
    photographs that have no time.
    """

    frame: pl.DataFrame
    outside_deployments: int
    without_time: int


def candidate_deployments(photos: Photos, deployments: Deployments) -> pl.DataFrame:
    """Return pairs "row" (of photos) and "deploymentID" of the deployments that a photograph may be of.

    That is the deployment in its table. A photograph without one is of those with the name of its folder, or
    of the nearest folder above. In no folder at all, it may be of any, and its time decides.
    Raises UserError if no photograph is of any deployment.
    """
    import polars as pl

    rows = photos.frame.select("deploymentID", "folder").with_row_index("row")
    known = deployments.clocks["deploymentID"]
    named = rows.filter(pl.col("deploymentID") != "")
    by_table = named.filter(pl.col("deploymentID").is_in(known.implode())).select("row", "deploymentID")
    unnamed = rows.filter(pl.col("deploymentID") == "").select("row", "folder")
    any_fits = unnamed.filter(pl.col("folder") == "").height * len(known) <= _MOST_PAIRS
    pairs = []
    for folder in unnamed["folder"].unique(maintain_order=True).to_list():
        names = _of_folder(folder, deployments.folders)
        if not folder and not names and any_fits:
            names = known.to_list()
        pairs += [(folder, name) for name in names]
    folders = pl.DataFrame(pairs, {"folder": pl.String, "deploymentID": pl.String}, orient="row")
    by_folder = unnamed.join(folders, "folder").select("row", "deploymentID")
    candidates = pl.concat([by_table, by_folder])
    if not candidates.height:
        row = photos.frame.row(0, named=True)
        what = (
            f"the deployment {row['deploymentID']!r}"
            if row["deploymentID"]
            else f"the folder {row['folder']!r}"
        )
        raise UserError(
            f"no photograph of {photos.source} is of a deployment of the table: the first is of {what}, and "
            f"the first deployment is {known[0]!r}; put the names of folders into the column folder"
        )
    return candidates


def _of_folder(folder: str, folders: dict[str, list[str]]) -> list[str]:
    """Deployments whose folder is part of a path: the innermost, and of those the longest."""
    parts = folder.split("/") if folder else []
    for end in range(len(parts), 0, -1):
        for start in range(end):
            if names := folders.get("/".join(parts[start:end])):
                return names
    return folders.get("", [])


def assign(photos: Photos, candidates: pl.DataFrame, deployments: Deployments) -> Assigned:
    """Place photographs, whose timestamp is known where there is any, in deployments and on the true clock.

    candidates: of candidate_deployments; of several, the one that ran at the photograph's time is meant.
    Photographs that have no place are counted, and reported on standard error.
    Raises UserError for a malformed timestamp and if no photograph has a place.
    """
    import polars as pl

    frame = photos.frame
    times = parse_clock(frame["timestamp"], photos.source).with_columns(timestamp=frame["timestamp"])
    has_time = times["instant"].is_not_null() | times["local"].is_not_null()
    placed = (
        candidates.join(deployments.clocks, "deploymentID")
        .join(times.with_row_index("row").filter(has_time), "row")
        .with_columns(
            time=pl.coalesce(
                "instant", to_instant(pl.col("local"), pl.col("utc_offset"), deployments.timezone)
            )
            + pl.col("clock_offset")
        )
    )
    # Starts and ends are in whole seconds.
    second = pl.col("time").dt.truncate("1s")
    inside = placed.filter(second.is_between("start", "end"))
    twice = inside["row"].is_duplicated()
    inside = inside.filter(~twice)
    unchanged = (pl.col("clock_offset") == pl.duration()) & pl.col("timestamp").str.contains(STANDARD_TIME)
    written = time_text(pl.col("time"), pl.col("utc_offset"), deployments.timezone)
    inside = inside.select(
        "row",
        "deploymentID",
        "time",
        timestamp=pl.when(unchanged).then("timestamp").otherwise(written),
    )
    without_time = _report(photos, candidates, placed, has_time, inside["row"])
    result = (
        frame.drop("deploymentID", "timestamp")
        .with_row_index("row")
        .join(inside, "row")
        .sort("deploymentID", "time", "filePath")
    )
    return Assigned(result, frame.height - result.height - without_time, without_time)


def _report(
    photos: Photos, candidates: pl.DataFrame, placed: pl.DataFrame, has_time: pl.Series, used: pl.Series
) -> int:
    """Report photographs without a place, with an example and advice; return the number without a time.

    Raises UserError if no other is left.
    """
    import polars as pl

    frame = photos.frame.with_row_index("row")
    problems = []
    is_candidate = pl.col("row").is_in(candidates["row"].implode())
    timeless = frame.filter(~has_time & is_candidate)
    if timeless.height:
        problems.append(
            f"{timeless.height:,} photographs have no time in their EXIF (first: {timeless['path'][0]}); "
            "give it in a table with the columns filepath and timestamp"
        )
    stray = frame.filter(~is_candidate)
    if stray.height:
        problems.append(
            f"{stray.height:,} photographs are of no deployment (first: {stray['path'][0]}); name their "
            "deploymentID or folder in the table of deployments"
        )
    outside = placed.filter(~pl.col("row").is_in(used.implode()))
    if outside.height:
        first = outside.filter(pl.col("row") == pl.col("row").min()).row(0, named=True)
        path = photos.frame["path"][first["row"]]
        count = outside["row"].n_unique()
        if first["start"] <= first["time"].replace(microsecond=0) <= first["end"]:
            problems.append(
                f"{count:,} photographs may be of several deployments, or were taken outside their "
                f"deployment's time (first: {path}); give each deployment a folder, or a table with "
                "deploymentID"
            )
        else:
            problems.append(
                f"{count:,} photographs were taken outside their deployment's time (first: {path} at "
                f"{first['time']:%Y-%m-%dT%H:%M:%SZ}; {first['deploymentID']} ran from "
                f"{first['start']:%Y-%m-%dT%H:%M:%SZ} to {first['end']:%Y-%m-%dT%H:%M:%SZ}); correct a wrong "
                "clock with clockOffset"
            )
    if not used.len():
        raise UserError(f"no photograph can be used: {'. '.join(problems)}")
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
    return timeless.height
