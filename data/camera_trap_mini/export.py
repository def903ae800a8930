"""A world as files: photographs with EXIF, deployments, detections, verified names, movement, truth."""

import csv
import io
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

from bioclip_jax.datasets.camera_trap_mini.burst import Passage, draw_numbers, take_burst
from bioclip_jax.datasets.camera_trap_mini.detector import CATEGORIES, INFO, detect
from bioclip_jax.datasets.camera_trap_mini.ecology import (
    BLANK,
    BURST,
    CAMERA_DELAY,
    PERSON,
    ZONE,
    Deployment,
    World,
    draw_world,
)
from bioclip_jax.datasets.camera_trap_mini.ground_truth import truth
from bioclip_jax.datasets.camera_trap_mini.sun import sun_elevation
from bioclip_jax.datasets.camera_trap_mini.view import Light, View
from bioclip_jax.errors import UserError
from bioclip_jax.files import PARTIAL, json_text, write_text

VERIFIED = 0.25  # share of the events that a person has looked at
_QUALITY = 85  # of the JPEGs
_UNCERTAINTY = 10  # of the coordinates, in meters
# Standard errors in movement.csv, in shares of the value.
_ERRORS = {"speed_m_per_s": 0.08, "radius_m": 0.05, "angle_rad": 0.05}
# Streams of random numbers of a world beside that of its ecology.
_VIEWS, _WEATHER, _BURSTS, _VERIFICATION, _MOVEMENT = range(1, 6)


def write_world(
    folder: str | os.PathLike[str], *, seed: int = 0, sites: int = 30, days: int = 30, threads: int = 2
) -> World:
    """Draw a world, photograph it, and write it into a folder.

    deployments.csv, detections.json (of a simulated detector), verified.csv (a person's names of a quarter of
    the events), species.csv, movement.csv, truth.json and, last, photos/DEPLOYMENT/IMG_0001.JPG … Equal
    arguments give equal bytes. Raises UserError if the folder has photos already.
    """
    folder = Path(folder)
    photos = folder / "photos"
    if photos.exists():
        raise UserError(f"{photos} exists; remove it or choose another folder")
    world = draw_world(seed, sites=sites, days=days)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".photos{PARTIAL}{uuid.uuid4().hex}"
    try:
        with ThreadPoolExecutor(threads) as pool:
            roll = list(pool.map(lambda site: _photograph_site(world, site, partial), range(sites)))
        images = [image for site_images, _ in roll for image in site_images]
        detections = {"images": images, "detection_categories": CATEGORIES, "info": INFO}
        write_text(folder / "detections.json", json_text(detections, indent=1))
        write_text(folder / "verified.csv", _verified(world, [names for _, names in roll]))
        write_text(folder / "deployments.csv", _table(_deployment_row(one) for one in world.deployments))
        write_text(folder / "species.csv", _table({"scientificName": one.name} for one in world.species))
        write_text(folder / "movement.csv", _movement(world))
        write_text(folder / "truth.json", json.dumps(truth(world), indent=1))
        os.rename(partial, photos)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return world


def _photograph_site(world: World, site: int, photos: Path) -> tuple[list[dict[str, Any]], list[list[str]]]:
    """Write the photographs of a site; return their detections, and their names by event."""
    one = world.deployments[site]
    folder = photos / one.deployment_id
    folder.mkdir(parents=True)
    view = View.draw(np.random.default_rng([world.seed, _VIEWS, site]), one.habitat)
    images, names = [], []
    for event in np.flatnonzero(world.events.site == site).tolist():
        rng = np.random.default_rng([world.seed, _BURSTS, event])
        time = world.events.time[event]
        light = Light(
            elevation=float(sun_elevation(time, one.latitude, one.longitude)),
            hour=float(world.solar_hours[event]),
            overcast=_overcast(world.seed, time),
        )
        kind, count = int(world.events.species[event]), int(world.events.count[event])
        passage = Passage(kind, () if kind == PERSON else draw_numbers(rng, count))
        shown = [_shown(one, time, frame) for frame in range(BURST)]
        celsius = round(21 + 6 * np.cos((light.hour - 14.5) * np.pi / 12) - 4 * light.overcast)
        texts = [f"{moment:%Y-%m-%d  %H:%M:%S}   {celsius} C" for moment in shown]
        burst = take_burst(view, light, passage, texts, rng)
        names.append([])
        for frame, moment, found in zip(burst.frames, shown, detect(burst, rng)):
            name = f"IMG_{len(images) + 1:04d}.JPG"
            (folder / name).write_bytes(_encode_jpeg(frame, _make_exif(one, moment)))
            names[-1].append(f"{one.deployment_id}/{name}")
            images.append({"file": names[-1][-1], "detections": found})
    return images, names


def _shown(deployment: Deployment, time: np.datetime64, frame: int) -> datetime:
    """Local time that the camera's clock shows at a frame."""
    local = time.astype("datetime64[s]").item() + ZONE.utcoffset(None) + timedelta(seconds=frame)
    return local - deployment.clock_offset


