"""Search of a page for what would tell a real place: coordinates, camera ids and names of places."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bioclip_jax.tables import read_table, table_rows
from bioclip_jax.twin.world import Twin

from .blocks import block_texts, read_blocks

# A number with fewer decimals is found in every page; with these, it is a position to 100 m.
_DECIMALS = 3
# Latitude and longitude of a rounded position stand so near to each other, in characters.
_NEAR = 40
# Shorter words come about by chance in megabytes of trajectories.
_LEAST_IN_ARRAYS = 6
_DEPLOYMENT_NAMES = ("deploymentID", "locationID", "locationName", "cameraID", "deploymentGroups")
_DEPLOYMENT_NUMBERS = ("latitude", "longitude")


@dataclass(frozen=True)
class Secrets:
    """Names and positions that a page must not tell.

    names: of places and cameras. positions: (latitude, longitude) in degrees. meters: positions on the map.
    """

    names: tuple[str, ...] = ()
    positions: tuple[tuple[float, float], ...] = ()
    meters: tuple[float, ...] = ()

    def name_in(self, text: str) -> str | None:
        """Return the first secret name that a text has as a word, or None."""
        folded = text.casefold()
        return next((name for name in self.names if _as_word(name).search(folded)), None)


def secrets_of(twin: Twin, deployments: Path | None = None) -> Secrets:
    """Return the secrets of a twin, and of a table with the columns of Camtrap DP's deployments."""
    names = [twin.name, *(patch.name for patch in twin.patches), *(barrier.name for barrier in twin.barriers)]
    positions = [(patch.latitude, patch.longitude) for patch in twin.patches]
    positions += [point for barrier in twin.barriers for point in barrier.points]
    if twin.extent is not None:
        one = twin.extent
        positions += [
            (one.south, one.west),
            (one.north, one.east),
            (one.south, one.east),
            (one.north, one.west),
        ]
    if deployments is not None:
        rows = list(table_rows(read_table(deployments, ("deploymentID",))))
        names += [str(row[key]) for row in rows for key in _DEPLOYMENT_NAMES if row.get(key)]
        positions += list(_positions(rows))
    meters = [value for patch in twin.patches for value in (patch.x_m, patch.y_m)]
    unique = dict.fromkeys(name.strip() for name in names)
    return Secrets(tuple(name for name in unique if name), tuple(dict.fromkeys(positions)), tuple(meters))


def find_secrets(
    page: str, secrets: Secrets, programs: Sequence[str] = (), allowed: Iterable[str] = ()
) -> list[str]:
    """Return what of the secrets stands in a page or in one of its decoded data blocks.

    Names count as whole words, in any case. Coordinates are searched as text, rounded to three decimals or
    more, or with fewer if latitude and longitude stand together, and as float64 in the blocks. programs:
    parts that are the same in every page. allowed: texts that may hold the word of a place, such as the name
    of a species.
    """
    blocks = read_blocks(page)
    for part in (*programs, *block_texts(page)):
        page = page.replace(part, "")
    texts = {"the page": page} | {
        name: text for name, content in blocks.items() if (text := _as_text(content))
    }
    findings = []
    for where, text in texts.items():
        folded = text.casefold()
        for one in sorted(allowed, key=len, reverse=True):
            folded = folded.replace(one.casefold(), "")
        findings += [f"{name} in {where}" for name in secrets.names if _as_word(name).search(folded)]
        findings += [f"{number} in {where}" for number in _numbers_in(text, secrets)]
    for where, content in blocks.items():
        findings += [f"{one} in {where}" for one in _in_bytes(content, secrets, text=where in texts)]
    return list(dict.fromkeys(findings))


def _in_bytes(content: bytes, secrets: Secrets, *, text: bool) -> Iterator[str]:
    """Yield secrets in the bytes of a block: numbers as float64, and in arrays, names and numbers as text."""
    coordinates = [value for pair in secrets.positions for value in pair]
    for value in {*map(float, coordinates), *secrets.meters} - {0.0}:
        if np.float64(value).tobytes() in content:
            yield repr(value)
    if text:
        return
    lower = content.lower()
    written = {form for value in (*coordinates, *secrets.meters) for form in _written(value)}
    for word in (*secrets.names, *written):
        if len(word) >= _LEAST_IN_ARRAYS and word.lower().encode() in lower:
            yield word


def _as_word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(name.casefold())}(?!\w)")


def _as_text(content: bytes) -> str | None:
    """Return the text of a block of JSON, None of an array."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _numbers_in(text: str, secrets: Secrets) -> list[str]:
    """Return the coordinates that stand in a text."""
    tokens = set(re.findall(r"(?<![\d.])\d+\.\d+", text))
    single = {
        token
        for value in (*(value for pair in secrets.positions for value in pair), *secrets.meters)
        for token in _written(value)
        if len(token.partition(".")[2]) >= _DECIMALS and token in tokens
    }
    pairs = set()
    for latitude, longitude in secrets.positions:
        for one in _written(latitude, 1):
            if one not in tokens:
                continue
            for other in _written(longitude, 1):
                if other in tokens and re.search(_pair(one, other), text):
                    pairs.add(f"{one}, {other}")
    return sorted(single | pairs)


def _written(value: float, least: int = _DECIMALS) -> set[str]:
    """Return a number without its sign as it may be written, at `least` decimals or more."""
    value = abs(value)
    forms = {f"{value:.{decimals}f}" for decimals in range(least, 8)} | {repr(float(value))}
    return {form for form in forms if "." in form and "e" not in form and float(form) != 0}


def _pair(one: str, other: str) -> str:
    """Return a pattern of two numbers, in either order, that stand near each other."""
    first, second = (rf"(?<![\d.]){re.escape(number)}(?!\d)" for number in (one, other))
    between = rf"[^\d]{{1,{_NEAR}}}"
    return f"{first}{between}{second}|{second}{between}{first}"


def _positions(rows: Sequence[Mapping[str, object]]) -> Iterable[tuple[float, float]]:
    for row in rows:
        try:
            latitude, longitude = (float(str(row[key])) for key in _DEPLOYMENT_NUMBERS)
        except (KeyError, ValueError):
            continue
        if np.isfinite([latitude, longitude]).all():
            yield latitude, longitude
