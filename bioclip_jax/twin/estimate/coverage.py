"""Coverage of the intervals of occupancy and relative abundance in simulated surveys (`twin validate`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from .abundance import relative_abundance
from .confusion import Confusion
from .interval import Interval
from .occupancy import fit_occupancy
from .simulate import simulate_survey

# Ranges from which each world draws.
_OCCUPANCY = (0.15, 0.85)
_EVENTS_PER_DAY = (0.05, 0.5)


def coverage_study(
    pools: Sequence[Float[np.ndarray, "events classes"]],
    worlds: int,
    seed: int,
    *,
    sites: int = 60,
    days: int = 60,
    verified: int = 400,
    rate_shape: float = np.inf,
    blank: int | None = None,
    level: float = 0.90,
) -> dict[str, Any]:
    """Simulate worlds, estimate them as a survey, and count the intervals that cover the planted truth.

    pools: held-out score vectors by true class (simulate_survey); blank: the class of false triggers, which
    occur everywhere and are not counted. Each world draws occupancy and events a day of each species anew.
    The naive estimates take predictions as true: occupancy without false positives, and events as predicted.
    Returns {"occupancy", "relative_abundance": {"intervals", "coverage", "naive_coverage", "bias",
      "naive_bias"}, "density_ratio", "naive_density_ratio": estimated over planted events a day, averaged
      over species and worlds}.
    """
    classes = len(pools)
    species = [k for k in range(classes) if k != blank]
    names = tuple(str(k) for k in range(classes))
    rows = []
    for world in range(worlds):
        rng = np.random.default_rng([seed, world])
        occupancy = rng.uniform(*_OCCUPANCY, classes)
        rate = np.exp(rng.uniform(*np.log(_EVENTS_PER_DAY), classes))
        if blank is not None:
            occupancy[blank] = 1.0
        survey = simulate_survey(
            pools,
            occupancy,
            rate,
            sites=sites,
            days=days,
            verified=verified,
            rate_shape=rate_shape,
            rng=rng,
        )
        confusion = Confusion(names, survey.verified)
        effort = survey.effort.sum(axis=1)
        false_positives = confusion.false_positives(survey.events, effort)
        abundance = relative_abundance(survey.events, effort, confusion, level=level, seed=world)
        for k in species:
            corrected, naive = (
                fit_occupancy(survey.detected[k], survey.effort, false_positives=false, level=level).mean
                for false in (false_positives[k], None)
            )
            planted = survey.events_per_day[k] * 100
            rows.append(
                (
                    _judged(corrected, occupancy[k]),
                    _judged(naive, occupancy[k]),
                    _judged(abundance[k].corrected, planted),
                    _judged(abundance[k].naive, planted),
                )
            )
    # Figures by interval: covered, error, ratio to the truth.
    figures = np.array(rows)
    mean = figures.mean(axis=0)
    result: dict[str, Any] = {
        quantity: {
            "intervals": len(figures),
            "coverage": float(mean[first, 0]),
            "naive_coverage": float(mean[first + 1, 0]),
            "bias": float(mean[first, 1]),
            "naive_bias": float(mean[first + 1, 1]),
        }
        for quantity, first in (("occupancy", 0), ("relative_abundance", 2))
    }
    return result | {"density_ratio": float(mean[2, 2]), "naive_density_ratio": float(mean[3, 2])}


def _judged(interval: Interval, truth: float) -> tuple[float, float, float]:
    return float(interval.lower <= truth <= interval.upper), interval.mean - truth, interval.mean / truth
