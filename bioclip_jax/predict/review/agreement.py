"""Agreement of two reviewers who looked at the same photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from bioclip_jax.intervals import bootstrap_interval, wilson_interval
from bioclip_jax.text import name_key

from .corrections import REJECTED, Correction


class Agreement(NamedTuple):
    """Two reviewers' agreement.

    photographs: number that both reviewed. same: number with one outcome, with the 95 % interval of its
    share. kappa: Cohen's, 1 for full agreement and 0 for chance, with its interval; None where chance
    explains all, as if both had one outcome only.
    """

    reviewers: tuple[str, str]
    photographs: int
    same: int
    interval: list[float] | None
    kappa: float | None
    kappa_interval: list[float] | None


def measure_agreement(reviewers: Mapping[str, Sequence[Correction]]) -> list[Agreement]:
    """Compare each pair of reviewers, with one correction of each photograph.

    An outcome is a name, or that there is none. Names that differ in case, blanks or author are the same.
    """
    outcomes = {
        name: {correction.key: _outcome(correction) for correction in corrections}
        for name, corrections in reviewers.items()
    }
    names = list(outcomes)
    pairs = [(one, other) for index, one in enumerate(names) for other in names[index + 1 :]]
    return [_compare((one, other), outcomes[one], outcomes[other]) for one, other in pairs]


def _outcome(correction: Correction) -> str:
    return "" if correction.status == REJECTED else name_key(correction.label)


def _compare(reviewers: tuple[str, str], one: Mapping, other: Mapping) -> Agreement:
    both = [key for key in one if key in other]
    if not both:
        return Agreement(reviewers, 0, 0, None, None, None)
    texts = [one[key] for key in both] + [other[key] for key in both]
    outcomes, codes = np.unique(texts, return_inverse=True)
    first, second = codes.reshape(2, -1)
    same = int((first == second).sum())

    def kappa_of(times: Int[np.ndarray, " n"]) -> float:
        value = kappa(first, second, len(outcomes), times)
        # A draw in which chance explains all says nothing against agreement.
        return 1.0 if value is None else value

    value = kappa(first, second, len(outcomes), np.ones(len(both)))
    interval = None if value is None else bootstrap_interval(kappa_of, len(both))
    return Agreement(reviewers, len(both), same, wilson_interval(same, len(both)), value, interval)


def kappa(
    first: Int[np.ndarray, " n"], second: Int[np.ndarray, " n"], outcomes: int, times: np.ndarray
) -> float | None:
    """Return Cohen's kappa (1960, doi:10.1177/001316446002000104) of photographs that count `times` each."""
    total = times.sum()
    observed = times[first == second].sum() / total
    shares = [np.bincount(codes, times, outcomes) / total for codes in (first, second)]
    expected = float(shares[0] @ shares[1])
    return None if expected >= 1 - 1e-12 else float((observed - expected) / (1 - expected))
