"""A package of one row a table, as another program may have written it."""

import csv
import json

from bioclip_jax.twin.observe.camtrap_dp import FIELDS

PROFILE = "https://raw.githubusercontent.com/tdwg/camtrap-dp/{}/camtrap-dp-profile.json"
CELLS = {
    "deployments": {
        "deploymentID": "d1",
        "latitude": "50.10",
        "longitude": "4.2",
        "deploymentStart": "2020-05-01T00:00:00Z",
        "deploymentEnd": "2020-06-01T00:00:00Z",
        "habitat": "wet, with a\nbrook; 2 °C",
    },
    "media": {
        "mediaID": "m1",
        "deploymentID": "d1",
        "timestamp": "2020-05-02T00:00:00+02:00",
        "filePath": "media/a.jpg",
        "filePublic": "true",
        "fileMediatype": "image/jpeg",
        "mediaComments": "NA",
    },
    "observations": {
        "observationID": "o1",
        "deploymentID": "d1",
        "mediaID": "m1",
        "eventStart": "2020-05-02T00:00:00+02:00",
        "eventEnd": "2020-05-02T00:00:00+02:00",
        "observationLevel": "media",
        "observationType": "animal",
    },
}


def make(folder, version="1.0.2", **resources):
    """Write a package of one row a table; resources: further properties by table."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = []
    for table in CELLS:
        path = folder / f"{table}.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([[field.name for field in FIELDS[table]], cells(table)])
        listed.append({"name": table, "path": path.name} | resources.get(table, {}))
    descriptor = {"profile": PROFILE.format(version), "name": "naïve", "resources": listed}
    (folder / "datapackage.json").write_text(json.dumps(descriptor))
    return folder


def cells(table):
    return [CELLS[table].get(field.name, "") for field in FIELDS[table]]


def change(folder, edit):
    file = folder / "datapackage.json"
    descriptor = json.loads(file.read_text())
    edit(descriptor)
    file.write_text(json.dumps(descriptor))
    return folder
