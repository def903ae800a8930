"""Effects of a scenario on each species: log ratios over an ensemble, their intervals and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

DECLINES, INCREASES = "declines", "increases"
LITTLE, UNDECIDED = "little change", "the data cannot tell"

# Log ratios that the solver's errors can make; they are reported as 0.
_RESOLUTION = 1e-4
# A change by less, up or down, is little.
_LITTLE = np.log(1.05)
# Of all pairs of members of two runs that are not paired, at most so many for each member.
_PARTNERS = 100
_MONTHS = 12


def log_ratios(
    with_: Float[np.ndarray, "members species"],
    without: Float[np.ndarray, "others species"],
    floor: Float[np.ndarray, " species"],
    *,
    paired: bool,
) -> Float[np.ndarray, "pairs species"]:
    """Return log(with / without) by member if paired, else of many pairs of a member and another.

    floor: biomass that an extinct species counts as, kg/km².
    """
    above, below = (np.log(np.maximum(biomass, floor)) for biomass in (with_, without))
    if paired:
        ratios = above - below
    else:
        shifts = np.unique(np.linspace(0, len(below) - 1, _PARTNERS).astype(int))
        rows = np.arange(len(above))
        ratios = np.concatenate([above - below[(rows + shift) % len(below)] for shift in shifts])
    return np.where(np.abs(ratios) < _RESOLUTION, 0.0, ratios)


def variances(
    with_: Float[np.ndarray, "members species"],
    without: Float[np.ndarray, "members species"],
    floor: Float[np.ndarray, " species"],
) -> tuple[Float[np.ndarray, " species"], Float[np.ndarray, " species"]]:
    """Return the variance of log ratios of paired members, and of members drawn independently.

    The latter is Var(log with) + Var(log without).
    """
    above, below = (np.log(np.maximum(biomass, floor)) for biomass in (with_, without))
    return (above - below).var(axis=0, ddof=1), above.var(axis=0, ddof=1) + below.var(axis=0, ddof=1)


def quasi_extinct(
    path: Float[np.ndarray, "members times species"],
    start: Float[np.ndarray, "members species"],
    share: float,
) -> Float[np.ndarray, " species"]:
    """Return the share of members in which a species is ever below a share of its start, or ends extinct.

    Biomass is averaged over 12 months, so that a dry season is no extinction.
    """
    width = min(_MONTHS, path.shape[1] - 1)
    sums = np.cumsum(path, axis=1)
    yearly = (sums[:, width:] - sums[:, :-width]) / width
    low = (yearly < share * start[:, None]).any(axis=1)
    return (low | (path[:, -1] == 0)).mean(axis=0)


def effect(ratios: Float[np.ndarray, " pairs"]) -> dict[str, Any]:
    """Return median, 50 and 90 % interval, probability of decline and verdict of a species' log ratios."""
    lower, lower_50, median, upper_50, upper = map(float, np.quantile(ratios, [0.05, 0.25, 0.5, 0.75, 0.95]))
    return {
        "log_ratio": {
            "median": median,
            "lower": lower,
            "upper": upper,
            "lower_50": lower_50,
            "upper_50": upper_50,
        },
        "ratio": float(np.exp(median)),
        "probability_of_decline": float((ratios < 0).mean()),
        "verdict": verdict(lower, upper),
    }


def verdict(lower: float, upper: float) -> str:
    """Return in words what a 90 % interval of a log ratio says; an end at 0 decides no direction."""
    if lower < 0 < upper:
        return UNDECIDED
    if -_LITTLE < lower and upper < _LITTLE:
        return LITTLE
    if lower <= 0 <= upper:
        return UNDECIDED
    return DECLINES if lower < 0 else INCREASES


def no_change(
    ratios: Float[np.ndarray, "pairs species"], verdicts: list[str], observed: Mapping[int, float]
) -> dict[str, Any]:
    """Return how well predicting no change does, against predicting the medians.

    Errors are mean absolute errors of log ratios over species and members: what is to be expected if the
    ensemble is right. skill: 1 - error of the medians / error of no change; 0 is no better, 1 perfect.
    observed: log ratios by species; with some, the errors against them are there too.
    """
    medians = np.median(ratios, axis=0)
    result: dict[str, Any] = {
        "expected": _skill(np.abs(ratios).mean(), np.abs(ratios - medians).mean()),
        "undecided": verdicts.count(UNDECIDED) / len(verdicts),
        "observed": None,
    }
    if observed:
        index, truth = list(observed), np.array(list(observed.values()))
        lower, upper = np.quantile(ratios[:, index], [0.05, 0.95], axis=0)
        result["observed"] = {
            **_skill(np.abs(truth).mean(), np.abs(truth - medians[index]).mean()),
            "species": len(index),
            "signs_right": float((np.sign(truth) == np.sign(medians[index])).mean()),
            "covered": float(((lower <= truth) & (truth <= upper)).mean()),
        }
    return result


def _skill(no_change: float, medians: float) -> dict[str, float | None]:
    return {
        "error_of_no_change": float(no_change),
        "error_of_medians": float(medians),
        "skill": float(1 - medians / no_change) if no_change > 0 else None,
    }
