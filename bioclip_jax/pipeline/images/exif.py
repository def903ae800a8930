"""Time, place and camera in the EXIF of photographs, from file headers alone."""

import io
import math
import os
import re
import warnings
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, UnidentifiedImageError

from .decoder_process import foreign_exif
from .formats import HEAD, foreign_kind

# Pillow warns of damaged EXIF, and names its own source files.
warnings.filterwarnings("ignore", module=r"PIL\.")

_CAMERA, _GPS = 0x8769, 0x8825
# Tags of a time, its fraction of a second, and its zone.
_ORIGINAL = (0x9003, 0x9291, 0x9011)
_DIGITIZED = (0x9004, 0x9292, 0x9012)
_TIME = re.compile(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d:\d\d:\d\d)")
_ZONE = re.compile(r"[+-](?:0\d|1[0-4]):[0-5]\d|Z")
_MAKE, _MODEL, _SERIAL, _DNG_SERIAL = 0x010F, 0x0110, 0xA431, 0xC62F
_GPS_LATITUDE, _GPS_LONGITUDE, _GPS_ALTITUDE, _GPS_STATUS = (1, 2), (3, 4), (5, 6), 9
# Longer names are not those of a camera.
_LONGEST_NAME = 100
# Meters; beyond the deepest sea and the highest balloon.
_ALTITUDES = (-11_100.0, 55_000.0)
_MINUTE = 60.0


class Exif(NamedTuple):
    """Facts of a photograph; "" or None for those that it lacks.

    time: YYYY-MM-DDTHH:MM:SS, with the fraction and zone if given. latitude, longitude: decimal degrees, WGS
    84. altitude: meters above sea level. camera: make and model. serial: of the camera's body.
    """

    time: str = ""
    latitude: float | None = None
    longitude: float | None = None
    altitude: float | None = None
    camera: str = ""
    serial: str = ""


def read_exif(source: str | os.PathLike[str] | bytes) -> Exif:
    """Return the facts of an image file, given as its path or content; never raises.

    The time is DateTimeOriginal, or without it DateTimeDigitized. Values that cannot be true are left empty:
    times that do not exist, coordinates out of range, of 0° N 0° E, or without a fix. JPEG, TIFF, PNG, WebP
    and whatever else Pillow opens, HEIC and camera raw; a damaged file, or one of another kind, has none.
    """
    try:
        try:
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                # Pillow would decode a PNG without EXIF to look for it behind the pixels.
                if image.format == "PNG" and not any("exif" in str(key) for key in image.info):
                    return Exif()
                main, camera, gps = _directories(image.getexif())
        except UnidentifiedImageError:
            main, camera, gps = _directories(_foreign_tags(source))
    except Exception:  # Pillow raises errors of many types; a photograph without EXIF is counted
        return Exif()
    latitude, longitude = _coordinates(gps)
    return Exif(
        time=_time(camera),
        latitude=latitude,
        longitude=longitude,
        altitude=None if latitude is None else _altitude(gps),
        camera=_camera(_text(main.get(_MAKE)), _text(main.get(_MODEL))),
        serial=_text(camera.get(_SERIAL)) or _text(main.get(_DNG_SERIAL)),
    )


def _foreign_tags(source: str | os.PathLike[str] | bytes) -> Image.Exif:
    """Return the tags of a HEIC or raw file; none for other kinds."""
    tags = Image.Exif()
    if not isinstance(source, bytes):
        with open(source, "rb") as file:
            if foreign_kind(file.read(HEAD)) not in ("heic", "raw"):
                return tags
        source = Path(source).read_bytes()
    kind = foreign_kind(source)
    if kind in ("heic", "raw"):
        tags.load(foreign_exif(source, kind) or b"")
    return tags


def _directories(tags: Image.Exif) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
    """Return the main directory, the camera's and that of the place; Pillow reads them from the open file."""
    return dict(tags), _directory(tags, _CAMERA), _directory(tags, _GPS)


def _directory(tags: Image.Exif, pointer: int) -> dict[int, Any]:
    """Return a directory of EXIF; one that is damaged is empty and leaves the others readable."""
    try:
        return dict(tags.get_ifd(pointer))
    except Exception:
        return {}


def _time(tags: Mapping[int, Any]) -> str:
    for time_tag, fraction_tag, zone_tag in (_ORIGINAL, _DIGITIZED):
        match = _TIME.match(str(tags.get(time_tag, "")))
        # Cameras whose clock was never set, or lost power, write times that do not exist.
        if match and _exists(match):
            fraction = re.match(r"\d{1,6}", str(tags.get(fraction_tag, "")), re.ASCII)
            zone = _ZONE.match(str(tags.get(zone_tag, "")))
            return (
                f"{match[1]}-{match[2]}-{match[3]}T{match[4]}"
                + (f".{fraction[0]}" if fraction else "")
                + (zone[0] if zone else "")
            )
    return ""


def _exists(match: re.Match[str]) -> bool:
    try:
        datetime.fromisoformat(f"{match[1]}-{match[2]}-{match[3]}T{match[4]}")
    except ValueError:
        return False
    return match[0].isascii()


def _coordinates(gps: Mapping[int, Any]) -> tuple[float | None, float | None]:
    # "V" is a receiver without a fix, which repeats its last position.
    if _text(gps.get(_GPS_STATUS)).upper() == "V":
        return None, None
    latitude = _degrees(gps, _GPS_LATITUDE, "NS", 90.0)
    longitude = _degrees(gps, _GPS_LONGITUDE, "EW", 180.0)
    # Receivers also write zeros for a missing position.
    if latitude is None or longitude is None or latitude == longitude == 0:
        return None, None
    return latitude, longitude


def _degrees(gps: Mapping[int, Any], tags: tuple[int, int], signs: str, most: float) -> float | None:
    """Return signed degrees of (degrees, minutes, seconds); None without the hemisphere, or out of range."""
    reference, parts = _text(gps.get(tags[0])).upper()[:1], gps.get(tags[1])
    if not reference or reference not in signs or not isinstance(parts, tuple) or len(parts) != 3:
        return None
    degrees, minutes, seconds = map(_number, parts)
    value = degrees + minutes / 60 + seconds / 3600
    # NaN fails each comparison.
    if not (degrees >= 0 and 0 <= minutes < _MINUTE and 0 <= seconds < _MINUTE and value <= most):
        return None
    return round(-value if reference == signs[1] else value, 7)


def _altitude(gps: Mapping[int, Any]) -> float | None:
    value = _number(gps.get(_GPS_ALTITUDE[1]))
    below_sea = gps.get(_GPS_ALTITUDE[0]) in (1, b"\x01")
    value = -value if below_sea else value
    return round(value, 2) if _ALTITUDES[0] <= value <= _ALTITUDES[1] else None


def _number(value: Any) -> float:
    """Return a rational or number, NaN for anything else and for a denominator of zero."""
    try:
        return float(value)
    except (TypeError, ValueError, ArithmeticError):
        return math.nan


def _camera(make: str, model: str) -> str:
    """Join make and model, whose first word is often the make again: NIKON CORPORATION, NIKON D850."""
    if make and model and model.split()[0].casefold() == make.split()[0].casefold():
        return model
    return f"{make} {model}".strip()


def _text(value: Any) -> str:
    """Return a text tag in one line, "" for one that is no text, not printable or too long."""
    if not isinstance(value, str):
        return ""
    text = value.split("\0")[0]
    try:
        # Pillow reads each byte as a character; many cameras write UTF-8.
        text = text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        pass
    text = " ".join(text.split())
    return text if text.isprintable() and len(text) <= _LONGEST_NAME else ""
