"""Occupancy with false positives: maximum likelihood and profile intervals (Royle and Link 2006)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from bioclip_jax.errors import UserError

from .interval import Interval
from .site_likelihood import SPREAD_RANGE, FalsePositives, SiteLikelihood

# Mean occupancy beyond these, in logits, counts as 0 or 1.
_LIMIT = 9.0
# Of the signed root of the deviance at the limits of an interval.
_PROFILE_TOLERANCE = 1e-2
_PROFILE_STEPS = 25
# Of the search for the maximum: curvature, then quasi-Newton.
_ROUNDS = 4


@dataclass(frozen=True)
class Coefficient:
    """A coefficient on the logit scale, per unit of its covariate; no standard error where undetermined."""

    name: str
    estimate: float
    standard_error: float | None


@dataclass(frozen=True)
class Occupancy:
    """Occupancy of one species.

    mean: probability that a site is occupied, averaged over the sites. naive: share of the sites with a
    detection. detection: probability of a true detection on a whole visit to an occupied site, averaged over
    visits; None if the species was never detected. false_positive: mean probability of a false detection on
    a whole visit, as fitted, or "fixed at 0". spread: coefficient of variation of the detection rate between
    occupied sites. log_likelihood: of Royle and Link's model at the estimates, without the priors.
    """

    mean: Interval
    naive: float
    detection: Interval | None
    false_positive: float | str
    spread: float | None
    coefficients: tuple[Coefficient, ...]
    log_likelihood: float
    sites: int
    converged: bool


def fit_occupancy(
    detected: Bool[np.ndarray, "sites visits"],
    effort: Float[np.ndarray, "sites visits"],
    *,
    false_positives: FalsePositives | None = None,
    score_ratio: Float[np.ndarray, "sites visits"] | None = None,
    site_covariates: Mapping[str, Float[np.ndarray, " sites"]] | None = None,
    visit_covariates: Mapping[str, Float[np.ndarray, "sites visits"]] | None = None,
    spread: bool = True,
    level: float = 0.90,
) -> Occupancy:
    """Fit SiteLikelihood to the history of one species.

    effort: share of each visit that the camera ran, 0 to 1; visits of effort 0 are missing, whatever
      `detected` says. false_positives: rates of false detections (Confusion.false_positives); None fixes
      them at 0 (MacKenzie et al. 2002, Ecology 83:2248). score_ratio: f1/f0 of the best score of each visit
      with a detection (score_ratio in confusion.py). If a person has verified a share v of the events, it
      is very large on visits with an event that proved true, and 1 - v on those with unverified ones alone:
      at an occupied site a detection is verified with probability v. spread: let detection rates differ
      between sites.
    The interval of the mean is the profile likelihood's, at `level`. A species that was never detected has
    the interval 0 to 1: how well it is detected is unknown, so it may be anywhere.
    Errors: UserError if no site has effort, or a covariate is constant or not finite.
    """
    if not (effort > 0).any():
        raise UserError("no site has any effort, so nothing can be estimated; check the deployments' times")
    surveyed = (effort > 0).any(axis=1)
    detected = detected & (effort > 0)
    seen = detected.any(axis=1)
    naive = float(seen[surveyed].mean())
    site_terms = _Standardized(site_covariates or {}, surveyed)
    visit_terms = _Standardized(visit_covariates or {}, effort > 0)
    likelihood = SiteLikelihood(
        detected,
        effort,
        false_positives=false_positives,
        score_ratio=score_ratio,
        site_design=site_terms.design,
        visit_design=visit_terms.design if visit_covariates else None,
        spread=spread,
    )
    if not seen.any():
        return Occupancy(
            mean=Interval(0.0, 0.0, 1.0),
            naive=0.0,
            detection=None,
            false_positive=likelihood.false_positive(np.zeros(likelihood.parameters.count)),
            spread=None,
            coefficients=(),
            log_likelihood=0.0,
            sites=int(surveyed.sum()),
            converged=True,
        )
    fit = _Fit(likelihood, detected[surveyed], effort[surveyed])
    covariance = fit.covariance()
    at = likelihood.parameters
    coefficients = [
        *site_terms.coefficients("occupancy", fit.theta, covariance, at.occupancy),
        *visit_terms.coefficients("detection", fit.theta, covariance, at.detection),
    ]
    return Occupancy(
        mean=fit.mean_occupancy(level),
        naive=naive,
        detection=_detection(likelihood, visit_terms.design[effort > 0], fit.theta, covariance, level),
        false_positive=likelihood.false_positive(fit.theta),
        spread=None if at.log_spread is None else float(np.exp(fit.theta[at.log_spread])),
        coefficients=tuple(coefficients),
        log_likelihood=likelihood.log_likelihood(fit.theta)[0],
        sites=int(surveyed.sum()),
        converged=fit.converged,
    )


class _Fit:
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
            self._information = self._curvature(self._best)
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
            start[0] = _logit(np.clip(occupied.mean(), 0.05, 0.95))
            start[at.detection.start] = _logit(np.clip(rate[occupied].mean(), 0.01, 0.95))
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
        offset, mean = design[:, 1:] @ working[1:terms], _logistic(working[0])
        # The mean rises with the intercept from 0 to 1; at the bracket's ends all sites are beyond it.
        low, high = working[0] - offset.max(), working[0] - offset.min()
        for _ in range(60):
            middle = (low + high) / 2
            if _logistic(middle + offset).mean() < mean:
                low = middle
            else:
                high = middle
        theta[0] = (low + high) / 2
        psi = _logistic(theta[0] + offset)
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

    def _curvature(self, working: Float[np.ndarray, " parameters"]) -> Float[np.ndarray, "n n"]:
        """Return minus the second derivatives of the objective, by central differences of its gradient."""
        step = 1e-4
        shifts = np.eye(len(working)) * step
        rows = [self._objective(working - s)[1] - self._objective(working + s)[1] for s in shifts]
        matrix = np.array(rows) / (2 * step)
        return (matrix + matrix.T) / 2

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
        mean = float(_logistic(self._best[0]))
        return Interval(
            mean,
            0.0 if lower <= -_LIMIT else min(float(_logistic(lower)), mean),
            1.0 if upper >= _LIMIT else max(float(_logistic(upper)), mean),
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
        count, step = self._likelihood.parameters.count, 1e-4
        information = np.empty((count, count))
        for row, shift in enumerate(np.eye(count) * step):
            above, below = (self._likelihood.objective(self.theta + s)[1] for s in (shift, -shift))
            information[row] = (below - above) / (2 * step)
        information = (information + information.T) / 2
        # At a limit of its range a parameter is taken as known.
        natural = self.theta
        free = (self._best > self._bounds[:, 0] + step) & (self._best < self._bounds[:, 1] - step)
        free &= np.isfinite(natural)
        covariance = np.zeros((count, count))
        try:
            np.linalg.cholesky(information[np.ix_(free, free)])
        except np.linalg.LinAlgError:
            return None
        covariance[np.ix_(free, free)] = np.linalg.inv(information[np.ix_(free, free)])
        return covariance


def _detection(
    likelihood: SiteLikelihood,
    design: Float[np.ndarray, "visits terms"],
    theta: Float[np.ndarray, " parameters"],
    covariance: Float[np.ndarray, "parameters parameters"] | None,
    level: float,
) -> Interval:
    """Return the mean detection probability of a whole visit; limits by the delta method on logits."""
    from scipy.special import ndtri

    rows, repeats = np.unique(design, axis=0, return_counts=True)

    def logit_mean(values: Float[np.ndarray, " parameters"]) -> float:
        p = likelihood.detection(values, rows)
        return _logit(np.clip(np.average(p, weights=repeats), 1e-12, 1 - 1e-12))

    middle = logit_mean(theta)
    if covariance is None:
        return Interval(float(_logistic(middle)), 0.0, 1.0)
    gradient = _derivative(logit_mean, theta)
    half = float(ndtri((1 + level) / 2) * np.sqrt(max(gradient @ covariance @ gradient, 0.0)))
    return Interval(*(float(_logistic(middle + shift)) for shift in (0.0, -half, half)))


def _derivative(
    function: Callable[[Float[np.ndarray, " n"]], float], at: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    step = 1e-5
    shifts = np.eye(len(at)) * step
    return np.array([(function(at + shift) - function(at - shift)) / (2 * step) for shift in shifts])


class _Standardized:
    """Covariates as columns of mean 0 and standard deviation 1 over the `used` entries, and an intercept.

    Errors: UserError for a covariate that is constant or not finite there.
    """

    def __init__(
        self, covariates: Mapping[str, Float[np.ndarray, " ..."]], used: Bool[np.ndarray, " ..."]
    ) -> None:
        self._names, self._scale = list(covariates), []
        columns = [np.ones(used.shape)]
        for name, values in covariates.items():
            if not np.isfinite(values[used]).all():
                raise UserError(
                    f"covariate {name} has missing or infinite values; fill them in or leave it out"
                )
            center, scale = float(values[used].mean()), float(values[used].std())
            if scale == 0:
                raise UserError(f"covariate {name} is {center:g} everywhere; leave it out")
            self._scale.append((center, scale))
            columns.append((np.where(used, values, center) - center) / scale)
        self.design = np.stack(columns, axis=-1)

    def coefficients(
        self,
        prefix: str,
        theta: Float[np.ndarray, " parameters"],
        covariance: Float[np.ndarray, "parameters parameters"] | None,
        part: slice,
    ) -> list[Coefficient]:
        """Return the intercept and slopes in the covariates' own units."""
        centers, scales = np.array([*self._scale, (0.0, 1.0)][: len(self._scale)]).reshape(-1, 2).T
        back = np.eye(1 + len(scales))
        back[0, 1:] = -centers / scales
        back[1:, 1:] = np.diag(1 / scales)
        estimates = back @ theta[part]
        errors: list[float | None] = [None] * len(estimates)
        if covariance is not None:
            errors = np.sqrt(np.diag(back @ covariance[part, part] @ back.T)).tolist()
        names = [f"{prefix}: {name}" for name in ("intercept", *self._names)]
        return [Coefficient(*fields) for fields in zip(names, estimates.tolist(), errors, strict=True)]


def _logistic(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.exp(-np.logaddexp(0.0, -x))


def _logit(p: float) -> float:
    return float(np.log(p) - np.log1p(-p))
