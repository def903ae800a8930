"""Occupancy with false positives: maximum likelihood and profile intervals (Royle and Link 2006)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from bioclip_jax.errors import UserError

from .interval import Interval
from .maximum_likelihood import MaximumLikelihood
from .site_likelihood import FalsePositives, SiteLikelihood, logistic, logit


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
    fit = MaximumLikelihood(likelihood, detected[surveyed], effort[surveyed])
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
        return logit(np.clip(np.average(p, weights=repeats), 1e-12, 1 - 1e-12))

    middle = logit_mean(theta)
    if covariance is None:
        return Interval(float(logistic(middle)), 0.0, 1.0)
    gradient = _derivative(logit_mean, theta)
    half = float(ndtri((1 + level) / 2) * np.sqrt(max(gradient @ covariance @ gradient, 0.0)))
    return Interval(*(float(logistic(middle + shift)) for shift in (0.0, -half, half)))


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