def _encode_jpeg(image: UInt8[np.ndarray, "height width 3"], exif: bytes) -> bytes:
    """Encode an RGB image with an EXIF segment."""
    ok, encoded = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    if not ok:
        raise RuntimeError("OpenCV could not encode a frame")
    data = encoded.tobytes()
    # Right after the start of the image, before OpenCV's own header.
    return data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]


def _make_exif(deployment: Deployment, shown: datetime) -> bytes:
    """EXIF with the local time that the camera shows; EXIF times have no zone."""
    exif = Image.Exif()
    make, _, model = deployment.camera_model.partition(" ")
    exif[Base.Make], exif[Base.Model] = make, model
    text = shown.strftime("%Y:%m:%d %H:%M:%S")
    exif[Base.DateTime] = text
    details = exif.get_ifd(IFD.Exif)
    details[Base.DateTimeOriginal] = details[Base.DateTimeDigitized] = text
    details[Base.BodySerialNumber] = deployment.camera_id
    if deployment.gps:
        gps = exif.get_ifd(IFD.GPSInfo)
        gps[GPS.GPSLatitudeRef], gps[GPS.GPSLatitude] = (
            "N" if deployment.latitude > 0 else "S",
            _dms(deployment.latitude),
        )
        gps[GPS.GPSLongitudeRef], gps[GPS.GPSLongitude] = (
            "E" if deployment.longitude > 0 else "W",
            _dms(deployment.longitude),
        )
    return exif.tobytes()


def _dms(degrees: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    """Degrees, minutes and seconds, the seconds to a hundredth."""
    hundredths = round(abs(degrees) * 360_000)
    minutes, seconds = divmod(hundredths, 6000)
    whole, minutes = divmod(minutes, 60)
    return IFDRational(whole), IFDRational(minutes), IFDRational(Fraction(seconds, 100))


def _overcast(seed: int, time: np.datetime64) -> float:
    """Cloud cover of a day, 0 … 1, the same at all sites."""
    day = int(time.astype("datetime64[D]").astype(int))
    return float(np.random.default_rng([seed, _WEATHER, day]).random())


def _deployment_row(one: Deployment) -> dict[str, Any]:
    """A row of deployments.csv: Camtrap DP's columns, the folder, the clock's error and down-time."""
    return {
        "deploymentID": one.deployment_id,
        "locationID": one.location_id,
        "locationName": one.location_name,
        "latitude": f"{one.latitude:.6f}",
        "longitude": f"{one.longitude:.6f}",
        "coordinateUncertainty": _UNCERTAINTY,
        "deploymentStart": one.start.isoformat(),
        "deploymentEnd": one.end.isoformat(),
        "cameraID": one.camera_id,
        "cameraModel": one.camera_model,
        "cameraDelay": CAMERA_DELAY,
        "timestampIssues": "true" if one.clock_offset else "false",
        "habitat": one.habitat,
        "folder": one.deployment_id,
        "clockOffset": _signed(one.clock_offset) if one.clock_offset else "",
        "downTime": "|".join(f"{start.isoformat()}/{end.isoformat()}" for start, end in one.down),
    }


def _signed(offset: timedelta) -> str:
    """A time to add to the camera's, as ±HH:MM:SS."""
    seconds = round(offset.total_seconds())
    hours, rest = divmod(abs(seconds), 3600)
    return f"{'-' if seconds < 0 else '+'}{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"


def _verified(world: World, names_by_site: Sequence[list[list[str]]]) -> str:
    """A person's names of all frames of a random subset of the events; people are left out."""
    rng = np.random.default_rng([world.seed, _VERIFICATION])
    names = [event for site in names_by_site for event in site]  # events are sorted by site
    rows = []
    for event, chosen in enumerate(rng.random(len(names)) < VERIFIED):
        kind = int(world.events.species[event])
        if chosen and kind != PERSON:
            name, count = (
                ("blank", "") if kind == BLANK else (world.species[kind].name, int(world.events.count[event]))
            )
            rows += [{"filepath": file, "scientificName": name, "count": count} for file in names[event]]
    return _table(rows)


def _movement(world: World) -> str:
    """Speed, radius and angle as measured: the truth with normal errors, and their standard errors."""
    rng = np.random.default_rng([world.seed, _MOVEMENT])
    rows = []
    for traits in world.species:
        row = {"scientificName": traits.name}
        values = (traits.speed, traits.effective_radius, traits.angle)
        for (column, error), value in zip(_ERRORS.items(), values):
            row[column] = f"{value * (1 + error * rng.standard_normal()):.5f}"
            row[f"{column.partition('_')[0]}_se"] = f"{value * error:.5f}"
        rows.append(row)
    return _table(rows)


def _table(rows: Iterable[dict[str, Any]]) -> str:
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
