"""The descriptor of a package: datapackage.json of a new one, and the profile's constraints."""

from __future__ import annotations

import hashlib
import re
import unicodedata
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bioclip_jax.errors import UserError, did_you_mean

from .fields import DIALECT, FIELDS, VERSION
from .times import is_missing, parse_times

if TYPE_CHECKING:
    import polars as pl

_URL = f"https://raw.githubusercontent.com/tdwg/camtrap-dp/{VERSION}/"
PROFILE = f"{_URL}camtrap-dp-profile.json"

CONTRIBUTOR_ROLES = ("contact", "principalInvestigator", "rightsHolder", "publisher", "contributor")
SAMPLING_DESIGNS = (
    "simpleRandom",
    "systematicRandom",
    "clusteredRandom",
    "experimental",
    "targeted",
    "opportunistic",
)
CAPTURE_METHODS = ("activityDetection", "timeLapse")
LEVELS = ("media", "event")
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species", "subspecies")
# Properties of the descriptor that a person may give; the others are computed.
_METADATA = (
    "name",
    "title",
    "description",
    "version",
    "keywords",
    "image",
    "homepage",
    "contributors",
    "sources",
    "licenses",
    "bibliographicCitation",
    "project",
    "coordinatePrecision",
    "relatedIdentifiers",
    "references",
)
# RFC 3339.
_CREATED = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
_NOTHING: Mapping[str, Any] = {}


def new_descriptor(
    deployments: pl.DataFrame,
    media: pl.DataFrame,
    observations: pl.DataFrame,
    *,
    created: str,
    metadata: Mapping[str, Any] = _NOTHING,
    taxa: Mapping[str, Mapping[str, Any]] = _NOTHING,
) -> dict[str, Any]:
    """Return the datapackage.json of a new package in Camtrap DP 1.0.2.

    created: time of making with its zone. metadata: the descriptor's properties that only a person knows, as
    in the standard: title, contributors, licenses (one of scope "data" and one of scope "media"), project
    (title, samplingDesign, ...) and others. Without them, contributors and titles say that they are not
    stated, there are no licenses, and the sampling design is "opportunistic", which claims least. taxa:
    further properties of taxa by scientific name (taxonRank, family, vernacularNames, ...).

    The identifier is a UUID of the tables' content and the title, so that equal packages have equal ones.

    Raises UserError for unknown or invalid metadata, and for deployments without coordinates or times.
    """
    for key in metadata:
        if key not in _METADATA:
            hint = did_you_mean(key, _METADATA, f"give any of {', '.join(_METADATA)}")
            raise UserError(f"{key} is not a property of a package's metadata{hint}")
    title = metadata.get("title", "Camera trap data (title not stated)")
    computed = {
        "title": "not stated",
        "samplingDesign": "opportunistic",
        "captureMethod": _used(media["captureMethod"], CAPTURE_METHODS) or ["activityDetection"],
        "individualAnimals": not is_missing(observations["individualID"]).all(),
        "observationLevel": _used(observations["observationLevel"], LEVELS),
    }
    project = metadata.get("project", {})
    if not isinstance(project, Mapping):
        raise UserError(f"project of the metadata is {project!r}; give a table with title and samplingDesign")
    descriptor = {
        "resources": [
            {
                "name": table,
                "path": f"{table}.csv",
                "profile": "tabular-data-resource",
                "format": "csv",
                "mediatype": "text/csv",
                "encoding": "utf-8",
                "dialect": dict(DIALECT),
                "schema": f"{_URL}{table}-table-schema.json",
            }
            for table in FIELDS
        ],
        "profile": PROFILE,
        "name": _slug(str(title)),
        "id": _content_id(str(title), deployments, media, observations),
        "created": created,
        "title": title,
        "contributors": [{"title": "not stated"}],
        **metadata,
        "project": computed | dict(project),
        "coordinatePrecision": metadata.get("coordinatePrecision", coordinate_precision(deployments)),
        **coverage(deployments, observations, taxa),
    }
    for name, value, wanted in descriptor_problems(descriptor):
        raise UserError(f"{name} of the metadata is {value!r}, but {wanted}; correct it")
    return descriptor


def coverage(
    deployments: pl.DataFrame, observations: pl.DataFrame, taxa: Mapping[str, Mapping[str, Any]] = _NOTHING
) -> dict[str, Any]:
    """Return the properties spatial, temporal and taxonomic of tables.

    spatial: the bounding polygon of the deployments, in GeoJSON. temporal: local dates of the first start and
    the last end. taxonomic: the observed scientific names, with what `taxa` says of each.
    """
    import polars as pl

    degrees = _located(deployments).select(pl.col("longitude", "latitude").cast(pl.Float64))
    if degrees.is_empty():
        raise UserError("no deployment has coordinates; give latitude and longitude of at least one")
    west, south = degrees.min().row(0)
    east, north = degrees.max().row(0)
    names = observations["scientificName"]
    names = names.filter(~is_missing(names)).unique().sort()
    first = parse_times(deployments["deploymentStart"], "deployments").arg_min()
    last = parse_times(deployments["deploymentEnd"], "deployments").arg_max()
    if first is None or last is None:
        raise UserError("no deployment has a start and an end; give deploymentStart and deploymentEnd")
    # The dates in the cameras' own zone.
    dates = {
        "start": deployments["deploymentStart"][first][:10],
        "end": deployments["deploymentEnd"][last][:10],
    }
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "spatial": {"type": "Polygon", "coordinates": [ring]},
        "temporal": dates,
        "taxonomic": [{"scientificName": name, **taxa.get(name, {})} for name in names],
    }


