"""The likelihood of detection histories with false positives and rates that differ between sites."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

FIXED_AT_0 = "fixed at 0"
# Nodes of the integral over the sites' rates, and the smallest rate, relative to the mean, that matters.
_NODES = 31
_SMALLEST_RATE = 1e-3
# Prior scale of the coefficient of variation of rates between sites (half-normal), and its range.
_SPREAD_SCALE = 1.0
SPREAD_RANGE = (0.02, 2.0)


@dataclass(frozen=True)
class FalsePositives:
    """Rates at which other classes are taken for a species: false events per whole visit, by source and site.

    A source is a class, or several together; its rates are known up to a factor that has a gamma distribution
    of mean 1 and the given shape.
    """

    rate: Float[np.ndarray, "sources sites"]
    shape: Float[np.ndarray, " sources"]


@dataclass(frozen=True)
class Parameters:
    """Positions in the parameter vector: coefficients of occupancy and detection, log rho and log spread."""

    occupancy: slice
    detection: slice
    log_rho: slice
    log_spread: int | None
    count: int


class SiteLikelihood:
    """Log-likelihood of the histories of one species, and its gradient, in float64.

    Royle and Link (2006, Ecology 87:835) with effort, covariates, informed false positives, scores, and rates
    that differ between sites. On visit t to site i, of effort e (share of a visit),

        psi_i     = logistic(x_i beta)                              occupied
        h_it      = softplus(z_it alpha), so that 1 - exp(-h) = logistic(z_it alpha)
        p_it      = 1 - exp(-g_i h_it e)                            true detection at an occupied site
        p10_it    = 1 - exp(-sum_j rho_j phi_ij e)                  false detection
        p11_it    = 1 - (1 - p_it)(1 - p10_it)
        L_i       = psi_i E_g[prod_t P_1] + (1 - psi_i) prod_t P_0

    P_1 is r p + (1 - p) p10 on a visit with a detection and (1 - p)(1 - p10) on one without; P_0 is p10 and
    1 - p10. r is the ratio of the densities of the visit's best score among true and false detections
    (Rhinehart, Turek and Kitzes 2022, Methods Ecol. Evol. 13:1821); r = 1 leaves Royle and Link's p11.
    g_i is a gamma variable of mean 1 and coefficient of variation `spread` (after Royle 2006, Biometrics
    62:97): with one rate for all sites, sites of a low rate pass for false detections and occupancy is biased
    low. rho_j ~ Gamma of mean 1 corrects the given rates phi_ij of false detections from class j, which came
    from a finite number of verified events. spread has a half-normal prior of scale 1, since occupancy and
    the spread are weakly separated in few sites.

    Visits of effort 0 are missing. Sites without effort have no term.
    """

    def __init__(
        self,
        detected: Bool[np.ndarray, "sites visits"],
        effort: Float[np.ndarray, "sites visits"],
        *,
        false_positives: FalsePositives | None,
        score_ratio: Float[np.ndarray, "sites visits"] | None,
        site_design: Float[np.ndarray, "sites occupancy_terms"],
        visit_design: Float[np.ndarray, "sites visits detection_terms"] | None,
        spread: bool,
    ) -> None:
        site, visit = np.nonzero(effort > 0)
        y, e = detected[site, visit], effort[site, visit]
        ratio = np.ones(len(e)) if score_ratio is None else score_ratio[site, visit]
        z = np.ones((len(e), 1)) if visit_design is None else visit_design[site, visit]
        self.sites, index = np.unique(site, return_inverse=True)
        # Log-probabilities without a detection are linear in effort, so such visits add up by site and z;
        # those with one add up where all is equal.
        self._seen = _Cells(index[y], np.column_stack([e[y], ratio[y], z[y]]))
        missed = _Cells(index[~y], z[~y])
        self._unseen = missed
        self._unseen_effort = np.bincount(missed.cell, weights=e[~y], minlength=len(missed.site))
        self._site_unseen_effort = np.bincount(index[~y], weights=e[~y], minlength=len(self.sites))
        if false_positives is None:
            self._rates, self._shape = np.zeros((0, len(self.sites))), np.zeros(0)
        else:
            self._rates, self._shape = false_positives.rate[:, self.sites], false_positives.shape
        self.design = site_design[self.sites]
        terms, all_terms = self.design.shape[1], self.design.shape[1] + z.shape[1]
        sources = len(self._shape)
        self.parameters = Parameters(
            occupancy=slice(0, terms),
            detection=slice(terms, all_terms),
            log_rho=slice(all_terms, all_terms + sources),
            log_spread=all_terms + sources if spread else None,
            count=all_terms + sources + spread,
        )

    def penalty(self, theta: Float[np.ndarray, " parameters"]) -> float:
        """Return the log prior of log rho and of the spread, up to a constant."""
        at = self.parameters
        log_rho = theta[at.log_rho]
        value = self._shape @ (log_rho - np.expm1(log_rho))
        if at.log_spread is not None:
            value -= np.exp(2 * theta[at.log_spread]) / (2 * _SPREAD_SCALE**2)
        return float(value)

    def log_likelihood(
        self, theta: Float[np.ndarray, " parameters"]
    ) -> tuple[float, Float[np.ndarray, " parameters"]]:
        """Return the log-likelihood, without the penalty, and its gradient."""
        at, gradient = self.parameters, np.zeros(self.parameters.count)
        alpha = theta[at.detection]
        rho = np.exp(theta[at.log_rho])
        log_g, log_weight, d_log_g, d_log_weight = _nodes(theta, at)
        g = np.exp(log_g)
        sites, seen, unseen = len(self.sites), self._seen, self._unseen

        # Cells with a detection: log of r p + (1 - p) p10, by node.
        e, ratio = seen.values[:, :2].T
        eta = seen.values[:, 2:] @ alpha
        hazard = _softplus(eta)
        exponent = (hazard * e)[:, None] * g
        rate = rho @ self._rates
        miss, v = np.exp(-exponent), rate[seen.site] * e
        p10 = -np.expm1(-v)
        ratio, p10_column = ratio[:, None], p10[:, None]
        total = -ratio * np.expm1(-exponent) + miss * p10_column
        # Cells without: the exponents of (1 - p) and of (1 - p10).
        unseen_eta = unseen.values @ alpha
        unseen_hazard = _softplus(unseen_eta) * self._unseen_effort
        unseen_false = rate * self._site_unseen_effort

        n = seen.count
        with np.errstate(divide="ignore"):
            log_total, log_p10 = np.log(total), np.log(p10)
        unseen_sum = np.bincount(unseen.site, weights=unseen_hazard, minlength=sites)
        by_node = seen.sum_by_site(n[:, None] * log_total, sites) - unseen_sum[:, None] * g + log_weight
        absent = seen.sum_by_site((n * log_p10)[:, None], sites)[:, 0]
        largest = by_node.max(axis=1)
        scaled = np.exp(by_node - largest[:, None])
        present = largest + np.log(scaled.sum(axis=1))
        logit_psi = self.design @ theta[at.occupancy]
        log_present = present - _softplus(-logit_psi)
        log_site = np.logaddexp(log_present, absent - _softplus(logit_psi))
        value = float((log_site - unseen_false).sum())

        # Posterior probabilities that the site is occupied, and of each node if so.
        occupied = np.exp(log_present - log_site)
        posterior = scaled / scaled.sum(axis=1, keepdims=True) * occupied[:, None]
        gradient[at.occupancy] = (occupied - logistic(logit_psi)) @ self.design
        at_seen = posterior[seen.site] * n[:, None]
        by_exponent = at_seen * miss * (ratio - p10_column) / total
        # d exponent / d log g = exponent, d exponent / d log hazard = exponent.
        slope = (by_exponent * exponent).sum(axis=1) / hazard * logistic(eta)
        mean_g = posterior @ g
        unseen_slope = mean_g[unseen.site] * self._unseen_effort * logistic(unseen_eta)
        gradient[at.detection] = slope @ seen.values[:, 2:] - unseen_slope @ unseen.values
        if len(rho):
            by_p10 = (at_seen * miss / total).sum(axis=1) * np.exp(-v)
            with np.errstate(over="ignore", invalid="ignore"):
                # d log p10 / d rate, which is e / (exp(v) - 1).
                by_absent = np.where(v > 0, e / np.expm1(v), 0.0) * (1 - occupied)[seen.site] * n
            by_rate = seen.sum_by_site((by_p10 * e + by_absent)[:, None], sites)[:, 0]
            gradient[at.log_rho] = rho * (self._rates @ (by_rate - self._site_unseen_effort))
        if at.log_spread is not None:
            by_log_g = (by_exponent * exponent).sum(axis=0) - (posterior * unseen_sum[:, None]).sum(
                axis=0
            ) * g
            gradient[at.log_spread] = by_log_g @ d_log_g + posterior.sum(axis=0) @ d_log_weight
        return value, gradient

    def objective(
        self, theta: Float[np.ndarray, " parameters"]
    ) -> tuple[float, Float[np.ndarray, " parameters"]]:
        """Return the penalized log-likelihood and its gradient."""
        value, gradient = self.log_likelihood(theta)
        at = self.parameters
        gradient[at.log_rho] -= self._shape * np.expm1(theta[at.log_rho])
        if at.log_spread is not None:
            gradient[at.log_spread] -= np.exp(2 * theta[at.log_spread]) / _SPREAD_SCALE**2
        return value + self.penalty(theta), gradient

    def detection(
        self, theta: Float[np.ndarray, " parameters"], design: Float[np.ndarray, "rows detection_terms"]
    ) -> Float[np.ndarray, " rows"]:
        """Return the probability of a true detection on a whole visit, averaged over occupied sites."""
        log_g, log_weight, *_ = _nodes(theta, self.parameters)
        hazard = _softplus(design @ theta[self.parameters.detection])
        return -np.expm1(-hazard[:, None] * np.exp(log_g)) @ np.exp(log_weight)

    def false_positive(self, theta: Float[np.ndarray, " parameters"]) -> float | str:
        """Return the mean probability of a false detection on a whole visit, or FIXED_AT_0."""
        if not len(self._shape):
            return FIXED_AT_0
        return float(-np.expm1(-np.exp(theta[self.parameters.log_rho]) @ self._rates).mean())


class _Cells:
    """Visits of equal values at a site, counted; `cell` is the index of each visit's cell."""

    def __init__(self, site: Int[np.ndarray, " visits"], values: Float[np.ndarray, "visits columns"]) -> None:
        table = np.column_stack([site, values])
        order = np.lexsort(table.T[::-1])
        new = np.ones(len(table), bool)
        new[1:] = (np.diff(table[order], axis=0) != 0).any(axis=1)
        self.cell = np.empty(len(table), np.int64)
        self.cell[order] = np.cumsum(new) - 1
        first = order[new]
        self.site, self.values = site[first], values[first]
        self.count = np.bincount(self.cell, minlength=len(first)).astype(float)
        self._starts = np.flatnonzero(np.diff(self.site, prepend=-1))

    def sum_by_site(self, values: Float[np.ndarray, "cells nodes"], sites: int) -> Float[np.ndarray, "s n"]:
        result = np.zeros((sites, values.shape[1]))
        if len(values):
            result[self.site[self._starts]] = np.add.reduceat(values, self._starts, axis=0)
        return result


