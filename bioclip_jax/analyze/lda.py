"""Linear discriminant analysis with shrinkage, from means and a covariance, for many labelings at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

# Upper bound of the estimate, so that the covariance is never exactly spherical.
_MOST_SHRINKAGE = 0.999


@dataclass(frozen=True)
class Discriminant:
    """Linear discriminant analysis for several labelings of the same rows, with one total covariance.

    The covariance within levels is the total less that of the level means. With A = total + ridge, level
    means M and level shares P: (A - M P M')^-1 M = A^-1 M (I - P M' A^-1 M)^-1, so one factorization serves
    all labelings.
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
        """Fit all labelings.

        Args: total: covariance [d, d]. means, priors: of the levels, [times, levels, d] and [times, levels].
          freedom: degrees of freedom of `total`. dim: dimensions of the space, at least d.
        """
        times, levels, d = means.shape
        share = oas_shrinkage(total, max(freedom, 1), dim)
        # The ridge is that of the total covariance, the same for all labelings.
        ridge = max(share / (1 - share) * np.trace(total) / dim, 1e-12)
        solved = np.linalg.solve(total + ridge * np.eye(d), means.reshape(-1, d).T).T.reshape(means.shape)
        gram = solved @ means.transpose(0, 2, 1)
        inverse = np.linalg.inv(np.eye(levels) - priors[:, :, None] * gram)
        within = np.trace(total) - (priors * (means**2).sum(axis=2)).sum(axis=1)
        # Shrinkage in the usual sense: the ridge as a share of the covariance within levels.
        shrinkage = ridge / (ridge + within / dim)
        coefficients = inverse.transpose(0, 2, 1) @ solved / (1 - shrinkage)[:, None, None]
        heights = (means * coefficients).sum(axis=2)
        with np.errstate(divide="ignore"):
            intercepts = np.log(priors) - heights / 2
        columns = (coefficients[:, 1:] - coefficients[:, :1]).reshape(-1, d).T
        return cls(solved, gram, priors, columns.astype(np.float32), intercepts, float(shrinkage[0]))

    def log_odds(self, rows: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "times n levels-1"]:
        """Return the log-odds of each further level against the first."""
        times, levels = self.intercepts.shape
        odds = (rows @ self.weights).reshape(len(rows), times, levels - 1).transpose(1, 0, 2)
        # A level that is missing from a shuffled fold is never predicted.
        return odds + (self.intercepts[:, 1:] - self.intercepts[:, :1]).clip(-1e30, 1e30)[:, None].astype(
            np.float32
        )

    def axes(self, number: int, like: Discriminant) -> Float64[np.ndarray, "d number"]:
        """Return the leading discriminant axes of the first labeling, with the signs of those of `like`.

        The training rows have variance 1 along each.
        """

        def leading(model: Discriminant) -> np.ndarray:
            roots = np.sqrt(model.priors[0])
            values, vectors = np.linalg.eigh(roots[:, None] * model.gram[0] * roots)
            return (roots[:, None] * vectors / np.sqrt(values.clip(1e-30)))[:, ::-1][:, :number]

        mine, other = leading(self), leading(like)
        along = (self.gram[0] @ mine * self.priors[0][:, None] * (like.gram[0] @ other)).sum(axis=0)
        return self.solved[0].T @ mine * np.where(along < 0, -1, 1)


def oas_shrinkage(covariance: Float64[np.ndarray, "d d"], n: int, dim: int) -> float:
    """Oracle approximating shrinkage toward a sphere (Chen et al. 2010, equation 23).

    n: degrees of freedom. dim: dimensions of the space, of which `covariance` may cover only the subspace
    that holds the data.
    """
    trace, squares = np.trace(covariance), np.sum(covariance**2)
    above = (1 - 2 / dim) * squares + trace**2
    below = (n + 1 - 2 / dim) * (squares - trace**2 / dim)
    return float(min(above / below, _MOST_SHRINKAGE)) if below > 0 else _MOST_SHRINKAGE
