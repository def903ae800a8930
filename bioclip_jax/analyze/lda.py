"""Linear discriminant analysis with a shrunken covariance, from means and a covariance, for many labellings at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

# Where the estimate says that the covariance is noise alone, it is still not quite a sphere.
_MOST_SHRINKAGE = 0.999


@dataclass(frozen=True)
class Discriminant:
    """Linear discriminant analysis for several labellings of the same rows, which share their total covariance.

    The covariance within levels is the total's less that of the level means, so with A = total + ridge, the
    means M and the shares P of the levels, (A - M P M')^-1 M = A^-1 M (I - P M' A^-1 M)^-1: one factorisation
    serves all.
    """

    solved: Float64[np.ndarray, "times levels d"]  # A^-1 M
    gram: Float64[np.ndarray, "times levels levels"]  # M' A^-1 M
    priors: Float64[np.ndarray, "times levels"]
    weights: Float32[np.ndarray, "d columns"]
    intercepts: Float64[np.ndarray, "times levels"]
    shrinkage: float

    @classmethod
    def fit(
        cls, total: np.ndarray, means: np.ndarray, priors: np.ndarray, freedom: int, dim: int
    ) -> Discriminant:
        times, levels, d = means.shape
        share = oas_shrinkage(total, max(freedom, 1), dim)
        # The ridge comes from the total covariance, so that no labelling has another.
        ridge = max(share / (1 - share) * np.trace(total) / dim, 1e-12)
        solved = np.linalg.solve(total + ridge * np.eye(d), means.reshape(-1, d).T).T.reshape(means.shape)
        gram = solved @ means.transpose(0, 2, 1)
        inverse = np.linalg.inv(np.eye(levels) - priors[:, :, None] * gram)
        within = np.trace(total) - (priors * (means**2).sum(axis=2)).sum(axis=1)
        # Of the covariance within levels, the ridge is this share: the number that others call its shrinkage.
        shrinkage = ridge / (ridge + within / dim)
        coefficients = inverse.transpose(0, 2, 1) @ solved / (1 - shrinkage)[:, None, None]
        heights = (means * coefficients).sum(axis=2)
        with np.errstate(divide="ignore"):
            intercepts = np.log(priors) - heights / 2
        columns = (coefficients[:, 1:] - coefficients[:, :1]).reshape(-1, d).T
        return cls(solved, gram, priors, columns.astype(np.float32), intercepts, float(shrinkage[0]))

    def log_odds(self, rows: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "times n levels-1"]:
        """Of each level but the first, the log-odds against the first."""
        times, levels = self.intercepts.shape
        odds = (rows @ self.weights).reshape(len(rows), times, levels - 1).transpose(1, 0, 2)
        # A level that a shuffled fold does not have cannot be answered.
        return odds + (self.intercepts[:, 1:] - self.intercepts[:, :1]).clip(-1e30, 1e30)[:, None].astype(
            np.float32
        )

    def axes(self, number: int, like: Discriminant) -> Float64[np.ndarray, "d number"]:
        """The leading discriminant axes of the first labelling, along each of which the training rows vary by 1,
        turned to point as those of `like` do.
        """

        def leading(model: Discriminant) -> np.ndarray:
            roots = np.sqrt(model.priors[0])
            values, vectors = np.linalg.eigh(roots[:, None] * model.gram[0] * roots)
            return (roots[:, None] * vectors / np.sqrt(values.clip(1e-30)))[:, ::-1][:, :number]

        mine, other = leading(self), leading(like)
        along = (self.gram[0] @ mine * self.priors[0][:, None] * (like.gram[0] @ other)).sum(axis=0)
        return self.solved[0].T @ mine * np.where(along < 0, -1, 1)


def oas_shrinkage(covariance: Float64[np.ndarray, "d d"], n: int, dim: int) -> float:
    """The oracle approximating shrinkage toward a sphere (Chen et al. 2010, equation 23), of `n` degrees of freedom.

    `dim`: how many dimensions the sphere has, where `covariance` is of the subspace that holds the data.
    """
    trace, squares = np.trace(covariance), np.sum(covariance**2)
    above = (1 - 2 / dim) * squares + trace**2
    below = (n + 1 - 2 / dim) * (squares - trace**2 / dim)
    return float(min(above / below, _MOST_SHRINKAGE)) if below > 0 else _MOST_SHRINKAGE
