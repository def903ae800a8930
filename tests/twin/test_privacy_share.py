"""A shared package: valid, consistent, and without a byte that names a place, a camera or a person."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from bioclip_jax.errors import UserError
from bioclip_jax.twin.estimate import estimate_package
from bioclip_jax.twin.observe.camtrap_dp import FIELDS, Package, check_package, read_package, write_package
from bioclip_jax.twin.observe.privacy import Sensitivity, share_package

# At a border of cells, near a pole, at the antimeridian, negative, and with many digits.
POSITIONS = (
    ("51.4963728", "4.7749631"), ("-33.8749999", "18.6250001"), ("89.9617253", "-179.9734519"),
    ("-0.3481937", "179.9781463"), ("-0.3481937", "179.9781463"), ("0.6249173", "-77.8512947"),
)  # fmt: skip
PLACES = ("Bärensumpf Down", "Kibale-Nord", "Mto wa Mbu", "Processiepark", "Processiepark", "Yasuní")
CAMERAS = ("RCNX-7731", "BTC8842A", "HC600-5513", "cam/Ökostation", "RCNX-7731", "SPYPT-9920")
OBSERVERS = ("Jane Ängström", "Kofi Boateng")
WITHHELD, SENSITIVE, COMMON = "Diceros bicornis", "Panthera pardus", "Vulpes vulpes"
HOURS = range(8)


def jpeg(place: str, shade: int) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = place
    exif[0x8825] = {1: "N", 2: (51.0, 29.0, 46.9), 3: "E", 4: (4.0, 46.0, 29.8)}
    file = io.BytesIO()
    image = Image.new("RGB", (24, 16), (shade, 90, 40))
    image.save(file, "JPEG", exif=exif, comment=place.encode())
    return file.getvalue()


def private_package(folder: Path) -> Package:
    """Six deployments with eight events of two images each, and every free-text field a trap."""
    rows = range(len(POSITIONS))
    deployments = {
        "deploymentID": [f"{PLACES[row]}_{row}_2023" for row in rows],
        "locationID": [f"loc:{PLACES[row]}" for row in rows],
        "locationName": [f"{PLACES[row]}, ravine behind the lodge" for row in rows],
        "latitude": [latitude for latitude, _ in POSITIONS],
        "longitude": [longitude for _, longitude in POSITIONS],
        "coordinateUncertainty": ["5", "", "NA", "12", "12", "3000"],
        "deploymentStart": ["2023-05-01T00:00:00+02:00"] * 6,
        "deploymentEnd": ["2023-05-20T00:00:00+02:00"] * 6,
        "setupBy": [OBSERVERS[row % 2] for row in rows],
        "cameraID": CAMERAS,
        "cameraModel": ["Reconyx-HF2X", "Browning", "", "", "", "Bushnell of Yasuní"],
        "cameraHeading": ["271"] * 6,
        "habitat": [f"gallery forest of {place}" for place in PLACES],
        "deploymentGroups": [f"area:{place}" for place in PLACES],
        "deploymentTags": [
            f"ridge:{place} | downTime:2023-05-03T10:00:00+02:00/2023-05-04T10:00:00+02:00"
            for place in PLACES
        ],
        "deploymentComments": [f"two km from {place}" for place in PLACES],
        "gridSquare": [f"UTM {place}" for place in PLACES],
    }
    media, observations = [], []
    (folder / "media").mkdir(parents=True)
    for row, name in enumerate(deployments["deploymentID"]):
        for hour in HOURS:
            event = f"{name}-event{hour}"
            stamp = f"2023-05-{10 + row}T{hour:02}:00:0{{}}+02:00"
            species = (COMMON, COMMON, SENSITIVE, WITHHELD, "", COMMON, "Diceros", "Felis lybica")[hour]
            kind = "human" if hour == 4 else "animal"
            observation = {
                "deploymentID": name, "eventID": event, "eventStart": stamp.format(0),
                "eventEnd": stamp.format(5), "observationType": kind, "scientificName": species, "count": "1",
                "individualID": f"{PLACES[row]} Tom", "behavior": f"sleeps at {PLACES[row]}",
                "classificationTimestamp": "2023-06-01T00:00:00Z",
                "observationTags": PLACES[row], "observationComments": f"{WITHHELD} was at {PLACES[row]}",
            }  # fmt: skip
            by = OBSERVERS[hour % 2]
            observations.append(
                observation | {"observationID": f"{event}-human", "observationLevel": "event"}
                | {"classificationMethod": "human", "classifiedBy": by, "mediaID": ""}
            )  # fmt: skip
            for shot in range(2):
                media_id = f"{event}-{shot}"
                path = f"media/{PLACES[row]}-{row}-{hour}-{shot}.jpg"
                (folder / path).write_bytes(jpeg(PLACES[row], 10 * hour + shot))
                media.append(
                    {
                        "mediaID": media_id, "deploymentID": name, "captureMethod": "activityDetection",
                        "timestamp": stamp.format(4 * shot), "filePath": path, "filePublic": "true",
                        "fileName": f"{PLACES[row]}.jpg", "fileMediatype": "image/jpeg",
                        "exifData": json.dumps({"GPSLatitude": POSITIONS[row][0]}),
                        "mediaComments": f"seen from {PLACES[row]}",
                    }
                )  # fmt: skip
                # Of an event's images the model names the first alone.
                observations.append(
                    observation | {"observationID": media_id, "observationLevel": "media"}
                    | {"mediaID": media_id, "classificationMethod": "machine"}
                    | {"classifiedBy": "bioclip-2 1.0", "classificationProbability": "0.91"}
                    | ({"observationType": "unknown", "scientificName": ""} if shot else {})
                )  # fmt: skip
    descriptor = {
        "resources": [
            {"name": name, "path": f"{name}.csv", "profile": "tabular-data-resource"} for name in FIELDS
        ] + [{"name": "individuals", "data": [{"name": "Tom of Processiepark"}]}],
        "profile": "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.2/camtrap-dp-profile.json",
        "name": "leopards-of-processiepark",
        "id": "processiepark-2023",
        "created": "2023-07-07T07:07:07Z",
        "title": "Leopards of Processiepark",
        "contributors": [
            {"title": "Institute of Zoology", "role": "rightsHolder", "email": "jane@Kibale-Nord.org"},
            {"title": OBSERVERS[0], "role": "rightsHolder"},
            {"title": "A. N. Other", "role": "contact", "path": "https://example.org/Processiepark"},
        ],
        "licenses": [
            {"name": "CC0-1.0", "scope": "data"},
            {"name": "Processiepark licence", "path": "https://creativecommons.org/licenses/by/4.0/",
             "scope": "media"},
        ],
        "project": {"title": "Processiepark", "samplingDesign": "systematicRandom", "acronym": "PRPARK",
                    "captureMethod": ["activityDetection"], "individualAnimals": True,
                    "observationLevel": ["media", "event"]},
        "keywords": ["Processiepark"],
        "coordinatePrecision": 1e-7,
        "temporal": {"start": "2023-05-01", "end": "2023-05-20"},
        "spatial": {"type": "Point", "coordinates": [4.7749631, 51.4963728]},
        "taxonomic": [
            {"scientificName": WITHHELD, "vernacularNames": {"eng": "black rhino"}},
            {"scientificName": COMMON, "taxonRank": "species",
             "vernacularNames": {"eng": "red fox", "nld": "vos van Processiepark"}},
            {"scientificName": SENSITIVE, "vernacularNames": {"eng": "leopard, prey of black rhino"}},
        ],
    }  # fmt: skip
    tables = {
        "deployments": pl.DataFrame(deployments),
        "media": pl.DataFrame(media),
        "observations": pl.DataFrame(observations),
    }
    for name, table in tables.items():
        known = [field.name for field in FIELDS[name]]
        missing = [pl.lit("").alias(column) for column in known if column not in table.columns]
        tables[name] = table.with_columns(missing)
    pl.DataFrame(
        {
            "mediaID": [name for name in tables["media"]["mediaID"] for _ in range(3)],
            "scientificName": [COMMON, WITHHELD, "Loxodonta africana"] * len(media),
            "probability": np.tile(np.float32([0.91, 0.05, 0.04]), len(media)),
        }
    ).write_parquet(folder / "probabilities.parquet")
    (folder / "reliability.json").write_text(
        json.dumps({"temperature": 1.5, "taxa": "/home/jane/Processiepark/taxa", "after": {"nll": [0.25]}})
    )
    return Package(descriptor, folder=folder, **tables)


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of all files, and the cells of Parquet files as text and as numbers."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        yield name, name.encode()
        if path.is_file():
            yield name, path.read_bytes()
        if path.suffix == ".parquet":
            yield f"{name}, read", pl.read_parquet(path).write_csv().encode()


def coordinate_forms(text: str, decimals: int) -> Iterator[bytes]:
    """A coordinate beyond a number of decimals: cut and rounded, and as floats of either byte order."""
    value = float(text)
    whole, _, digits = text.lstrip("-").partition(".")
    for count in range(decimals + 1, len(digits) + 1):
        yield f"{whole}.{digits[:count]}".encode()
        if not (rounded := f"{abs(value):.{count}f}").endswith("0"):
            yield rounded.encode()
            yield rounded.replace(".", ",").encode()
    for number in (value, round(value, decimals + 1), round(value, decimals + 2)):
        for code in "<f", ">f", "<d", ">d":
            yield struct.pack(code, number)


def assert_absent(folder: Path, secrets: Iterable[bytes]) -> None:
    secrets = {form for secret in secrets for form in (secret, secret.lower(), secret.upper())}
    assert secrets
    found = [
        f"{secret!r} in {name}: {content[max(0, content.index(secret) - 30) : content.index(secret) + 40]!r}"
        for name, content in contents(folder)
        for secret in secrets
        if secret in content
    ]
    assert not found, "\n".join(found[:10])


def secrets_of(package: Package, decimals: int) -> set[bytes]:
    """Return texts that a shared package must not contain, long enough not to be there by chance."""
    tables = package.tables
    names = {
        "deployments": ("deploymentID", "locationID", "locationName", "cameraID", "setupBy", "habitat",
                        "deploymentGroups", "deploymentTags", "deploymentComments"),
        "media": ("mediaID", "filePath", "fileName", "exifData", "mediaComments"),
        "observations": ("observationID", "eventID", "individualID", "observationTags",
                         "observationComments"),
    }  # fmt: skip
    cells = {cell for table, columns in names.items() for name in columns for cell in tables[table][name]}
    human = tables["observations"].filter(pl.col("classificationMethod") == "human")
    texts = {*cells, *human["classifiedBy"]}
    secrets = {text.encode() for text in texts if len(text) > 4}
    for name in ("latitude", "longitude"):
        for text in tables["deployments"][name]:
            secrets |= set(coordinate_forms(text, decimals))
    return secrets


@pytest.fixture(scope="module")
def private(tmp_path_factory) -> Package:
    return private_package(tmp_path_factory.mktemp("private"))


LISTED = Sensitivity({"diceros bicornis": 1, "panthera pardus": 3, "vulpes vulpes": 0, "felis lybica": 0})


@pytest.mark.parametrize(("sensitivity", "decimals"), [(None, 1), (LISTED, 2)])
def test_nothing_private_is_in_a_shared_package(private, tmp_path, sensitivity, decimals):
    result = share_package(private, tmp_path / "shared", sensitivity, copy_media=True)
    secrets = secrets_of(private, decimals)
    secrets |= {
        word.encode()
        for word in (*PLACES, *CAMERAS, *OBSERVERS, "Ängström", "Kibale", "lodge", "Tom", "PRPARK", "jane",
                     "A. N. Other", "gridSquare", "2023-07-07", "271", "Loxodonta", "/home", "vos van")
    }  # fmt: skip
    if sensitivity:
        secrets |= {WITHHELD.encode(), b"Diceros", b"rhino", b"bicornis"}
    assert_absent(tmp_path / "shared", secrets)
    assert result["degrees"] == 10.0**-decimals and result["left_out"]["people"] == 6 * 2
    assert result["left_out"]["withheld"] == (6 * 4 if sensitivity else 0)
    assert set(result["left_out"]["contributors"]) == {"A. N. Other", OBSERVERS[0]}
    assert not list(tmp_path.glob(".*.partial*"))


def test_nothing_private_is_in_the_files_of_an_estimate(private, tmp_path):
    write_package(private, tmp_path / "package")
    table = tmp_path / "sensitive.csv"
    rows = [f"{name},{category}" for name, category in LISTED.categories.items()]
    table.write_text("\n".join(["scientificName,category", *rows]), encoding="utf-8")
    estimate_package(tmp_path / "package", tmp_path / "estimate", sensitive=table, draws=20)
    assert (tmp_path / "estimate" / "map.png").is_file()
    secrets = {word.encode() for word in (*PLACES, *CAMERAS, *OBSERVERS, WITHHELD, "Diceros", "rhino")}
    assert_absent(tmp_path / "estimate", secrets | secrets_of(private, 2))


def test_a_shared_package_is_valid_consistent_and_opaque(private, tmp_path):
    result = share_package(private, tmp_path / "shared", LISTED, copy_media=True)
    shared = read_package(tmp_path / "shared")
    check_package(shared)
    # Of each deployment's 8 events: 1 of people, 1 of the rhino and 1 of its genus are gone.
    assert shared.deployments.height == 6 and shared.media.height == result["media"] == 6 * 5 * 2
    assert shared.observations.height == 6 * 5 * 3
    assert set(shared.observations["scientificName"]) == {COMMON, SENSITIVE, "Felis lybica", ""}
    assert set(shared.observations["mediaID"]) - {""} == set(shared.media["mediaID"])
    assert shared.deployments["deploymentID"].to_list() == [f"deployment-00{row}" for row in range(1, 7)]
    assert shared.media["mediaID"].to_list() == [f"media-{row:06}" for row in range(1, 61)]
    # Two cameras at one location stay two deployments there; the order is not that of the private table.
    assert shared.deployments["locationID"].n_unique() == 5
    cells = {f"{float(latitude):.2f} {float(longitude):.2f}" for latitude, longitude in POSITIONS}
    rows = shared.deployments.select("latitude", "longitude").rows()
    assert {f"{latitude} {longitude}".replace("-0.00", "0.00") for latitude, longitude in rows} <= {
        cell.replace("-180.00", "180.00") for cell in cells
    } | cells
    assert [float(latitude) for latitude, _ in rows] != [round(float(lat), 2) for lat, _ in POSITIONS]
    assert set(shared.deployments["coordinateUncertainty"]) == {"1570", "3790"}
    # What effort needs is there, and nothing else of the tags.
    assert set(shared.deployments["deploymentTags"]) == {
        "downTime:2023-05-03T10:00:00+02:00/2023-05-04T10:00:00+02:00"
    }
    assert "Bushnell" not in "".join(shared.deployments["cameraModel"])
    assert set(shared.observations["classifiedBy"]) == {"", "bioclip-2 1.0"}
    # Events keep their images: two each, four seconds apart.
    events = shared.observations.filter(pl.col("mediaID") != "").join(
        shared.media.select("mediaID", "timestamp"), on="mediaID"
    )
    assert (events.group_by("eventID").len()["len"] == 2).all()
    assert (events["timestamp"].str.head(13) == events["eventStart"].str.head(13)).all()
    # Only images with a classification are copied: the first of each event by the model, and, since a person
    # named the event, the second.
    files = sorted(path.name for path in (tmp_path / "shared" / "media").iterdir())
    assert len(files) == result["images"] == 60 and files[0] == "media-000001.jpg"
    with Image.open(tmp_path / "shared" / "media" / files[0]) as image:
        assert not image.getexif() and "comment" not in image.info
    assert set(shared.media["filePublic"]) == {"true"}


def test_descriptor_and_side_tables_of_a_shared_package(private, tmp_path):
    share_package(private, tmp_path / "shared", LISTED)
    descriptor = json.loads((tmp_path / "shared" / "datapackage.json").read_text())
    assert descriptor["title"] == descriptor["project"]["title"] == "Camera-trap observations"
    assert descriptor["contributors"] == [{"title": "Institute of Zoology", "role": "rightsHolder"}]
    assert descriptor["licenses"] == [
        {"name": "CC0-1.0", "scope": "data"},
        {"path": "https://creativecommons.org/licenses/by/4.0/", "scope": "media"},
    ]
    assert descriptor["project"]["samplingDesign"] == "systematicRandom"
    assert descriptor["coordinatePrecision"] == 0.01
    assert descriptor["taxonomic"] == [
        {"scientificName": "Felis lybica"},
        {"scientificName": SENSITIVE},
        {"scientificName": COMMON, "taxonRank": "species", "vernacularNames": {"eng": "red fox"}},
    ]
    ring = np.array(descriptor["spatial"]["coordinates"][0])
    assert ring.min(axis=0).tolist() == [-179.98, -33.88]
    assert ring.max(axis=0).tolist() == [179.99, 89.97]
    probabilities = pl.read_parquet(tmp_path / "shared" / "probabilities.parquet")
    assert probabilities["mediaID"].to_list() == [f"media-{row:06}" for row in range(1, 61)]
    assert set(probabilities["scientificName"]) == {COMMON}
    reliability = json.loads((tmp_path / "shared" / "reliability.json").read_text())
    assert reliability == {"temperature": 1.5, "after": {"nll": [0.25]}}
    assert not (tmp_path / "shared" / "media").exists()


def test_precise_shares_places_and_still_no_people_or_withheld_species(private, tmp_path):
    result = share_package(private, tmp_path / "shared", LISTED, precise=True)
    shared = read_package(tmp_path / "shared")
    check_package(shared)
    assert result["degrees"] is None and shared.descriptor["coordinatePrecision"] == 1e-7
    assert set(shared.deployments["latitude"]) == {latitude for latitude, _ in POSITIONS}
    assert set(shared.deployments["cameraID"]) == set(CAMERAS)
    assert shared.deployments["locationName"].str.contains("ravine").all()
    assert shared.deployments["deploymentTags"].str.contains(r"ridge:.* \| downTime:2023").all()
    observers = [name.encode() for name in (*OBSERVERS, "Ängström", "setupBy")]
    assert_absent(tmp_path / "shared", [WITHHELD.encode(), b"Diceros", b"black rhino", *observers])


def test_sharing_again_changes_no_position(private, tmp_path):
    share_package(private, tmp_path / "once", LISTED)
    share_package(read_package(tmp_path / "once"), tmp_path / "twice", LISTED)
    columns = ("latitude", "longitude", "coordinateUncertainty")
    once, twice = (read_package(tmp_path / name).deployments.select(columns) for name in ("once", "twice"))
    assert sorted(once.rows()) == sorted(twice.rows())


def test_a_renumbering_does_not_change_from_run_to_run(private, tmp_path):
    share_package(private, tmp_path / "a", LISTED)
    share_package(private, tmp_path / "b", LISTED)
    for name in ("deployments.csv", "media.csv", "observations.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_refusals_write_nothing(private, tmp_path):
    def refused(message: str, package: Package, folder: Path, **options) -> None:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(UserError, match=message) as caught:
            share_package(package, folder, LISTED, **options)
        assert "\n" not in str(caught.value) and sorted(tmp_path.rglob("*")) == before

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    refused("full exists and is not empty", private, tmp_path / "full")
    refused("the private one .* overlap", private, private.folder / "shared")
    nowhere = private.deployments.with_columns(latitude=pl.lit(""), longitude=pl.lit(""))
    refused(
        r"row 2: latitude and longitude are empty \(6 such rows\)",
        replace(private, deployments=nowhere), tmp_path / "shared",
    )  # fmt: skip
    absent = private.media.with_columns(filePath=pl.col("filePath").str.replace("-0.jpg", "-9.jpg"))
    refused(
        "-9.jpg: the file is not in", replace(private, media=absent), tmp_path / "shared", copy_media=True
    )


def test_a_damaged_image_is_skipped_and_counted(private, tmp_path):
    damaged = private.folder / "media" / "damaged.jpg"
    damaged.write_bytes(jpeg("Yasuní", 0)[:300])
    first = pl.col("mediaID") == private.media["mediaID"][0]
    path = pl.when(first).then(pl.lit("media/damaged.jpg")).otherwise("filePath")
    package = replace(private, media=private.media.with_columns(filePath=path))
    result = share_package(package, tmp_path / "shared", LISTED, copy_media=True)
    assert result["images"] == 59 and result["left_out"]["damaged_images"] == 1
    shared = read_package(tmp_path / "shared")
    assert shared.media["filePublic"].to_list().count("false") == 1
    assert len(list((tmp_path / "shared" / "media").iterdir())) == 59


@pytest.mark.shared_data
def test_the_standards_example_is_shared_without_its_secrets(shared_data: Path, tmp_path):
    package = read_package(shared_data / "twin" / "camtrap_dp")
    result = share_package(package, tmp_path / "shared", Sensitivity({"vulpes vulpes": 1}))
    words = (b"Vulpes", b"red fox", b"Reinaert", b"observer-", b"processiepark", b"agouti", b"MICA")
    assert_absent(tmp_path / "shared", secrets_of(package, 1) | set(words))
    shared = read_package(tmp_path / "shared")
    check_package(shared)
    assert result["category"] == 2 and shared.deployments.height == 4
    numbers = [*package.deployments["cameraID"], *package.deployments["locationID"]]
    cells = {cell for table in shared.tables.values() for name in table.columns for cell in table[name]}
    assert not cells & set(numbers)
