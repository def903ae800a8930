"""How sure a figure is: 95 % intervals over images, over folds, and by resampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

_LEVEL = 0.95


def share_interval(hits: int, n: int) -> list[float] | None:
    """Of a share of `n` independent images, `hits` of which are right: Wilson's interval (JASA 1927, 22:209).

    None where there is no image.
    """
    if not n:
        return None
    from scipy.special import ndtri

    z = float(ndtri((1 + _LEVEL) / 2))
    share = hits / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return [max(0.0, float(centre - half)), min(1.0, float(centre + half))]


def mean_interval(values: Sequence[float]) -> list[float] | None:
    """Of the mean of a few repetitions (folds, seeds): Student's t. None for fewer than two.

    Folds that draw from the same images are not independent, so the interval tells of the draws, not of new
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
    """Of any figure of `n` images: percentiles over resampled images (Efron 1979). None where there is no image.

    Args: `statistic`, from how often each image was drawn to the figure.
    """
    if not n:
        return None
    random = np.random.default_rng(seed)
    values: Float[np.ndarray, " draws"] = np.array(
        [statistic(np.bincount(random.integers(n, size=n), minlength=n)) for _ in range(draws)]
    )
    low, high = np.quantile(values, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return [float(low), float(high)]
