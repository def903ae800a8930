"""Occupancy with false positives, against plain implementations of the likelihood."""

from __future__ import annotations

import itertools
from math import exp, gamma, log

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize

from bioclip_jax.errors import UserError
from bioclip_jax.twin.estimate import FalsePositives, fit_occupancy
from bioclip_jax.twin.estimate.site_likelihood import SiteLikelihood

SITES, VISITS = 25, 12


def logistic(x):
    return 1 / (1 + exp(-x))


def plain_site(y, effort, p, rate, ratio, g=1.0):
    """Royle and Link's two terms of one site, visit by visit: (present, absent)."""
    present = absent = 1.0
    for t in range(len(y)):
        if effort[t] == 0:
            continue
        missed = (1 - p[t]) ** (effort[t] * g)
        false = 1 - exp(-rate * effort[t])
        if y[t]:
            present *= ratio[t] * (1 - missed) + missed * false
            absent *= false
        else:
            present *= missed * (1 - false)
            absent *= 1 - false
    return present, absent


def plain_log_likelihood(y, effort, psi, p, rate, ratio):
    total = 0.0
    for i in range(len(y)):
        present, absent = plain_site(y[i], effort[i], p[i], rate[i], ratio[i])
        total += log(psi[i] * present + (1 - psi[i]) * absent)
    return total


@pytest.fixture
def history():
    """Histories of 25 sites with false positives, missing visits and shares of visits."""
    rng = np.random.default_rng(0)
    effort = np.where(rng.random((SITES, VISITS)) < 0.2, 0.0, 1.0)
    effort[:, 0] = rng.random(SITES)
    rates = rng.gamma(2, 0.02, (2, SITES))
    occupied = rng.random((SITES, 1)) < 0.5
    detected = (
        rng.random((SITES, VISITS)) < 1 - np.where(occupied, 0.65, 1) * np.exp(-rates.sum(axis=0))[:, None]
    )
    return detected & (effort > 0), effort, FalsePositives(rates, np.array([3.0, 0.5]))


def make_likelihood(detected, effort, false_positives=None, *, x=None, z=None, ratio=None, spread=False):
    ones = np.ones((len(effort), 1))
    return SiteLikelihood(
        detected,
        effort,
        false_positives=false_positives,
        score_ratio=ratio,
        site_design=ones if x is None else np.column_stack([ones, x]),
        visit_design=None if z is None else np.stack([np.ones(effort.shape), z], axis=-1),
        spread=spread,
    )


def test_likelihood_equals_a_plain_loop(history):
    detected, effort, false = history
    rng = np.random.default_rng(1)
    x, z = rng.standard_normal(SITES), rng.standard_normal((SITES, VISITS))
    ratio = rng.gamma(2, 1, (SITES, VISITS))
    likelihood = make_likelihood(detected, effort, false, x=x, z=z, ratio=ratio)
    for _ in range(5):
        theta = rng.normal([0, 0, -1, 0, 0, 0], 0.7)
        psi = [logistic(theta[0] + theta[1] * value) for value in x]
        p = [[logistic(theta[2] + theta[3] * value) for value in row] for row in z]
        rate = exp(theta[4]) * false.rate[0] + exp(theta[5]) * false.rate[1]
        expected = plain_log_likelihood(detected, effort, psi, p, rate, ratio)
        assert likelihood.log_likelihood(theta)[0] == pytest.approx(expected, abs=1e-6)


def test_rates_that_differ_between_sites_are_integrated(history):
    detected, effort, false = history
    likelihood = make_likelihood(detected, effort, false, spread=True)
    spread, p = 0.8, logistic(-1.2)
    theta = np.array([0.3, -1.2, 0.2, -0.1, log(spread)])
    rate = exp(0.2) * false.rate[0] + exp(-0.1) * false.rate[1]
    shape, total = spread**-2, 0.0

    def weighted(g, *fields):
        return shape**shape * g ** (shape - 1) * exp(-shape * g) / gamma(shape) * plain_site(*fields, g)[0]

    for i in range(SITES):
        fields = (detected[i], effort[i], [p] * VISITS, rate[i], np.ones(VISITS))
        present, _ = quad(weighted, 0, 20, args=fields, limit=200)
        total += log(logistic(0.3) * present + (1 - logistic(0.3)) * plain_site(*fields)[1])
    assert likelihood.log_likelihood(theta)[0] == pytest.approx(total, abs=0.02)