def _nodes(
    theta: Float[np.ndarray, " parameters"], at: Parameters
) -> tuple[Float[np.ndarray, " nodes"], ...]:
    """Return log g and the log weights of the integral over g, and their derivatives by the log spread."""
    if at.log_spread is None:
        zero = np.zeros(1)
        return zero, zero, zero, zero
    step = 1e-4
    log_g, log_weight = _gamma_nodes(np.exp(theta[at.log_spread] + step * np.array([-1.0, 0.0, 1.0])))
    slopes = ((values[2] - values[0]) / (2 * step) for values in (log_g, log_weight))
    return log_g[1], log_weight[1], *slopes


def _gamma_nodes(
    spread: Float[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, "n nodes"], Float[np.ndarray, "n nodes"]]:
    """Return the centers in log g, and the log probabilities, of equal bins of a gamma variable of mean 1."""
    from scipy.special import gammainc, gammaincinv

    shape = spread[:, None] ** -2.0
    ends = np.log(np.maximum(gammaincinv(shape, [1e-4, 1 - 1e-6]) / shape, 1e-300))
    low = np.maximum(ends[:, :1], np.log(_SMALLEST_RATE))
    edges = low + (ends[:, 1:] - low) * np.linspace(0, 1, _NODES + 1)
    below = gammainc(shape, shape * np.exp(edges))
    below[:, 0], below[:, -1] = 0.0, 1.0
    return (edges[:, :-1] + edges[:, 1:]) / 2, np.log(np.diff(below))


def _softplus(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.logaddexp(0.0, x)


def logistic(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return 1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(0.0, -x))


def logit(p: float) -> float:
    """Return log(p / (1 - p))."""
    return float(np.log(p) - np.log1p(-p))
