"""Simulated camera-trap surveys with planted truth, named by a classifier of given score vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class SimulatedSurvey:
    """A survey as a machine has named it, and its truth.

    Classes are the species and, last, false triggers ("blank") where the pools have them. `detected`: days
    with an event named as the class; `events`: events named as the class; `verified`: counts of (true,
    named) in the random subset that a person has checked. `occupied` and `true_events` by site, and
    `occupancy` and `events_per_day` (the mean over sites, occupied or not) as planted.
    """

    effort: Float[np.ndarray, "sites days"]
    detected: Bool[np.ndarray, "classes sites days"]
    events: Int[np.ndarray, "sites classes"]
    verified: Int[np.ndarray, "classes classes"]
    true_events: Int[np.ndarray, "sites classes"]
    occupied: Bool[np.ndarray, "sites classes"]
    occupancy: Float[np.ndarray, " classes"]
    events_per_day: Float[np.ndarray, " classes"]


def simulate_survey(
    pools: Sequence[Float[np.ndarray, "events classes"]],
    occupancy: Float[np.ndarray, " classes"],
    rate: Float[np.ndarray, " classes"],
    *,
    sites: int,
    days: int,
    verified: int,
    rate_shape: float = np.inf,
    rng: np.random.Generator,
) -> SimulatedSurvey:
    """Simulate a survey whose events are named by score vectors drawn from `pools`.

    pools: for each true class, score vectors of held-out events of that class; an event is named by the
      largest entry. rate: events a day at an occupied site, on average; each site's own rate is a gamma
      variable of shape `rate_shape` about it (infinite: the same everywhere). Each camera runs a random
      stretch of the days, with shorter first and last days and a failure in some.
    """
    classes = len(pools)
    effort = _effort(sites, days, rng)
    occupied = rng.random((sites, classes)) < occupancy
    site_rate = np.broadcast_to(rate, (sites, classes))
    if np.isfinite(rate_shape):
        site_rate = site_rate * rng.gamma(rate_shape, 1 / rate_shape, (sites, classes))
    true = rng.poisson((occupied * site_rate)[:, :, None] * effort[:, None, :])
    site, kind, day = (np.repeat(index, true[true > 0]) for index in np.nonzero(true))
    named = np.empty(len(kind), np.int64)
    for number, pool in enumerate(pools):
        own = np.flatnonzero(kind == number)
        named[own] = pool.argmax(axis=1)[rng.integers(len(pool), size=len(own))]
    events = np.zeros((sites, classes), np.int64)
    np.add.at(events, (site, named), 1)
    detected = np.zeros((classes, sites, days), bool)
    detected[named, site, day] = True
    checked = rng.permutation(len(kind))[:verified]
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (kind[checked], named[checked]), 1)
    return SimulatedSurvey(
        effort=effort,
        detected=detected,
        events=events,
        verified=table,
        true_events=true.sum(axis=2),
        occupied=occupied,
        occupancy=occupancy,
        events_per_day=occupancy * rate,
    )


def _effort(sites: int, days: int, rng: np.random.Generator) -> Float[np.ndarray, "sites days"]:
    """Return the share of each day that each camera runs; one in ten fails in the second half."""
    effort = np.ones((sites, days))
    start, end = rng.integers(0, days // 5 + 1, (2, sites))
    day = np.arange(days)
    effort[(day < start[:, None]) | (day >= days - end[:, None])] = 0
    effort[np.arange(sites), start] = rng.random(sites)
    failed = np.flatnonzero(rng.random(sites) < 0.1)
    failure = rng.integers(days // 2, days, len(failed))
    effort[failed[:, None], day] *= day < failure[:, None]
    return effort
