"""Macro F1 of multi-label predictions, with a vectorized bootstrap.

F1 of an output is 2 tp / (2 tp + fp + fn), and 0 for an output that is neither true nor predicted anywhere,
as in scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float64, Int


def f1_scores(
    true: Bool[np.ndarray, "n out"], predicted: Bool[np.ndarray, "n out"]
) -> Float64[np.ndarray, " out"]:
    """F1 of each output."""
    both = np.count_nonzero(true & predicted, axis=0)
    return _f1(both, np.count_nonzero(true, axis=0) + np.count_nonzero(predicted, axis=0))


def resampled_macro_f1(
    true: Bool[np.ndarray, "n out"], predicted: Bool[np.ndarray, "seeds n out"]
) -> Callable[[Int[np.ndarray, " n"]], float]:
    """Macro F1, averaged over seeds, as a function of the number of times that each image was drawn."""
    # Float products run many times faster than integer ones; counts up to 2**24 stay exact.
    both = np.concatenate([true & one_seed for one_seed in predicted], axis=1).astype(np.float32)
    sizes = np.concatenate([true + one_seed.astype(np.float32) for one_seed in predicted], axis=1)

    def macro_f1(draws: Int[np.ndarray, " n"]) -> float:
        weights = draws.astype(np.float32)
        return float(_f1(weights @ both, weights @ sizes).mean())

    return macro_f1


def _f1(both: np.ndarray, sizes: np.ndarray) -> Float64[np.ndarray, " out"]:
    """F1 from counts: `both` is the true positives, `sizes` the true plus the predicted images."""
    return np.divide(2.0 * both, sizes, out=np.zeros(len(both)), where=sizes > 0, dtype=np.float64)
