"""Times that cameras and tables write."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import NamedTuple

_DATE = r"(?P<year>\d{4})[:/-](?P<month>\d\d)[:/-](?P<day>\d\d)"
# Timelapse has written 30-May-2020 in a column of its own.
_NAMED_DATE = r"(?P<day2>\d\d?)-(?P<name>[A-Za-z]{3})-(?P<year2>\d{4})"
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?"
_ZONE = r"(?P<zone>Z|[+-]\d\d:?\d\d)?"
_TIME = re.compile(rf"(?:{_DATE}|{_NAMED_DATE})[T ]\s*{_CLOCK}\s*{_ZONE}", re.ASCII)
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


class Moment(NamedTuple):
    """A time as ISO 8601 and in microseconds since 1970.

    local: by the clock of the camera. instant: of UTC, None without a zone.
    """

    text: str
    local: int
    instant: int | None


def parse_time(text: str) -> Moment | None:
    """Return the time of a text, None if it is no time or does not exist.

    ISO 8601 with T or a blank, also with the colons of EXIF or slashes; seconds and the zone are optional.
    Without a time of day it is None, as is 5/6/2020, whose month is uncertain.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    part = match.groupdict()
    try:
        month = int(part["month"] or _MONTHS.index(part["name"].lower()) + 1)
        local = datetime(
            int(part["year"] or part["year2"]),
            month,
            int(part["day"] or part["day2"]),
            int(part["hour"]),
            int(part["minute"]),
            int(part["second"] or 0),
            int((part["fraction"] or "")[:6].ljust(6, "0")),
        )
        zone = "" if part["zone"] is None else _zone(part["zone"])
        instant = None
        if zone:
            offset = datetime.fromisoformat(f"2000-01-01T00:00:00{zone}").utcoffset() or timedelta()
            instant = (local - _EPOCH - offset) // _MICROSECOND
    except (ValueError, OverflowError):
        return None
    timespec = "microseconds" if local.microsecond else "seconds"
    return Moment(local.isoformat(timespec=timespec) + zone, (local - _EPOCH) // _MICROSECOND, instant)


def _zone(text: str) -> str:
    return text if text == "Z" or ":" in text else f"{text[:3]}:{text[3:]}"
