"""Events that cannot all happen."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from itertools import combinations, permutations

from bioclip_jax.errors import UserError
from bioclip_jax.twin.world import Twin

from .events import Event, Harvest, Introduce, Remove, Weather


def check_consistent(events: Sequence[Event], twin: Twin) -> None:
    """Raise UserError for events that contradict each other."""
    for first, second in combinations(events, 2):
        if isinstance(first, Weather) and isinstance(second, Weather):
            _check_weather(first, second, twin)
    for remove, introduce in permutations(events, 2):
        if isinstance(remove, Remove) and isinstance(introduce, Introduce):
            _check_moment(remove, introduce, twin)
    for event in events:
        if isinstance(event, Harvest):
            _check_harvest(event, events, twin)


def _check_moment(remove: Remove, introduce: Introduce, twin: Twin) -> None:
    """Refuse to remove and introduce a species in a patch on one day, in an order that nobody stated."""
    same_place = introduce.species in remove.species and introduce.patch in remove.patches
    if same_place and remove.start == introduce.start:
        name, patch = twin.species[introduce.species].name, twin.patches[introduce.patch].name
        raise UserError(
            f"{introduce.where} contradicts {remove.label}: {name} is removed and introduced in {patch} on "
            f"{remove.start}; change one's date"
        )


def _check_weather(first: Weather, second: Weather, twin: Twin) -> None:
    shared = sorted(set(first.patches) & set(second.patches))
    start, end = max(first.start, second.start), min(first.end, second.end)
    if first.quantity == second.quantity and shared and start < end:
        raise UserError(
            f"{second.where} contradicts {first.label}: both set the {first.quantity} of "
            f"{twin.patches[shared[0]].name} from {start} to {_last(end)}; shorten one, or write one for both"
        )


def _check_harvest(harvest: Harvest, events: Sequence[Event], twin: Twin) -> None:
    """Refuse a harvest that goes on where a species has been removed and does not come back."""
    for species in harvest.species:
        if any(
            isinstance(event, Introduce) and event.species == species and event.patch in harvest.patches
            for event in events
        ):
            continue
        left, last = set(harvest.patches), None
        for event in events:
            if isinstance(event, Remove) and event.share == 1 and species in event.species:
                if event.start < harvest.end and left & set(event.patches):
                    left -= set(event.patches)
                    last = event if last is None or event.start > last.start else last
        if not left and last is not None:
            raise UserError(
                f"{harvest.where} contradicts {last.label}: {twin.species[species].name} is removed on "
                f"{last.start} and harvested until {_last(harvest.end)}; end the harvest before"
            )


def _last(end: datetime.date) -> datetime.date:
    return end - datetime.timedelta(days=1)
