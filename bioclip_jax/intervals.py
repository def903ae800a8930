"""95 % confidence intervals: Wilson over images, Student's t over folds, and the bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

_LEVEL = 0.95


def wilson_interval(hits: int, n: int) -> list[float] | None:
    """Wilson interval of the proportion hits / n (JASA 1927, 22:209); None for n = 0."""
    return list(_wilson(hits, n)) if n else None


# Tables hold one interval per class, and thousands of classes share few pairs of counts.
@lru_cache(maxsize=1 << 14)
def _wilson(hits: int, n: int) -> tuple[float, float]:
    from scipy.stats import binomtest

    low, high = binomtest(hits, n).proportion_ci(_LEVEL, method="wilson")
    return float(low), float(high)


def t_interval(values: Sequence[float]) -> list[float] | None:
    """Student's t interval of the mean of repetitions (folds or seeds); None for fewer than two.

    Folds drawn from the same images are not independent: the interval covers the draw of the folds, not new
    images.
    """
    if len(values) < 2:
        return None
    from scipy.special import stdtrit

    half = float(stdtrit(len(values) - 1, (1 + _LEVEL) / 2)) * np.std(values, ddof=1) / np.sqrt(len(values))
    return [float(np.mean(values) - half), float(np.mean(values) + half)]


def bootstrap_interval(
    statistic: Callable[[Int[np.ndarray, " n"]], float], n: int, *, draws: int = 1000, seed: int = 0
) -> list[float] | None:
    """Percentile bootstrap over `n` images (Efron 1979); None for n = 0.

    `statistic` maps the number of times that each image was drawn to the figure.
    """
    if not n:
        return None
    random = np.random.default_rng(seed)
    values: Float[np.ndarray, " draws"] = np.array(
        [statistic(np.bincount(random.integers(n, size=n), minlength=n)) for _ in range(draws)]
    )
    low, high = np.quantile(values, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return [float(low), float(high)]
