"""The maximum of an occupancy likelihood, its curvature there, and the profile over the mean occupancy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from .interval import Interval
from .site_likelihood import SPREAD_RANGE, SiteLikelihood, logistic, logit

# Mean occupancy beyond these, in logits, counts as 0 or 1.
_LIMIT = 9.0
# Of the signed root of the deviance at the limits of an interval.
_PROFILE_TOLERANCE = 1e-2
_PROFILE_STEPS = 25
# Of the search for the maximum: curvature, then quasi-Newton.
_ROUNDS = 4
# Of parameters, in differences of the gradient.
_STEP = 1e-4

# From parameters to the value and its gradient.
Objective = Callable[[Float[np.ndarray, " n"]], tuple[float, Float[np.ndarray, " n"]]]


class MaximumLikelihood:
    """The maximum of a penalized likelihood, and its profile over the mean occupancy.

    Works in parameters whose first is the logit of the mean occupancy in place of the intercept, so that
    the profile fixes one parameter whether or not there are covariates.
    """

    def __init__(
        self,
        likelihood: SiteLikelihood,
        detected: Bool[np.ndarray, "sites visits"],
        effort: Float[np.ndarray, "sites visits"],
    ) -> None:
        self._likelihood = likelihood
        at = likelihood.parameters
        self._bounds = np.empty((at.count, 2))
        self._bounds[:] = (-10, 10)
        self._bounds[0] = (-_LIMIT, _LIMIT)
        self._bounds[at.detection.start] = (-12, 8)
        self._bounds[at.log_rho] = (-5, 5)
        if at.log_spread is not None:
            self._bounds[at.log_spread] = np.log(SPREAD_RANGE)
        starts = (self._climb(start) for start in self._starts(detected, effort))
        _, best = max(starts, key=lambda fit: fit[0])
        self._best, self.converged = best, False
        for _ in range(_ROUNDS):
            self._information = _curvature(self._objective, self._best)
            if self.converged:
                break
            self.value, self._best, self.converged = self._polish(self._best, first=0, tolerance=1e-4)
        self.theta = self._natural(self._best)[0]

    def _starts(
        self, detected: Bool[np.ndarray, "sites visits"], effort: Float[np.ndarray, "sites visits"]
    ) -> list[Float[np.ndarray, " parameters"]]:
        """Return starts at which all detections, or only those at the sites with most of them, are true."""
        at = self._likelihood.parameters
        rate = detected.sum(axis=1) / effort.sum(axis=1)
        starts = []
        for occupied in (rate > 0, rate >= rate.max() / 3):
            start = np.zeros(at.count)
            start[0] = logit(np.clip(occupied.mean(), 0.05, 0.95))
            start[at.detection.start] = logit(np.clip(rate[occupied].mean(), 0.01, 0.95))
            if at.log_spread is not None:
                start[at.log_spread] = np.log(0.5)
            starts.append(start)
        return starts

    def _natural(
        self, working: Float[np.ndarray, " parameters"]
    ) -> tuple[Float[np.ndarray, " parameters"], Float[np.ndarray, " terms"]]:
        """Return the likelihood's parameters, and the derivative of the intercept by the first `terms`."""
        terms = self._likelihood.parameters.occupancy.stop
        derivative = np.zeros(terms)
        derivative[0] = 1.0
        if terms == 1:
            return working, derivative
        theta, design = working.copy(), self._likelihood.design
        offset, mean = design[:, 1:] @ working[1:terms], logistic(working[0])
        # The mean rises with the intercept from 0 to 1; at the bracket's ends all sites are beyond it.
        low, high = working[0] - offset.max(), working[0] - offset.min()
        for _ in range(60):
            middle = (low + high) / 2
            if logistic(middle + offset).mean() < mean:
                low = middle
            else:
                high = middle
        theta[0] = (low + high) / 2
        psi = logistic(theta[0] + offset)
        weight = psi * (1 - psi)
        derivative[0] = len(psi) * mean * (1 - mean) / weight.sum()
        derivative[1:] = -(weight @ design[:, 1:]) / weight.sum()
        return theta, derivative

    def _objective(
        self, working: Float[np.ndarray, " parameters"]
    ) -> tuple[float, Float[np.ndarray, " parameters"]]:
        """Return the penalized log-likelihood and its gradient; constant beyond the bounds."""
        inside = np.clip(working, *self._bounds.T)
        theta, derivative = self._natural(inside)
        value, gradient = self._likelihood.objective(theta)
        by_intercept = gradient[0]
        gradient[0] = 0.0
        gradient[: len(derivative)] += by_intercept * derivative
        return value, np.where(working == inside, gradient, 0.0)

    def _climb(
        self, start: Float[np.ndarray, " parameters"]
    ) -> tuple[float, Float[np.ndarray, " parameters"]]:
        """Return the maximum near a start, and its place, roughly."""
        from scipy.optimize import minimize

        def negative(working: Float[np.ndarray, " parameters"]) -> tuple[float, Float[np.ndarray, " p"]]:
            value, gradient = self._objective(working)
            return -value, -gradient

        start = np.clip(start, *self._bounds.T)
        options = {"ftol": 1e-6, "gtol": 1e-2, "maxiter": 200}
        result = minimize(negative, start, jac=True, method="L-BFGS-B", bounds=self._bounds, options=options)
        return -float(result.fun), result.x

    def _polish(
        self, start: Float[np.ndarray, " parameters"], *, first: int, tolerance: float
    ) -> tuple[float, Float[np.ndarray, " parameters"], bool]:
        """Return the maximum over the parameters from `first` on, its place, and success.

        Quasi-Newton in coordinates of unit curvature, so that from a good start a few evaluations do.
        """
        from scipy.optimize import minimize

        if first == len(start):
            return self._objective(start)[0], start, True
        curvature, directions = np.linalg.eigh(self._information[first:, first:])
        scale = directions / np.sqrt(np.maximum(curvature, 0.05))

        def place(steps: Float[np.ndarray, " free"]) -> Float[np.ndarray, " parameters"]:
            return np.append(start[:first], start[first:] + scale @ steps)

        def negative(steps: Float[np.ndarray, " free"]) -> tuple[float, Float[np.ndarray, " free"]]:
            value, gradient = self._objective(place(steps))
            return -value, -(gradient[first:] @ scale)

        result = minimize(
            negative, np.zeros(scale.shape[1]), jac=True, method="BFGS", options={"gtol": tolerance}
        )
        # A line search also ends, "for loss of precision", where rounding hides what is left to climb.
        converged = bool(np.abs(result.jac).max() < 100 * tolerance)
        return -float(result.fun), np.clip(place(result.x), *self._bounds.T), converged

    def mean_occupancy(self, level: float) -> Interval:
        """Return the mean occupancy with the limits of its profile likelihood."""
        from scipy.special import chdtri

        target = np.sqrt(chdtri(1, 1 - level))
        lower, upper = (self._limit(sign, target) for sign in (-1, 1))
        mean = float(logistic(self._best[0]))
        return Interval(
            mean,
            0.0 if lower <= -_LIMIT else min(float(logistic(lower)), mean),
            1.0 if upper >= _LIMIT else max(float(logistic(upper)), mean),
        )

    def _limit(self, sign: int, target: float) -> float:
        """Return the logit at which the root of the deviance, which is almost linear, reaches `target`."""
        best, warm, spread = self._best[0], self._best, self._likelihood.parameters.log_spread
        others = self._information[1:, 1:]
        # Along the profile the others move about as they do for a quadratic.
        slope = np.zeros(len(warm))
        slope[1:] = -np.linalg.lstsq(others, self._information[1:, 0], rcond=1e-8)[0]
        curvature = self._information[0] @ np.append(1.0, slope[1:])
        inside, outside = (best, 0.0), None
        logit = best + sign * np.clip(target / np.sqrt(max(curvature, 1e-4)), 0.1, 3.0)
        for _ in range(_PROFILE_STEPS):
            logit = float(np.clip(logit, -_LIMIT, _LIMIT))
            start = warm + slope * (logit - warm[0])
            start[0] = logit
            if spread is not None:
                # Where rates hardly differ the slope by the log of their spread is 0, and hides a maximum.
                start[spread] = max(start[spread], np.log(0.3))
            value, warm, _ = self._polish(np.clip(start, *self._bounds.T), first=1, tolerance=0.01)
            root = np.sqrt(max(2 * (self.value - value), 0.0))
            if abs(root - target) < _PROFILE_TOLERANCE:
                break
            if root < target:
                inside = (logit, root)
                if abs(logit) >= _LIMIT:
                    break
            else:
                outside = (logit, root)
            if outside is None:
                logit = best + (logit - best) * np.clip(target / max(root, 1e-9), 1.2, 4)
            else:
                share = (target - inside[1]) / (outside[1] - inside[1])
                logit = inside[0] + np.clip(share, 0.05, 0.95) * (outside[0] - inside[0])
        return logit

    def covariance(self) -> Float[np.ndarray, "parameters parameters"] | None:
        """Return the inverse of the observed information, or None where it is not positive definite."""
        information = _curvature(self._likelihood.objective, self.theta)
        # At a limit of its range a parameter is taken as known.
        free = (self._best > self._bounds[:, 0] + _STEP) & (self._best < self._bounds[:, 1] - _STEP)
        free &= np.isfinite(self.theta)
        covariance = np.zeros_like(information)
        try:
            np.linalg.cholesky(information[np.ix_(free, free)])
        except np.linalg.LinAlgError:
            return None
        covariance[np.ix_(free, free)] = np.linalg.inv(information[np.ix_(free, free)])
        return covariance


def _curvature(objective: Objective, at: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n n"]:
    """Return minus the second derivatives of an objective, by central differences of its gradient."""
    shifts = np.eye(len(at)) * _STEP
    matrix = np.array([objective(at - s)[1] - objective(at + s)[1] for s in shifts]) / (2 * _STEP)
    return (matrix + matrix.T) / 2