def coordinate_precision(deployments: pl.DataFrame) -> float:
    """Least precise of the deployments' coordinates in degrees, by their decimals (0.01 for 51.5, 4.77)."""
    import polars as pl

    degrees = _located(deployments).select("latitude", "longitude")
    decimals = degrees.select(pl.all().str.extract(r"\.(\d+)$").str.len_bytes().fill_null(0))
    fewest = decimals.max_horizontal().min()
    return float(f"1e-{fewest or 0}")


def _located(deployments: pl.DataFrame) -> pl.DataFrame:
    """Deployments with coordinates."""
    import polars as pl

    degrees = pl.col("latitude", "longitude").cast(pl.Float64, strict=False)
    return deployments.filter(pl.all_horizontal(degrees.is_finite()))


def descriptor_problems(descriptor: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield properties that violate the profile: name, value and the constraint."""
    for name in ("profile", "created", "contributors", "project", "spatial", "temporal", "taxonomic"):
        if name not in descriptor:
            yield name, None, "is required"
    if "created" in descriptor and not re.fullmatch(_CREATED, str(descriptor["created"])):
        yield "created", descriptor["created"], "must be a time with its zone, as 2020-05-30T02:57:37Z"
    name = descriptor.get("name", "package")
    if not isinstance(name, str) or not re.fullmatch(r"[-a-z0-9._/]+", name):
        yield "name", name, "must consist of lower-case letters, digits, and any of - . _ /"
    yield from _project_problems(descriptor.get("project"))
    contributors = _objects(descriptor.get("contributors"))
    if "contributors" in descriptor and not (
        contributors and all(isinstance(item.get("title"), str) for item in contributors)
    ):
        yield "contributors", descriptor["contributors"], "must be a list of contributors with a title"
    for item in contributors or []:
        if item.get("role", "contributor") not in CONTRIBUTOR_ROLES:
            yield "contributors.role", item["role"], f"must be one of {', '.join(CONTRIBUTOR_ROLES)}"
    licenses = _objects(descriptor.get("licenses"))
    if "licenses" in descriptor and not (
        licenses
        and {item.get("scope") for item in licenses} == {"data", "media"}
        and all("name" in item or "path" in item for item in licenses)
    ):
        wanted = "must have one of scope data and one of scope media, each with a name or path"
        yield "licenses", descriptor["licenses"], wanted
    for item in _objects(descriptor.get("taxonomic")) or []:
        if item.get("taxonRank", "species") not in RANKS:
            yield "taxonomic.taxonRank", item["taxonRank"], f"must be one of {', '.join(RANKS)}"


def _used(cells: pl.Series, values: Sequence[str]) -> list[str]:
    """Those of the values that occur."""
    occurring = set(cells.unique())
    return [value for value in values if value in occurring]


def _slug(title: str) -> str:
    """A package's name from its title."""
    ascii_title = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_title).strip("-")[:60].strip("-") or "camera-trap-data"


class _Digest:
    """A file that keeps only the SHA-256 of what is written into it."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return len(data)


def _content_id(title: str, *tables: pl.DataFrame) -> str:
    digest = _Digest()
    for table in tables:
        table.write_csv(digest)
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PROFILE}#{title}#{digest.sha256.hexdigest()}"))


def _project_problems(project: Any) -> Iterator[tuple[str, Any, str]]:
    if project is None:
        return
    if not isinstance(project, Mapping):
        yield "project", project, "must be an object with title and samplingDesign"
        return
    if not isinstance(project.get("title"), str):
        yield "project.title", project.get("title"), "must be a text"
    if project.get("samplingDesign") not in SAMPLING_DESIGNS:
        yield (
            "project.samplingDesign",
            project.get("samplingDesign"),
            f"must be one of {', '.join(SAMPLING_DESIGNS)}",
        )
    if not isinstance(project.get("individualAnimals"), bool):
        yield "project.individualAnimals", project.get("individualAnimals"), "must be true or false"
    for name, known in (("captureMethod", CAPTURE_METHODS), ("observationLevel", LEVELS)):
        values = project.get(name)
        if not isinstance(values, list) or any(value not in known for value in values):
            yield f"project.{name}", values, f"must be a list of {' and '.join(known)}"


def _objects(value: Any) -> list[Mapping[str, Any]] | None:
    """A list of objects; None for anything else."""
    return value if isinstance(value, list) and all(isinstance(item, Mapping) for item in value) else None