def test_probabilities_of_all_histories_add_up_to_1():
    """All 512 histories of 3 sites and 3 visits, and the sum over all states of occupancy for one of them."""
    effort = np.array([[1, 0.5, 1], [1, 1, 0.2], [0.7, 1, 1]])
    false = FalsePositives(np.array([[0.1, 0.3, 0.02]]), np.array([2.0]))
    for spread in (False, True):
        theta = np.array([0.4, -0.6, 0.3, *([-0.2] if spread else [])])
        total = sum(
            exp(
                make_likelihood(np.array(cells).reshape(3, 3), effort, false, spread=spread).log_likelihood(
                    theta
                )[0]
            )
            for cells in itertools.product([False, True], repeat=9)
        )
        assert total == pytest.approx(1, abs=1e-9), f"spread {spread}"
    detected = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], bool)
    psi, p, states = logistic(0.4), [logistic(-0.6)] * 3, 0.0
    for state in itertools.product([0, 1], repeat=3):
        probability = 1.0
        for i, occupied in enumerate(state):
            pair = plain_site(detected[i], effort[i], p, exp(0.3) * false.rate[0, i], np.ones(3))
            probability *= psi * pair[0] if occupied else (1 - psi) * pair[1]
        states += probability
    value = make_likelihood(detected, effort, false).log_likelihood(np.array([0.4, -0.6, 0.3]))[0]
    assert value == pytest.approx(log(states), abs=1e-10)


def test_gradient_equals_differences(history):
    detected, effort, false = history
    rng = np.random.default_rng(2)
    x, z, ratio = (
        rng.standard_normal(SITES),
        rng.standard_normal((SITES, VISITS)),
        rng.gamma(2, 1, (SITES, VISITS)),
    )
    likelihood = make_likelihood(detected, effort, false, x=x, z=z, ratio=ratio, spread=True)
    theta = rng.normal([0, 0, -1, 0, 0, 0, -0.3], 0.3)
    differences = [
        (likelihood.objective(theta + shift)[0] - likelihood.objective(theta - shift)[0]) / 2e-5
        for shift in 1e-5 * np.eye(len(theta))
    ]
    np.testing.assert_allclose(likelihood.objective(theta)[1], differences, atol=2e-5)


def test_without_false_positives_it_is_mackenzies_model():
    """Two visits to 10 sites: 2 seen twice, 3 once, 5 never; the estimates have a closed form."""
    detected = np.array([[1, 1]] * 2 + [[1, 0]] * 3 + [[0, 0]] * 5, bool)
    result = fit_occupancy(detected, np.ones((10, 2)), spread=False)
    # 7 detections at 5 sites: p / (1 - (1 - p)^2) = 7/10, so p = 2 - 1/0.7, and psi (1 - (1 - p)^2) = 5/10.
    p = 2 - 1 / 0.7
    psi = 0.5 / (1 - (1 - p) ** 2)
    assert result.mean.mean == pytest.approx(psi, abs=1e-4)
    assert result.detection.mean == pytest.approx(p, abs=1e-4)
    assert result.naive == 0.5 and result.false_positive == "fixed at 0" and result.converged
    expected = 2 * log(psi * p**2) + 3 * log(psi * p * (1 - p)) + 5 * log(1 - psi + psi * (1 - p) ** 2)
    assert result.log_likelihood == pytest.approx(expected, abs=1e-6)


def test_limits_are_those_of_the_profile_on_a_grid(history):
    detected, effort, false = history
    result = fit_occupancy(detected, effort, false_positives=false, spread=False)

    def objective(psi, p, log_rho):
        rate = np.exp(log_rho) @ false.rate
        value = plain_log_likelihood(
            detected, effort, [psi] * SITES, [[p] * VISITS] * SITES, rate, np.ones(effort.shape)
        )
        return value + float(false.shape @ (log_rho - np.exp(log_rho)))

    def profile(psi):
        start = [log(0.35 / 0.65), 0, 0]
        return -minimize(lambda v: -objective(psi, logistic(v[0]), v[1:]), start, method="Nelder-Mead").fun

    best = profile(result.mean.mean)
    assert best > max(profile(result.mean.mean - 0.02), profile(result.mean.mean + 0.02))
    for limit in (result.mean.lower, result.mean.upper):
        # Half of the 90 % quantile of chi-squared with one degree of freedom.
        assert best - profile(limit) == pytest.approx(2.7055 / 2, abs=0.02), limit


