"""Photographs of camera traps and a table of deployments to a Camtrap DP package (`twin observe`)."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .assign import Assigned, assign
from .camtrap_dp import (
    FIELDS,
    MEDIA_FOLDER,
    PROBABILITIES_FILE,
    RELIABILITY_FILE,
    Package,
    check_package,
    new_descriptor,
    read_package,
    write_package,
)
from .classify import Evidence, classify_photos
from .effort import effort_days
from .events import add_events
from .exif import read_exif_times
from .inputs import Inputs, read_inputs
from .labels import Labels, kind_of, spell_as_machine
from .observations import Classifiers, make_observations
from .options import ObserveOptions, PathLike
from .people import find_people, hide_photos, people_events
from .photos import Photos
from .predictions import LEAST_PROBABILITY, read_predictions
from .work_folder import WorkFolder, work_folder

if TYPE_CHECKING:
    import polars as pl

# Predicts the photographs of a table (column filepath) into a Parquet file, resumably, and returns the name
# and version of the model.
Predict = Callable[[Path, Path], str]


def observe_photos(
    photos: PathLike,
    deployments: PathLike,
    output: PathLike,
    options: ObserveOptions | None = None,
    *,
    predict: Predict | None = None,
) -> dict[str, Any]:
    """Make a Camtrap DP of a survey: photographs to media, bursts to events, predictions to observations.

    photos: as find_photos. deployments: as read_deployments. output: the package, a new folder. predict:
    names species instead of options.predictions.

    Returns {"deployments", "media", "events", "observations", "people_dropped", "outside_deployments",
    "without_time", "unmatched" (rows of options' files that are about other photographs), "effort_days",
    "species" (the machine's and people's events by name), "output", and "share" if requested}. What can be
    checked is checked before a photograph is opened; the same call resumes an interrupted run.
    Raises UserError for inputs that cannot be used, and if no photograph has a place in a deployment.
    """
    options = options or ObserveOptions()
    output = Path(output)
    inputs = read_inputs(photos, deployments, output, options, predicts=predict is not None)
    _check_deployments(inputs)
    with work_folder(output) as work:
        placed = assign(_with_times(inputs, work), inputs.candidates, inputs.deployments)
        if predict is not None:
            inputs = _predicted(inputs, placed, work, predict)
        package, people = _package(inputs, placed, options)
        _write(package, inputs, work, options)
        work.replace(output)
    result = _summary(package, placed, people, inputs) | {"output": str(output)}
    if options.share is not None:
        from .privacy import share_package

        result["share"] = share_package(
            read_package(output),
            Path(options.share),
            inputs.sensitivity,
            precise=options.precise,
            copy_media=options.share_photographs,
        )
    return result


def _with_times(inputs: Inputs, work: WorkFolder) -> Photos:
    """Read the times of photographs that may be of a deployment and have none in the table."""
    import polars as pl

    frame = inputs.photos.frame.with_row_index("row")
    needed = frame.filter(
        (pl.col("timestamp") == "") & pl.col("row").is_in(inputs.candidates["row"].implode())
    ).select("row", "path")
    if not needed.height:
        return inputs.photos
    times = needed.select(
        "row", time=pl.Series(read_exif_times(needed["path"].to_list(), work.exif), dtype=pl.String)
    )
    frame = frame.join(times, "row", "left", maintain_order="left")
    frame = frame.with_columns(timestamp=pl.col("time").fill_null(pl.col("timestamp"))).drop("time", "row")
    return replace(inputs.photos, frame=frame)


def _predicted(inputs: Inputs, placed: Assigned, work: WorkFolder, predict: Predict) -> Inputs:
    """Name the species of all photographs but those that the detector found empty or with people."""
    import polars as pl

    classes = classify_photos(placed.frame["row"], Evidence(detections=inputs.detections))
    wanted = classes.filter(pl.col("kind").is_null() | (pl.col("kind") == "animal"))["row"]
    paths = placed.frame.filter(pl.col("row").is_in(wanted.implode())).select(filepath="path")
    if not paths.height:
        return inputs
    paths.write_parquet(work.photos)
    model = predict(work.photos, work.predictions)
    return replace(inputs, predictions=read_predictions(work.predictions, inputs.photos.frame), model=model)


def _package(inputs: Inputs, placed: Assigned, options: ObserveOptions) -> tuple[Package, int]:
    """Assemble the package; return it and the number of photographs of people that were dropped."""
    import polars as pl

    evidence = Evidence(inputs.predictions, inputs.detections, options.unknown or 0.0)
    labels = inputs.labels
    if labels is not None and inputs.predictions is not None:
        labels = spell_as_machine(labels, inputs.predictions.frame["name"])
    people = find_people(placed.frame, evidence, labels, options.gap)
    frame = hide_photos(placed.frame, pl.col("row").is_in(people.implode()), options.people)
    frame = add_events(frame, options.gap)
    if labels is not None:
        _report_unknown_events(labels, frame["eventID"])
        events = people_events(labels)
        frame = hide_photos(frame, pl.col("eventID").is_in(events.implode()), options.people)
    dropped = placed.frame.height - frame.height
    names = Classifiers(inputs.model, inputs.detections.detector if inputs.detections is not None else "")
    observations = make_observations(frame, evidence, labels, names)
    media = frame.select(field.name for field in FIELDS["media"])
    package = _described(inputs, media, observations, dropped)
    check_package(package)
    return package, dropped


def _report_unknown_events(labels: Labels, events: pl.Series) -> None:
    """Report labels of events that do not exist, as of a package that was made with another gap."""
    import polars as pl

    named = labels.frame.filter(pl.col("eventID") != "")["eventID"]
    unknown = named.filter(~named.is_in(events.unique().implode()))
    if unknown.len():
        print(
            f"note: {unknown.len():,} labels are about no event of the survey (first: {unknown[0]}); events "
            "have other ids if the photographs or --gap change",
            file=sys.stderr,
        )


def _described(inputs: Inputs, media: pl.DataFrame, observations: pl.DataFrame, dropped: int) -> Package:
    """Return the package with its descriptor."""
    deployments = inputs.deployments.table
    metadata = dict(inputs.project)
    if dropped:
        note = f"Photographs of people and vehicles left out: {dropped:,}."
        metadata["description"] = " ".join(filter(None, (metadata.get("description"), note)))
    descriptor = new_descriptor(
        deployments,
        media,
        observations,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        metadata=metadata,
        taxa=inputs.predictions.taxa if inputs.predictions is not None else {},
    )
    return Package(descriptor, deployments, media, observations)


def _check_deployments(inputs: Inputs) -> None:
    """Raise UserError for a table of deployments or a project that the standard does not allow."""
    import polars as pl

    media, observations = (
        pl.DataFrame(schema={field.name: pl.String for field in FIELDS[table]})
        for table in ("media", "observations")
    )
    check_package(_described(inputs, media, observations, 0))


def _write(package: Package, inputs: Inputs, work: WorkFolder, options: ObserveOptions) -> None:
    """Write the package into the work folder, with the files beside its tables."""
    import polars as pl

    write_package(package, work.package)
    if inputs.predictions is not None:
        media = package.media.select("mediaID", "filePath").join(
            inputs.photos.frame.with_row_index("row").select("row", "filePath"),
            "filePath",
            maintain_order="left",
        )
        names = (
            inputs.predictions.frame["name"]
            .unique()
            .to_frame("name")
            .filter(kind_of(pl.col("name")) == "animal")
        )
        rows = inputs.predictions.frame.filter(pl.col("probability") >= LEAST_PROBABILITY).join(
            names, "name", "semi"
        )
        media.select("mediaID", "row").join(rows, "row").sort("row", -pl.col("probability"), "name").select(
            "mediaID", scientificName="name", probability="probability"
        ).write_parquet(work.package / PROBABILITIES_FILE)
    if options.reliability is not None:
        shutil.copyfile(options.reliability, work.package / RELIABILITY_FILE)
    if inputs.photos.root is not None and package.media.height:
        try:
            # Through a package's own link it would point at itself once that package is replaced.
            os.symlink(
                os.path.realpath(inputs.photos.root), work.package / MEDIA_FOLDER, target_is_directory=True
            )
        except OSError as error:
            print(
                f"note: the package cannot link to its photographs ({error.strerror}); put them into its "
                f"folder {MEDIA_FOLDER}",
                file=sys.stderr,
            )


def _summary(package: Package, placed: Assigned, dropped: int, inputs: Inputs) -> dict[str, Any]:
    """Return the counts of a package."""
    import polars as pl

    events = package.observations.filter(pl.col("observationLevel") == "event")
    animals = events.filter((pl.col("observationType") == "animal") & (pl.col("scientificName") != ""))
    names = animals.unique(["eventID", "scientificName"])["scientificName"].value_counts(sort=True)
    species = sorted(names.rows(), key=lambda row: (-row[1], row[0]))
    return {
        "deployments": package.deployments.height,
        "media": package.media.height,
        "events": events["eventID"].n_unique(),
        "observations": package.observations.height,
        "people_dropped": dropped,
        "outside_deployments": placed.outside_deployments,
        "without_time": placed.without_time,
        "unmatched": inputs.unmatched,
        "effort_days": round(float(effort_days(package.deployments)["effort_days"].sum()), 3),
        "species": dict(species),
    }
