"""Scenarios of visitors: events by listed species and lettered areas, with bounded numbers."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.twin.scenario import (
    Crossing,
    Event,
    Harvest,
    Introduce,
    Remove,
    Scenario,
    Timeline,
    Weather,
    check_consistent,
    end_of_run,
)
from bioclip_jax.twin.view import patch_labels, patch_order
from bioclip_jax.twin.world import Twin

from .refusals import Refusal

NAME = "what if"
_MOST_EVENTS = 4
_DAYS_PER_YEAR = 365.25
# Percentages: taken out at once, taken each year, and of the usual rain.
_PERCENT = {"remove": (10, 100), "harvest": (1, 90), "rain": (25, 200)}
# Animals are set free by number; lighter ones are not counted.
_COUNTED_G = 10.0
# Heavier animals do not cross a visitor's fence; an assumption.
_FENCED_G = 5000.0
# Animals set free: at most this multiple of those at the start, and never fewer than _LEAST_MOST.
_TIMES_START, _LEAST_MOST, _MOST_INDIVIDUALS = 2, 10, 100_000
_KEYS = {
    "remove": ("species", "percent", "year"),
    "introduce": ("species", "patch", "individuals", "year"),
    "harvest": ("species", "percent", "from", "to"),
    "rain": ("percent", "from", "to"),
    "fence": ("patches", "from", "to"),
}


@dataclass(frozen=True)
class WhatIf:
    """A visitor's scenario. key: the same for equal requests. shown: its events, as the page's JSON."""

    key: str
    scenario: Scenario
    shown: list[dict[str, Any]]


class Menu:
    """The choices of a run's visitors.

    starting: animals of each species at the start, by the twin's order of species.
    """

    def __init__(self, twin: Twin, years: int, starting: Sequence[float], *, precise: bool = False) -> None:
        self._twin, self._years = twin, years
        self._timeline = Timeline.of(twin.start, years)
        self._species = {one.name: number for number, one in enumerate(twin.species)}
        self._patches = dict(zip(patch_labels(twin, precise), patch_order(twin)))
        self._individuals = {
            number: min(max(_LEAST_MOST, round(_TIMES_START * count)), _MOST_INDIVIDUALS)
            for number, (one, count) in enumerate(zip(twin.species, starting))
            if one.kind != "producer" and one.mass_g >= _COUNTED_G
        }
        self._fenced = tuple(
            number
            for number, one in enumerate(twin.species)
            if one.kind != "producer" and one.mass_g > _FENCED_G
        )
        self._kinds = [
            kind
            for kind in _KEYS
            if (kind != "fence" or (self._fenced and len(self._patches) > 1))
            and (kind != "introduce" or self._individuals)
        ]

    def as_json(self) -> dict[str, Any]:
        """Kinds, and the bounds of their numbers; "individuals" by the number of the species."""
        return {
            "kinds": self._kinds,
            "most": _MOST_EVENTS,
            "years": self._years,
            "percent": {kind: list(bounds) for kind, bounds in _PERCENT.items()},
            "individuals": {str(number): most for number, most in self._individuals.items()},
            "fenced_kg": _FENCED_G / 1000,
        }

    def read(self, body: bytes) -> WhatIf:
        """Return the scenario of a request: {"events": [...]}. Raises Refusal."""
        try:
            content = json.loads(body, parse_constant=_no_constant)
            entries = content["events"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Refusal("json") from None
        if content.keys() != {"events"} or not isinstance(entries, list):
            raise Refusal("json")
        if not entries:
            raise Refusal("none")
        if len(entries) > _MOST_EVENTS:
            raise Refusal("many", most=_MOST_EVENTS)
        events, shown = [], []
        for number, entry in enumerate(entries, 1):
            event, texts = self._event(_Entry(number, entry, self._kinds))
            events.append(event)
            shown.append(texts)
        try:
            check_consistent(events, self._twin)
        except UserError:
            # Its message names the real place.
            raise Refusal("contradiction") from None
        key = json.dumps(entries, sort_keys=True)
        return WhatIf(key, Scenario(NAME, "", tuple(events)), shown)

    def _event(self, entry: _Entry) -> tuple[Event, dict[str, Any]]:
        everywhere = tuple(range(len(self._twin.patches)))
        base = {"where": entry.kind, "label": entry.kind} | self._when(entry)
        shown: dict[str, Any] = {"kind": entry.kind, "species": []}
        if "species" in entry.keys:
            name = entry.values["species"]
            species = self._species.get(name) if isinstance(name, str) else None
            if species is None or (entry.kind == "introduce" and species not in self._individuals):
                raise Refusal("species", event=entry.number)
            shown["species"] = [species]
        percent = entry.number_of("percent", *_PERCENT[entry.kind]) if "percent" in entry.keys else 0
        match entry.kind:
            case "remove":
                share = percent / 100
                event = Remove(**base, species=(species,), patches=everywhere, share=share)
                return event, shown | {"share": share}
            case "harvest":
                rate = -math.log(1 - percent / 100) / _DAYS_PER_YEAR
                return Harvest(**base, species=(species,), patches=everywhere, rates_per_day=(rate,)), shown
            case "introduce":
                count = entry.number_of("individuals", 1, self._individuals[species])
                (patch,) = self._areas(entry, [entry.values["patch"]])
                kg = count * self._twin.species[species].mass_g / 1000
                return Introduce(**base, species=species, patch=patch, kg=kg), shown
            case "rain":
                event = Weather(**base, quantity="rain", patches=everywhere, change=percent / 100)
                return event, shown | {"factor": percent / 100}
            case _:
                inside = self._areas(entry, entry.values["patches"])
                if len(inside) == len(everywhere):
                    raise Refusal("patches", event=entry.number)
                within = np.isin(np.arange(len(everywhere)), inside)
                separated = within[:, None] != within[None]
                event = Crossing(**base, species=self._fenced, separated=separated, crossing=0.0, dying=0.0)
                return event, shown

    def _when(self, entry: _Entry) -> dict[str, datetime.date]:
        if "year" in entry.keys:
            return dict.fromkeys(("start", "end"), self._day(entry.number_of("year", 1, self._years)))
        first, last = (entry.number_of(key, 1, self._years) for key in ("from", "to"))
        if last < first:
            raise Refusal("period", event=entry.number)
        return {"start": self._day(first), "end": self._day(last + 1)}

    def _day(self, year: int) -> datetime.date:
        """Return the first edge of a year of the run, 1 for the first; edges cost no further intervals."""
        day = end_of_run(self._timeline.start, year - 1)
        return next(edge for edge in self._timeline.edges if edge >= day)

    def _areas(self, entry: _Entry, labels: Any) -> tuple[int, ...]:
        valid = isinstance(labels, list) and 0 < len(labels) <= len(self._patches)
        if not valid or not all(isinstance(label, str) and label in self._patches for label in labels):
            raise Refusal("patches", event=entry.number)
        return tuple(sorted({self._patches[label] for label in labels}))


class _Entry:
    """One event of a request. number: from 1. keys: of its values beside the kind."""

    def __init__(self, number: int, values: Any, kinds: Sequence[str]) -> None:
        kind = values.get("kind") if isinstance(values, dict) else None
        if not isinstance(kind, str) or kind not in kinds:
            raise Refusal("kind", event=number, choices=", ".join(kinds))
        self.number, self.kind, self.keys = number, kind, _KEYS[kind]
        self.values: Mapping[str, Any] = values
        if values.keys() != {"kind", *self.keys}:
            raise Refusal("keys", event=number, choices=", ".join(("kind", *self.keys)))

    def number_of(self, key: str, least: int, most: int) -> int:
        """Return a whole number within bounds."""
        value = self.values[key]
        if type(value) is not int or not least <= value <= most:
            raise Refusal("number", event=self.number, key=key, least=least, most=most)
        return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
