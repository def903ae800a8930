"""Linear heads on frozen image vectors: names, centroids, discriminants of a shared covariance, logistic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

# Shrinkage of the discriminant's covariance: at 1 only distances to the centroids count.
SHRINKAGES = (0.02, 0.1, 0.3, 0.6, 1.0)
# Inverse strengths of the logistic regression's penalty, strongest penalty first, for features of variance 1.
INVERSE_STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2, 1e-1)
# Photographs times classes times dimensions up to which logistic regressions take seconds on two cores.
MOST_LOGISTIC = 1 << 27
_LOGISTIC_STEPS = 200


class Linear(NamedTuple):
    """logits = features @ weights + bias."""

    weights: Float[np.ndarray, "dim classes"]
    bias: Float[np.ndarray, " classes"]

    def __call__(self, features: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n classes"]:
        """Return the logits of vectors."""
        return features @ self.weights + self.bias


def weighted_sum(heads: Sequence[Linear], weights: Sequence[float]) -> Linear:
    """Return the head whose logits are the weighted sum of the heads' logits, centered over the classes."""
    total = Linear(
        sum(weight * head.weights for head, weight in zip(heads, weights)),
        sum(weight * head.bias for head, weight in zip(heads, weights)),
    )
    # A constant added to all logits changes no probability; without it float32 keeps more digits.
    return Linear(total.weights - total.weights.mean(axis=1, keepdims=True), total.bias - total.bias.mean())


def name_head(texts: Float32[np.ndarray, "classes dim"], logit_scale: float) -> Linear:
    """Return the zero-shot head of the classes' unit text vectors."""
    return Linear(logit_scale * texts.T.astype(np.float64), np.zeros(len(texts)))


def centroid_head(
    features: Float32[np.ndarray, "n dim"], labels: Int[np.ndarray, " n"], classes: int, logit_scale: float
) -> Linear:
    """Return the head whose logits are scaled squared distances to the classes' mean vectors, negative.

    For unit vectors x and means m: -|x - m|^2 / 2 = x m - |m|^2 / 2 - 1/2.
    """
    means = _class_means(features, labels, classes)
    return Linear(logit_scale * means.T, -0.5 * logit_scale * (means**2).sum(axis=1))


class Discriminants:
    """Linear discriminants of Gaussian classes with one covariance and equal priors, for any shrinkage.

    The covariance within classes is shrunk towards its mean variance (Ledoit and Wolf 2004; Hastie et al.,
    The Elements of Statistical Learning, 4.3.1), which makes it a ridge: one eigendecomposition serves all.
    """

    def __init__(
        self, features: Float32[np.ndarray, "n dim"], labels: Int[np.ndarray, " n"], classes: int
    ) -> None:
        self._means = _class_means(features, labels, classes)
        self._center = self._means.mean(axis=0)
        within = features - self._means[labels]
        degrees = max(len(features) - len(np.unique(labels)), 1)
        covariance = within.T.astype(np.float64) @ within / degrees
        self._mean_variance = max(float(np.trace(covariance)) / len(covariance), 1e-12)
        self._variances, self._axes = np.linalg.eigh(covariance)

    def head(self, shrinkage: float) -> Linear:
        """Return the discriminant functions at a shrinkage above 0 and up to 1."""
        variances = (1 - shrinkage) * np.maximum(self._variances, 0) + shrinkage * self._mean_variance
        centered = self._means - self._center
        weights = self._axes @ ((centered @ self._axes) / variances).T
        # -(x - m)' S^-1 (x - m) / 2 without its part that all classes share, for x and m from the center.
        bias = -0.5 * np.einsum("cd,dc->c", centered, weights) - self._center @ weights
        return Linear(weights, bias)


def logistic_heads(
    features: Float32[np.ndarray, "n dim"],
    labels: Int[np.ndarray, " n"],
    classes: int,
    inverse_strengths: Sequence[float] = INVERSE_STRENGTHS,
) -> list[Linear]:
    """Return multinomial logistic regressions of balanced classes, one for each inverse strength.

    inverse_strengths: C of scikit-learn, ascending, since each fit starts from the one before.
    """
    from sklearn.linear_model import LogisticRegression

    center = features.mean(axis=0, dtype=np.float64)
    # One scale for all dimensions: the vectors' own geometry is the prior.
    scale = max(float(np.sqrt(features.var(axis=0, dtype=np.float64).mean())), 1e-12)
    inputs = ((features - center) / scale).astype(np.float32)
    model = LogisticRegression(
        max_iter=_LOGISTIC_STEPS, tol=1e-3, class_weight="balanced", warm_start=True, random_state=0
    )
    heads = []
    for inverse_strength in inverse_strengths:
        model.set_params(C=inverse_strength).fit(inputs, labels)
        weights, bias = model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)
        if classes == 2:  # one logit, of the second class
            weights, bias = np.hstack([-weights, weights]) / 2, np.array([-bias[0], bias[0]]) / 2
        heads.append(Linear(weights / scale, bias - center @ weights / scale))
    return heads


def _class_means(
    features: Float32[np.ndarray, "n dim"], labels: Int[np.ndarray, " n"], classes: int
) -> Float[np.ndarray, "classes dim"]:
    sums = np.zeros((classes, features.shape[1]))
    np.add.at(sums, labels, features)
    return sums / np.maximum(np.bincount(labels, minlength=classes), 1)[:, None]
