"""A small package whose effort, events and labels are counted by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from bioclip_jax.twin.observe.camtrap_dp import Package

OBSERVATION = {
    "mediaID": "",
    "eventID": "",
    "observationLevel": "event",
    "observationType": "animal",
    "scientificName": "",
    "count": "1",
    "cameraSetupType": "",
    "classificationMethod": "machine",
    "classificationProbability": "",
}


def made_package(observations: Sequence[Mapping[str, str]], **deployments: Sequence[str]) -> Package:
    """A package of three deployments at two locations, 2.5, 2 and 1 days long, and the given observations.

    a1 and a2 are at location A, b1 at B; b1 was down for half a day. The local time is UTC+2.
    """
    table = {
        "deploymentID": ["a1", "b1", "a2"],
        "locationID": ["A", "B", "A"],
        "latitude": ["50.5", "50.6", "50.5"],
        "longitude": ["4.5", "4.6", "4.5"],
        "deploymentStart": [
            "2025-06-01T12:00:00+02:00",
            "2025-06-01T00:00:00+02:00",
            "2025-06-10T00:00:00+02:00",
        ],
        "deploymentEnd": [
            "2025-06-04T00:00:00+02:00",
            "2025-06-03T00:00:00+02:00",
            "2025-06-11T00:00:00+02:00",
        ],
        "deploymentTags": ["", "downTime:2025-06-01T12:00:00+02:00/2025-06-02T00:00:00+02:00", ""],
        **deployments,
    }
    rows = [
        OBSERVATION | {"observationID": f"o{number}", "eventEnd": row["eventStart"], **row}
        for number, row in enumerate(observations)
    ]
    return Package(
        descriptor={},
        deployments=pl.DataFrame(table),
        media=pl.DataFrame(schema={"mediaID": pl.String, "deploymentID": pl.String}),
        observations=pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.String)),
    )


def seen(deployment: str, event: str, time: str, species: str, **columns: str) -> dict[str, str]:
    """An observation of an event; an empty species is a blank."""
    kind = "animal" if species else "blank"
    return {
        "deploymentID": deployment,
        "eventID": event,
        "eventStart": time,
        "scientificName": species,
        "observationType": kind,
        **columns,
    }
