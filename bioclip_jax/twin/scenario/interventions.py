"""Changes that the events of a scenario make to the conditions of each interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from bioclip_jax.twin.community import Community
from bioclip_jax.twin.world import Twin

from .events import Crossing, Event, Habitat, Harvest, Introduce, Remove, Scenario, WaterPoint, Weather
from .timeline import Timeline


@dataclass(frozen=True)
class Interventions:
    """Changes of conditions by interval, the same for all members; as the fields of Conditions.

    rain_factor; rain_given: relative to a mean month, NaN where the climate applies. warming: K.
    temperature_given: K, NaN where the climate applies.
    """

    rain_factor: Float[np.ndarray, "intervals patches"]
    rain_given: Float[np.ndarray, "intervals patches"]
    warming: Float[np.ndarray, "intervals patches"]
    temperature_given: Float[np.ndarray, "intervals patches"]
    harvest: Float[np.ndarray, "intervals patches species"]
    capacity: Float[np.ndarray, "intervals patches species"]
    open: Float[np.ndarray, "intervals patches patches species"]
    keep: Float[np.ndarray, "intervals patches species"]
    add: Float[np.ndarray, "intervals patches species"]

    @classmethod
    def none(cls, timeline: Timeline, patches: int, species: int) -> Interventions:
        """Return no changes."""
        weather = (len(timeline.edges) - 1, patches)
        return cls(
            rain_factor=np.ones(weather),
            rain_given=np.full(weather, np.nan),
            warming=np.zeros(weather),
            temperature_given=np.full(weather, np.nan),
            harvest=np.zeros((*weather, species)),
            capacity=np.ones((*weather, species)),
            open=np.ones((*weather, patches, species)),
            keep=np.ones((*weather, species)),
            add=np.zeros((*weather, species)),
        )


def interventions(
    scenario: Scenario | None, twin: Twin, community: Community, timeline: Timeline
) -> Interventions:
    """Return the changes that a scenario makes; None is the baseline, without any."""
    changes = Interventions.none(timeline, len(twin.patches), len(twin.species))
    for event in () if scenario is None else scenario.events:
        _apply(event, changes, twin, community, timeline)
    return changes


def _apply(
    event: Event, changes: Interventions, twin: Twin, community: Community, timeline: Timeline
) -> None:
    """Enter an event into the arrays of the changes."""
    when = timeline.within(event.start, event.end)
    at = when.start
    match event:
        case Remove():
            changes.keep[at][np.ix_(event.patches, event.species)] *= 1 - event.share
        case Introduce():
            changes.add[at, event.patch, event.species] += event.kg / twin.patches[event.patch].area_km2
        case Harvest():
            for species, rate in zip(event.species, event.rates_per_day, strict=True):
                changes.harvest[when, list(event.patches), species] += rate
        case Habitat():
            for species in event.species:
                changes.capacity[when, list(event.patches), species] *= event.capacity
        case Weather():
            _apply_weather(event, changes, twin, timeline, when)
        case WaterPoint():
            others = [patch for patch in range(len(twin.patches)) if patch != event.patch]
            for species in event.species:
                changes.open[when, others, event.patch, species] *= event.attraction**0.5
                changes.open[when, event.patch, others, species] /= event.attraction**0.5
        case Crossing():
            _apply_crossing(event, changes, community, when)


def _apply_weather(
    event: Weather, changes: Interventions, twin: Twin, timeline: Timeline, when: slice
) -> None:
    patches = list(event.patches)
    if event.series is None:
        if event.quantity == "rain":
            changes.rain_factor[when, patches] *= event.change
        else:
            changes.warming[when, patches] += event.change
        return
    given = changes.rain_given if event.quantity == "rain" else changes.temperature_given
    mean = twin.climate.rain_mm.mean(axis=0)[patches] if event.quantity == "rain" else 1.0
    for interval in range(when.start, when.stop):
        day = timeline.edges[interval]
        given[interval, patches] = event.series[day.year, day.month] / np.where(mean > 0, mean, 1.0)


def _apply_crossing(event: Crossing, changes: Interventions, community: Community, when: slice) -> None:
    """Hold back those that would cross, and take the share that dies out of the patch they come from."""
    movement, dispersal = np.asarray(community.movement), np.asarray(community.dispersal)
    for species in event.species:
        reached = changes.open[when, :, :, species]
        crossing = (reached * movement * event.separated).sum(axis=2)
        changes.harvest[when, :, species] += crossing * dispersal[species] * event.dying
        changes.open[when, :, :, species] = np.where(event.separated, reached * event.crossing, reached)
