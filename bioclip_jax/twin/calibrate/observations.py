"""Counts of a survey as the likelihood takes them: periods × patches × classes, with effort and confusion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import UserError
from bioclip_jax.twin.estimate import BLANK

_SECONDS_PER_DAY = 86_400.0
_KM2_PER_M2 = 1e-6


@dataclass(frozen=True)
class Detectability:
    """Events per day of effort and animal per km², log-normal: exp of a normal(log_mean, log_sd)."""

    log_mean: float
    log_sd: float

    @classmethod
    def of_movement(
        cls,
        speed_m_per_s: float,
        radius_m: float,
        angle_rad: float,
        group_size: float = 1.0,
        *,
        relative_variance: float = 0.0,
    ) -> Detectability:
        """Return that of the random encounter model, v r (2 + θ) / π per day, g animals an encounter.

        Rowcliffe et al. (2008, J. Appl. Ecol. 45:1228). relative_variance: sum of the squared relative
        standard errors of v, r, 2 + θ and g.
        """
        per_second = speed_m_per_s * radius_m * (2 + angle_rad) / math.pi / group_size
        rate = per_second * _SECONDS_PER_DAY * _KM2_PER_M2
        return cls(math.log(rate), math.sqrt(relative_variance))


@dataclass(frozen=True)
class Observations:
    """Counted events by period, patch and class.

    classes: species, by their names in the community, and maybe, as the last, "blank" for events without an
    animal.
    counts: events as they were labeled; nan where there was no effort. effort_days: 0 for no effort.
    start_day, end_day: of the periods, in days since the community's start.
    dirichlet: parameters of the Dirichlet posterior of each row of P(predicted | true), in events; None if
    every label is right. labeled_share: share of a patch's events that people labeled, without error.
    detectability: of the species where it is known from elsewhere, as from movement.
    """

    classes: tuple[str, ...]
    counts: Float[np.ndarray, "periods patches classes"]
    effort_days: Float[np.ndarray, "periods patches"]
    start_day: Float[np.ndarray, " periods"]
    end_day: Float[np.ndarray, " periods"]
    dirichlet: Float[np.ndarray, "true predicted"] | None = None
    labeled_share: Float[np.ndarray, " patches"] | None = None
    detectability: Mapping[str, Detectability] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if BLANK in self.classes[:-1]:
            raise ValueError(f"the class {BLANK!r} must be the last")
        if not (self.effort_days > 0).any():
            raise UserError("no period has any effort; without effort counts say nothing")
        if (self.start_day < 0).any():
            raise UserError("a period begins before the twin's start; start the twin earlier, or drop it")

    @property
    def species(self) -> tuple[str, ...]:
        """Classes that are species."""
        return tuple(name for name in self.classes if name != BLANK)

    @property
    def last_day(self) -> float:
        """End of the last period, days since the community's start."""
        return float(self.end_day.max())

    @property
    def observed(self) -> np.ndarray:
        """True for periods and patches with effort, [periods patches]."""
        return self.effort_days > 0


def period_weights(
    start_day: Float[np.ndarray, " periods"],
    end_day: Float[np.ndarray, " periods"],
    times: Float[np.ndarray, " times"],
) -> Float[np.ndarray, "periods times"]:
    """Return the weights of a path's values at `times` in its mean over each period.

    The path is linear between the times; a period of no length has its value at that time. Every period
    must lie within the times.
    """
    # The integral of a linear interpolant from the first time to t is linear in its values: the columns.
    widths = np.diff(times)

    def integral(until: Float[np.ndarray, " periods"]) -> Float[np.ndarray, "periods times"]:
        covered = np.clip(until[:, None] - times[:-1], 0, widths)
        right = covered**2 / (2 * widths)
        weights = np.zeros((len(until), len(times)))
        weights[:, :-1] += covered - right
        weights[:, 1:] += right
        return weights

    length = end_day - start_day
    # Far shorter than any change of biomass.
    end = np.where(length > 0, end_day, start_day + 1e-3)
    start = np.where(end > times[-1], start_day - 1e-3, start_day)
    end = np.minimum(end, times[-1])
    return (integral(end) - integral(start)) / (end - start)[:, None]