def test_visits_without_effort_are_missing(history):
    detected, effort, false = history
    seen_while_off = detected | (effort == 0)
    wider = np.pad(effort, ((0, 1), (0, 3)))
    padded = np.pad(detected, ((0, 1), (0, 3)), constant_values=True)
    more = FalsePositives(np.pad(false.rate, ((0, 0), (0, 1)), constant_values=0.1), false.shape)
    plain = fit_occupancy(detected, effort, false_positives=false)
    assert fit_occupancy(seen_while_off, effort, false_positives=false) == plain
    result = fit_occupancy(padded, wider, false_positives=more)
    assert (result.mean, result.naive, result.sites) == (plain.mean, plain.naive, SITES)


def test_half_visits_detect_half_as_much():
    """A visit of effort 1 equals two of 1/2 if nothing was seen; here every visit of one site is halved."""
    detected = np.zeros((3, 4), bool)
    detected[0, :2] = detected[1, 0] = True
    whole, halves = np.ones((3, 4)), np.ones((3, 4))
    whole[2, 2:] = 0
    halves[2] = 0.5
    assert fit_occupancy(detected, whole).log_likelihood == pytest.approx(
        fit_occupancy(detected, halves).log_likelihood, abs=1e-6
    )


def test_a_species_never_detected(history):
    _, effort, false = history
    result = fit_occupancy(np.zeros(effort.shape, bool), effort, false_positives=false)
    assert (result.mean.lower, result.mean.mean, result.mean.upper) == (0, 0, 1)
    assert result.naive == 0 and result.detection is None


def test_covariates_in_other_units_change_coefficients_alone():
    rng = np.random.default_rng(4)
    sites, visits = 120, 10
    height, rain = rng.uniform(200, 2000, sites), rng.gamma(2, 5, (sites, visits))
    psi = 1 / (1 + np.exp(-(-1.5 + 0.002 * height)))
    p = 1 / (1 + np.exp(-(0.2 - 0.1 * rain)))
    detected = (rng.random(sites) < psi)[:, None] & (rng.random((sites, visits)) < p)
    effort = np.ones((sites, visits))
    result = fit_occupancy(
        detected, effort, site_covariates={"height": height}, visit_covariates={"rain": rain}, spread=False
    )
    planted = {
        "occupancy: intercept": -1.5,
        "occupancy: height": 0.002,
        "detection: intercept": 0.2,
        "detection: rain": -0.1,
    }
    for coefficient in result.coefficients:
        distance = abs(coefficient.estimate - planted[coefficient.name]) / coefficient.standard_error
        assert distance < 3, (
            f"{coefficient} is {distance:.1f} standard errors from {planted[coefficient.name]}"
        )
    assert result.mean.lower < psi.mean() < result.mean.upper
    other = fit_occupancy(
        detected,
        effort,
        site_covariates={"height": height / 1000},
        visit_covariates={"rain": rain + 5},
        spread=False,
    )
    assert other.mean.lower == pytest.approx(result.mean.lower, abs=1e-6)
    assert other.coefficients[1].estimate == pytest.approx(1000 * result.coefficients[1].estimate, rel=1e-5)
    assert other.coefficients[3].estimate == pytest.approx(result.coefficients[3].estimate, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"effort": np.zeros((4, 3))}, "no site has any effort"),
        ({"site_covariates": {"height": np.full(4, 7.0)}}, "covariate height is 7 everywhere"),
        ({"visit_covariates": {"rain": np.full((4, 3), np.nan)}}, "covariate rain has missing"),
    ],
)
def test_mistakes(change, message):
    arguments = {"effort": np.ones((4, 3))} | change
    with pytest.raises(UserError, match=message):
        fit_occupancy(np.eye(4, 3, dtype=bool), **arguments)
