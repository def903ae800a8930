"""Fields and constraints of Camtrap DP 1.0.2, https://camtrap-dp.tdwg.org/data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VERSION = "1.0.2"
# Cells that the standard reads as missing.
MISSING = ("", "NA", "NaN", "nan")
# observationTypes that show people, and their scientificName.
PEOPLE = ("human", "vehicle")
HUMAN_NAME = "Homo sapiens"

# The CSV dialect of written tables. Stated, since readers such as frictionless guess it otherwise, and guess
# wrong at tags with | or text with semicolons.
DIALECT = {"delimiter": ",", "quoteChar": '"', "doubleQuote": True, "skipInitialSpace": False}
# Patterns of filePath and fileMediatype.
PATH = r"^(?=^[^./~])(^((?!\.{2}).)*$).*$"
MEDIA_TYPE = "^(image|video|audio)/.*$"


@dataclass(frozen=True)
class Field:
    """A column of a table: its type and the constraints on its cells.

    required: no cell may be missing. unique: no two cells are equal. minimum, maximum: inclusive. pattern:
    the standard's regular expression, in Python's syntax. A datetime is ISO 8601 in whole seconds, with its
    zone.
    """

    name: str
    type: Literal["string", "integer", "number", "boolean", "datetime", "any"] = "string"
    required: bool = False
    unique: bool = False
    enum: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None


FIELDS: dict[str, tuple[Field, ...]] = {
    "deployments": (
        Field("deploymentID", required=True, unique=True),
        Field("locationID"),
        Field("locationName"),
        # Decimal degrees in WGS 84.
        Field("latitude", "number", required=True, minimum=-90, maximum=90),
        Field("longitude", "number", required=True, minimum=-180, maximum=180),
        # Radius in meters of the circle that contains the camera; large where coordinates are coarsened.
        Field("coordinateUncertainty", "integer", minimum=1),
        Field("deploymentStart", "datetime", required=True),
        Field("deploymentEnd", "datetime", required=True),
        Field("setupBy"),
        Field("cameraID"),
        Field("cameraModel"),
        # Seconds after a trigger in which the camera takes no other.
        Field("cameraDelay", "integer", minimum=0),
        # Meters above the ground, or below the water's surface.
        Field("cameraHeight", "number", minimum=0),
        Field("cameraDepth", "number", minimum=0),
        # Degrees: -90 faces down, 0 the horizon.
        Field("cameraTilt", "integer", minimum=-90, maximum=90),
        # Degrees clockwise from north.
        Field("cameraHeading", "integer", minimum=0, maximum=360),
        # Meters within which the camera reliably detects movement.
        Field("detectionDistance", "number", minimum=0),
        Field("timestampIssues", "boolean"),
        Field("baitUse", "boolean"),
        Field(
            "featureType",
            enum=(
                "roadPaved",
                "roadDirt",
                "trailHiking",
                "trailGame",
                "roadUnderpass",
                "roadOverpass",
                "roadBridge",
                "culvert",
                "burrow",
                "nestSite",
                "carcass",
                "waterSource",
                "fruitingTree",
            ),
        ),
        Field("habitat"),
        # Groups and tags: entries separated by |, preferably key:value.
        Field("deploymentGroups"),
        Field("deploymentTags"),
        Field("deploymentComments"),
    ),
    "media": (
        Field("mediaID", required=True, unique=True),
        Field("deploymentID", required=True),
        Field("captureMethod", enum=("activityDetection", "timeLapse")),
        Field("timestamp", "datetime", required=True),
        # A URL, or a path relative to the package.
        Field("filePath", required=True, pattern=PATH),
        Field("filePublic", "boolean", required=True),
        Field("fileName"),
        Field("fileMediatype", required=True, pattern=MEDIA_TYPE),
        # JSON.
        Field("exifData", "any"),
        Field("favorite", "boolean"),
        Field("mediaComments"),
    ),
    "observations": (
        Field("observationID", required=True, unique=True),
        Field("deploymentID", required=True),
        Field("mediaID"),
        Field("eventID"),
        Field("eventStart", "datetime", required=True),
        Field("eventEnd", "datetime", required=True),
        # Counts of event observations may be summed; those of media observations repeat the same animals.
        Field("observationLevel", required=True, enum=("media", "event")),
        Field(
            "observationType",
            required=True,
            enum=("animal", "human", "vehicle", "blank", "unknown", "unclassified"),
        ),
        Field("cameraSetupType", enum=("setup", "calibration")),
        Field("scientificName"),
        Field("count", "integer", minimum=1),
        Field("lifeStage", enum=("adult", "subadult", "juvenile")),
        Field("sex", enum=("female", "male")),
        Field("behavior"),
        Field("individualID"),
        # Position relative to the camera in meters and degrees (negative: left), and speed in m/s.
        Field("individualPositionRadius", "number", minimum=0),
        Field("individualPositionAngle", "number", minimum=-90, maximum=90),
        Field("individualSpeed", "number", minimum=0),
        # Bounding box as shares of the image's width and height, from its top left corner.
        Field("bboxX", "number", minimum=0, maximum=1),
        Field("bboxY", "number", minimum=0, maximum=1),
        Field("bboxWidth", "number", minimum=1e-15, maximum=1),
        Field("bboxHeight", "number", minimum=1e-15, maximum=1),
        Field("classificationMethod", enum=("human", "machine")),
        Field("classifiedBy"),
        Field("classificationTimestamp", "datetime"),
        Field("classificationProbability", "number", minimum=0, maximum=1),
        Field("observationTags"),
        Field("observationComments"),
    ),
}

# Columns that must name a row of another table: {table: {column: table it refers to}}.
FOREIGN_KEYS: dict[str, dict[str, str]] = {
    "deployments": {},
    "media": {"deploymentID": "deployments"},
    "observations": {"deploymentID": "deployments", "mediaID": "media"},
}
# The identifying column of each table.
PRIMARY_KEYS: dict[str, str] = {
    "deployments": "deploymentID",
    "media": "mediaID",
    "observations": "observationID",
}
