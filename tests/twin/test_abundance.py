"""Relative abundance and group size."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, t

from bioclip_jax.errors import UserError
from bioclip_jax.twin.estimate import Confusion, group_size, relative_abundance
from bioclip_jax.twin.estimate.abundance import gamma_interval


def test_rates_per_100_days_by_hand():
    """12 events in 150 days; the third camera never ran."""
    [result] = relative_abundance(np.array([[10], [2], [7]]), np.array([100.0, 50.0, 0.0]))
    assert result.corrected.mean == pytest.approx(8) and result.corrected == result.naive
    assert result.corrected.lower < 8 < result.corrected.upper
    assert result.events == result.predicted == 12


@pytest.mark.parametrize("events", [1, 7, 60])
def test_intervals_of_poisson_counts(events):
    """Exact (Garwood 1936) limits below, and the mid-p ones between those of n and n + 1 above."""
    interval = gamma_interval(events / 200, events / 200**2, 1 / 200, 0.9)
    assert interval.lower * 200 == pytest.approx(chi2.ppf(0.05, 2 * events) / 2)
    assert chi2.ppf(0.95, 2 * events) / 2 < interval.upper * 200 < chi2.ppf(0.95, 2 * events + 2) / 2


@pytest.mark.parametrize("estimate", [0.0, 1e-300, 0.01, 0.5, 1.0])
def test_estimates_below_their_error_have_an_upper_limit_of_a_few_errors(estimate):
    """A corrected rate near 0 with a standard error of 4 events: as one effective event of that size."""
    interval = gamma_interval(estimate, 16.0, 1.0, 0.9)
    assert interval.upper == pytest.approx(4 * chi2.ppf(0.95, 3) / 2)
    assert interval.lower < 0.01 * estimate or interval.lower == 0
    # An error of a hundredth of an event rules out no more than having seen nothing does.
    assert gamma_interval(0.001 * estimate, 1e-4, 1.0, 0.9).upper == pytest.approx(-np.log(0.05))


def test_no_events_leave_an_upper_limit():
    [result] = relative_abundance(np.zeros((20, 1)), np.full(20, 30.0))
    assert (result.corrected.mean, result.corrected.lower) == (0, 0)
    # The rule of three: 2.996 events in 600 days.
    assert result.corrected.upper == pytest.approx(-np.log(0.05) / 6)
    assert result.relative_error == float("inf")


def test_variance_is_that_of_a_ratio_over_sites():
    rng = np.random.default_rng(0)
    effort = rng.uniform(20, 60, 50)
    events = rng.poisson(effort * rng.gamma(0.7, 0.3, 50))[:, None]
    [result] = relative_abundance(events, effort)
    rate = events.sum() / effort.sum()
    residual = events[:, 0] - rate * effort
    error = np.sqrt(50 / 49 * (residual**2).sum()) / effort.sum()
    assert result.relative_error == pytest.approx(error / rate, rel=0.1)


def test_fewer_verified_events_make_wider_intervals():
    rng = np.random.default_rng(1)
    matrix = np.array([[0.85, 0.15], [0.05, 0.95]])
    true = np.column_stack([rng.poisson(20, 40), rng.poisson(3, 40)])
    events = np.stack([rng.binomial(true[:, 0], 0.85), rng.binomial(true[:, 1], 0.95)], axis=1)
    events = events + (true - events)[:, ::-1]
    effort, widths = np.full(40, 30.0), []
    for verified in (60, 6000):
        counts = np.round(verified * matrix * (true.sum(axis=0) / true.sum())[:, None]).astype(int)
        result = relative_abundance(events, effort, Confusion(("a", "b"), counts))
        planted = true.sum(axis=0) / effort.sum() * 100
        for k, one in enumerate(result):
            assert one.corrected.lower < planted[k] < one.corrected.upper, (verified, k)
        assert result[1].naive.lower > planted[1], "the naive interval covers, so the case shows nothing"
        widths.append(result[1].corrected.upper - result[1].corrected.lower)
    assert widths[0] > 1.3 * widths[1]


def test_without_effort_nothing_is_estimated():
    with pytest.raises(UserError, match="no deployment has any effort"):
        relative_abundance(np.ones((3, 2)), np.zeros(3))


def test_group_size_by_hand():
    """Site 4 has events of 1, 2 and 3 animals, site 9 one of 6: a mean of 3."""
    result = group_size(np.array([1, 2, 3, 6]), np.array([4, 4, 4, 9]))
    # Residuals 6 - 3 * 3 and 6 - 3: the variance of the ratio is 2/1 * (9 + 9) / 4**2.
    half = t.ppf(0.95, 1) * np.sqrt(2 * 18) / 4 / 3
    assert result.mean == 3
    assert result.upper == pytest.approx(3 * np.exp(half)) and result.lower == pytest.approx(
        3 * np.exp(-half)
    )
    assert group_size(np.array([], int), np.array([], int)) is None
    assert group_size(np.array([2, 3]), np.array([1, 1])).upper == float("inf")
