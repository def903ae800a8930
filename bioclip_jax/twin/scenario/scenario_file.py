"""Reading a scenario file: one reader per kind of event."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from bioclip_jax.errors import UserError, did_you_mean
from bioclip_jax.tables import read_table, table_rows
from bioclip_jax.twin.world import FREEZING_K, MONTH_LIMITS, Twin, read_toml

from .contradictions import check_consistent
from .event_table import EventTable
from .events import Crossing, Event, Habitat, Harvest, Introduce, Remove, Scenario, WaterPoint, Weather
from .timeline import next_month

_DAYS_PER_YEAR = 365.25


def read_scenario(path: str | os.PathLike[str], twin: Twin, end: datetime.date) -> Scenario:
    """Read a scenario of a twin whose run ends before the day `end`.

    Raises UserError, which names file and event, for unreadable TOML, unknown keys, kinds, species and
    patches, days outside the run, places outside the map, and events that contradict each other.
    """
    content = read_toml(path, "the scenario", ("name", "description", "events"))
    name = content.text("name", Path(path).stem)
    description = content.text("description", "")
    entries = content.values.get("events")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path} has no [[events]]; add one, with a kind and a date")
    events = []
    for number, entry in enumerate(entries, 1):
        kind, kinds = entry.get("kind"), ", ".join(_READERS)
        if kind is None:
            raise UserError(f"{path}, event {number} has no kind; write one of {kinds}")
        if not isinstance(kind, str) or kind not in _READERS:
            hint = did_you_mean(str(kind), _READERS, f"write one of {kinds}")
            raise UserError(f"{path}, event {number}: unknown kind {kind!r}{hint}")
        keys, read = _READERS[kind]
        label = f"event {number} ({kind})"
        table = EventTable(f"{path}, {label}", entry, Path(path), label, twin, end)
        table.check_keys(("kind", *keys))
        events.append(read(table))
    check_consistent(events, twin)
    return Scenario(name, description, tuple(events), Path(path).read_text(encoding="utf-8-sig"))


def _remove(table: EventTable) -> Event:
    share = table.positive("share", 1, default=1.0)
    return Remove(**_base(table), **table.moment(), **_who_and_where(table), share=share)


def _introduce(table: EventTable) -> Event:
    species = table.single("species", table.species())
    patch = table.single("patch", table.patches("patch"))
    key = table.one_of("individuals", "kg")
    kg = table.positive(key) * (1 if key == "kg" else table.twin.species[species].mass_g / 1000)
    return Introduce(**_base(table), **table.moment(), species=species, patch=patch, kg=kg)


def _harvest(table: EventTable) -> Event:
    who = _who_and_where(table)
    key = table.one_of("rate_per_year", "individuals_per_year")
    amount = table.positive(key)
    area = sum(table.twin.patches[patch].area_km2 for patch in who["patches"])
    rates = []
    for one in (table.twin.species[number] for number in who["species"]):
        if key == "rate_per_year":
            rates.append(amount / _DAYS_PER_YEAR)
            continue
        if not one.reference_biomass:
            raise table.fail(f"{one.name} has no density in species.csv; give rate_per_year")
        # A constant effort: the catch is this at the reference biomass, and follows the biomass.
        rates.append(amount * one.mass_g / 1000 / (one.reference_biomass * area) / _DAYS_PER_YEAR)
    return Harvest(**_base(table), **table.period(), **who, rates_per_day=tuple(rates))


def _fence(table: EventTable) -> Event:
    crossing = table.number("permeability", 0, 1, default=0.0)
    if crossing == 1:
        raise table.error("permeability", "such a fence holds nobody back; lower it, or remove the event")
    free = table.species("except", default=())
    held = tuple(number for number in range(len(table.twin.species)) if number not in free)
    if not held:
        raise table.error("except", "all species cross such a fence; name fewer, or remove the event")
    return Crossing(
        **_base(table),
        **table.period(),
        species=held,
        separated=_separated(table),
        crossing=crossing,
        dying=0.0,
    )


def _road(table: EventTable) -> Event:
    stopped, dying = (table.number(key, 0, 1, default=0.0) for key in ("barrier", "mortality"))
    if not (stopped or dying):
        raise table.fail("no barrier and no mortality, so the road does nothing; give one, from 0 to 1")
    return Crossing(
        **_base(table),
        **table.period(),
        species=table.species(default=range(len(table.twin.species))),
        separated=_separated(table),
        crossing=(1 - stopped) * (1 - dying),
        dying=(1 - stopped) * dying,
    )


def _habitat(table: EventTable) -> Event:
    producers = [number for number, one in enumerate(table.twin.species) if one.kind == "producer"]
    species = table.species(default=producers)
    for number in species:
        if number not in producers:
            raise table.fail(
                f"{table.twin.species[number].name} is not a producer; only producers have a capacity"
            )
    capacity = table.positive("capacity", 100)
    patches = _inside(table) if table.one_of("patches", "polygon") == "polygon" else table.patches()
    return Habitat(**_base(table), **table.period(), species=species, patches=patches, capacity=capacity)


def _rain(table: EventTable) -> Event:
    if table.one_of("factor", "series") == "factor":
        return _weather(table, "rain", change=table.number("factor", 0, 100))
    return _weather(table, "rain", series=_series(table, "rain_mm"))


def _temperature(table: EventTable) -> Event:
    if table.one_of("change_k", "series") == "change_k":
        return _weather(table, "temperature", change=table.number("change_k", -20, 20))
    celsius = _series(table, "temperature_c")
    series = {month: value + FREEZING_K for month, value in celsius.items()}
    return _weather(table, "temperature", series=series)


def _weather(table: EventTable, quantity: str, **change: Any) -> Event:
    return Weather(**_base(table), **table.period(), quantity=quantity, patches=table.patches(), **change)


def _water_point(table: EventTable) -> Event:
    patch = table.single("patch", table.patches("patch"))
    species = table.species()
    for one in (table.twin.species[number] for number in species):
        if not one.dispersal_per_day:
            raise table.fail(f"{one.name} has no dispersal_per_day in species.csv, so water cannot draw it")
    attraction = table.number("attraction", 1, 100)
    return WaterPoint(**_base(table), **table.period(), species=species, patch=patch, attraction=attraction)


# Keys of each kind, and its reader.
_READERS: dict[str, tuple[tuple[str, ...], Callable[[EventTable], Event]]] = {
    "remove": (("species", "date", "patches", "share"), _remove),
    "introduce": (("species", "patch", "date", "individuals", "kg"), _introduce),
    "harvest": (
        ("species", "rate_per_year", "individuals_per_year", "patches", "start", "end"),
        _harvest,
    ),
    "fence": (("points", "permeability", "except", "start", "end"), _fence),
    "road": (("points", "barrier", "mortality", "species", "start", "end"), _road),
    "habitat": (("capacity", "patches", "polygon", "species", "start", "end"), _habitat),
    "rain": (("factor", "series", "patches", "start", "end"), _rain),
    "temperature": (("change_k", "series", "patches", "start", "end"), _temperature),
    "water_point": (("patch", "species", "attraction", "start", "end"), _water_point),
}


def _base(table: EventTable) -> dict[str, str]:
    return {"where": table.where, "label": table.label}


def _who_and_where(table: EventTable) -> dict[str, tuple[int, ...]]:
    return {"species": table.species(), "patches": table.patches()}


def _separated(table: EventTable) -> Bool[np.ndarray, "patches patches"]:
    """Pairs of patches between which the line of a fence or road runs."""
    separated = table.twin.separated_by(table.points_on_map("points"))
    if not separated.any():
        raise table.fail(
            "its line runs between no two patches' centers, so it separates nothing; lengthen it"
        )
    return separated


def _inside(table: EventTable) -> tuple[int, ...]:
    """Patches whose center lies in the polygon."""
    inside = table.twin.inside(table.points_on_map("polygon"))
    if not inside.any():
        raise table.fail("no patch has its center in the polygon; enlarge it, or name the patches")
    return tuple(np.flatnonzero(inside).tolist())


def _series(table: EventTable, column: str) -> dict[tuple[int, int], float]:
    """Monthly values of a CSV, whose path is relative to the scenario's file."""
    path = table.path.parent / table.text("series")
    least, most = MONTH_LIMITS[column]
    try:
        rows = table_rows(read_table(path, ("month",), known=("month", column)))
    except UserError as error:
        raise table.fail(str(error)) from None
    values: dict[tuple[int, int], float] = {}
    for number, row in enumerate(rows, 2):
        match = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])(?:-\d\d)?", str(row.get("month", "")).strip())
        try:
            value = float(row[column])
        except (KeyError, TypeError, ValueError):
            value = float("nan")
        if not match or not least <= value <= most:
            raise table.fail(
                f"{path}, row {number}: write month, as 2031-06, and {column}, from {least:g} to {most:g}"
            )
        month = int(match[1]), int(match[2])
        if month in values:
            raise table.fail(f"{path}, row {number}: {match[0]} is there twice; keep one")
        values[month] = value
    period = table.period()
    day = period["start"]
    while day < period["end"]:
        if (day.year, day.month) not in values:
            raise table.fail(f"{path} has no {day:%Y-%m}; add it, or give start and end of the series")
        day = next_month(day)
    return values
