"""Times in the EXIF of photographs, read in parallel threads and kept in a journal."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from bioclip_jax.predict import track

_IFD = 0x8769
# Tags of a time, its fraction of a second, and its zone.
_ORIGINAL = (0x9003, 0x9291, 0x9011)
_DIGITIZED = (0x9004, 0x9292, 0x9012)
_TIME = re.compile(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d:\d\d:\d\d)")
_ZONE = re.compile(r"[+-](?:0\d|1[0-4]):[0-5]\d|Z")
_CHUNK = 256
# Most of the time is spent waiting for disks and networks.
_THREADS = 16


def read_exif_times(paths: Sequence[str], journal: Path) -> list[str]:
    """Return each photograph's time as YYYY-MM-DDTHH:MM:SS, with the fraction and zone if given; "" for none.

    DateTimeOriginal, or without it DateTimeDigitized. Only the headers of files are read; one that cannot be
    read has no time. journal: a file of finished chunks, from which a killed run of the same paths resumes.
    """
    digest = hashlib.sha256("\0".join(paths).encode()).hexdigest()
    times, size = _finished(journal, digest)
    remaining = [paths[start : start + _CHUNK] for start in range(len(times), len(paths), _CHUNK)]
    with open(journal, "r+b" if size else "wb") as file, ThreadPoolExecutor(_THREADS) as pool:
        file.seek(size)
        file.truncate()
        if not size:
            file.write(json.dumps(digest).encode() + b"\n")

        def read() -> Iterator[str]:
            for chunk in pool.map(_chunk_times, remaining):
                file.write(json.dumps(chunk).encode() + b"\n")
                file.flush()
                yield from chunk

        try:
            times += track(read(), "reading times", len(paths), done=len(times))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return times


def _finished(journal: Path, digest: str) -> tuple[list[str], int]:
    """Return the times in a journal about the same paths, and its size without a torn last line."""
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    if not lines or json.loads(lines[0]) != digest:
        return [], 0
    return [time for line in lines[1:] for time in json.loads(line)], sum(map(len, lines)) + len(lines)


def _chunk_times(paths: Sequence[str]) -> list[str]:
    return [exif_time(path) for path in paths]


def exif_time(path: str) -> str:
    """Return the time of one photograph, as read_exif_times."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            tags = image.getexif().get_ifd(_IFD)
    except Exception:  # Pillow raises errors of many types; a photograph without a time is counted
        return ""
    for time_tag, fraction_tag, zone_tag in (_ORIGINAL, _DIGITIZED):
        match = _TIME.match(str(tags.get(time_tag, "")))
        # Cameras whose clock was never set, or lost power, write times that do not exist.
        if match and _exists(match):
            fraction = re.match(r"\d{1,6}", str(tags.get(fraction_tag, "")))
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
    return True
