"""A support vector machine chosen by random search: scikit-learn's answer, from one Gram matrix a fold.

Every kernel of the search is a function of the scaled vectors' dot products. So these are computed once for a
fold, not once for each of a hundred draws, and libsvm is given the finished kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

KERNELS = ("rbf", "linear", "sigmoid", "poly")
FOLDS = 5
_DEGREE = 3  # of scikit-learn's polynomial


def search_space() -> dict[str, Any]:
    """What is drawn: C, kernel and gamma."""
    from scipy.stats import loguniform

    return {"C": loguniform(1e-3, 1e1), "kernel": list(KERNELS), "gamma": loguniform(1e-4, 1e-3)}


def draws(count: int, seed: int) -> list[dict[str, Any]]:
    """The settings that RandomizedSearchCV draws of a pipeline with the step "svc"."""
    from sklearn.model_selection import ParameterSampler

    space = {f"svc__{name}": values for name, values in search_space().items()}
    sampled = ParameterSampler(space, count, random_state=seed)
    return [{name.removeprefix("svc__"): value for name, value in one.items()} for one in sampled]


def search_and_predict(
    train: Float[np.ndarray, "n dim"],
    labels: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m dim"],
    settings: Sequence[Sequence[Mapping[str, Any]]],
) -> list[Int[np.ndarray, " m"]]:
    """Of each list of settings, the answers of the one with the best mean accuracy over 5 stratified folds, the first of
    several, fitted to all of `train`: as RandomizedSearchCV over make_pipeline(StandardScaler(), SVC()).
    """
    from sklearn.model_selection import StratifiedKFold

    folds = StratifiedKFold(FOLDS).split(train, labels)
    parts = [
        (_Products.of(train[inner], train[outer]), labels[inner], labels[outer]) for inner, outer in folds
    ]
    whole = _Products.of(train, test)
    answers = []
    for candidates in settings:
        scores = [
            np.mean([(_answers(products, own, one) == true).mean() for products, own, true in parts])
            for one in candidates
        ]
        answers.append(_answers(whole, labels, candidates[int(np.argmax(scores))]))
    return answers


class _Products:
    """The dot products of scaled vectors, among the training ones and of others with them, and squared lengths."""

    def __init__(self, train: Float[np.ndarray, "n dim"], other: Float[np.ndarray, "m dim"]) -> None:
        self.own, self.other = train @ train.T, other @ train.T
        self.own_lengths, self.other_lengths = (train**2).sum(axis=1), (other**2).sum(axis=1)

    @classmethod
    def of(cls, train: Float[np.ndarray, "n dim"], other: Float[np.ndarray, "m dim"]) -> _Products:
        from sklearn.preprocessing import StandardScaler

        # libsvm computes in float64.
        scaler = StandardScaler().fit(train)
        return cls(*(scaler.transform(part).astype(np.float64) for part in (train, other)))

    def kernels(self, kind: str, gamma: float) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "m n"]]:
        if kind == "linear":
            return self.own, self.other
        if kind == "sigmoid":
            return np.tanh(gamma * self.own), np.tanh(gamma * self.other)
        if kind == "poly":
            return (gamma * self.own) ** _DEGREE, (gamma * self.other) ** _DEGREE
        lengths = self.own_lengths
        own = lengths[:, None] + lengths - 2 * self.own
        other = self.other_lengths[:, None] + lengths - 2 * self.other
        return np.exp(-gamma * own), np.exp(-gamma * other)


def _answers(
    products: _Products, labels: Int[np.ndarray, " n"], setting: Mapping[str, Any]
) -> Int[np.ndarray, " m"]:
    from sklearn.svm import SVC

    own, other = products.kernels(setting["kernel"], setting["gamma"])
    return SVC(C=setting["C"], kernel="precomputed").fit(own, labels).predict(other)
