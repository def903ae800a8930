"""Mixtures of heads in logit space: weights and temperature that maximize the held-out likelihood."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def fit_weights(
    logits: Float[np.ndarray, "heads n classes"], labels: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " heads"]:
    """Return the weights, at least 0, of the sum of logits that makes held-out labels most likely.

    The problem is convex. Stacking (Wolpert 1992) and temperature (Guo et al. 2017) in one: a single head's
    weight is its inverse temperature. The labels are smoothed by one photograph in n + 2, so that heads
    without a held-out error get a finite weight (Platt 1999).
    """
    from scipy.optimize import minimize

    heads, n, classes = logits.shape
    # Centered, since a constant over the classes has no effect; of unit variance, for the optimizer.
    logits = logits - logits.mean(axis=2, keepdims=True)
    scales = np.maximum(logits.std(axis=(1, 2)), 1e-12)
    logits = logits / scales[:, None, None]
    share = 1 / (n + 2)
    # Targets are (1 - share) for the label and share for all classes alike, whose centered logits sum to 0.
    expected = (1 - share) * logits[:, np.arange(n), labels].mean(axis=1)

    def objective(weights: Float[np.ndarray, " heads"]) -> tuple[float, Float[np.ndarray, " heads"]]:
        total = np.tensordot(weights, logits, 1)
        largest = total.max(axis=1, keepdims=True)
        exponentials = np.exp(total - largest)
        sums = exponentials.sum(axis=1, keepdims=True)
        value = (np.log(sums) + largest).mean() - weights @ expected
        gradient = np.tensordot(logits, exponentials / sums, 2) / n - expected
        return float(value), gradient

    start = np.full(heads, 1 / heads)
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * heads)
    return found.x / scales


def log_likelihoods(
    logits: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Return the log probability of each label under the softmax."""
    largest = logits.max(axis=1)
    total = np.log(np.exp(logits - largest[:, None]).sum(axis=1))
    return logits[np.arange(len(labels)), labels] - largest - total
