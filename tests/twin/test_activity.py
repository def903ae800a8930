"""Activity curves against direct sums over events, and against planted activity."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import iv

from bioclip_jax.twin.estimate import estimate_activity

TWO_PI = 2 * np.pi


def crepuscular(n, seed=0):
    """Solar hours with peaks at 6 and 19 h."""
    random = np.random.default_rng(seed)
    dawn = random.random(n) < 0.4
    radians = np.where(dawn, random.vonmises(TWO_PI * 6 / 24, 6, n), random.vonmises(TWO_PI * 19 / 24, 3, n))
    return radians % TWO_PI * 24 / TWO_PI


def direct_bandwidth(hours, weights):
    """Ridout and Linkie's concentration, written as in the paper, with SciPy's root finder."""
    radians = hours * TWO_PI / 24
    kappas = []
    for k in (1, 2, 3):
        length = abs((weights * np.exp(1j * k * radians)).sum()) / weights.sum()
        kappas.append(brentq(lambda x, k=k, r=length: iv(k, x) / iv(0, x) - r, 0, 300, xtol=1e-12))
    kappa, n = max(kappas), weights.sum()
    return (3 * n * kappa**2 * iv(2, 2 * kappa) / (4 * np.sqrt(np.pi) * iv(0, kappa) ** 2)) ** 0.4


def direct_density(at_hours, hours, weights, nu):
    differences = (at_hours[:, None] - hours) * TWO_PI / 24
    kernel = np.exp(nu * np.cos(differences)) / (TWO_PI * iv(0, nu))
    return kernel @ weights / weights.sum()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [15, 300, 5000])
def test_density_equals_direct_sums(n, weighted):
    hours = crepuscular(n)
    weights = np.random.default_rng(1).uniform(0.8, 1, n) if weighted else np.ones(n)
    activity = estimate_activity(hours, weights if weighted else None, draws=50)
    nu = direct_bandwidth(hours, weights)
    assert activity.events == pytest.approx(weights.sum())
    assert activity.density.concentration == pytest.approx(nu, rel=1e-6)
    grid = np.arange(1024) * 24 / 1024
    direct = direct_density(grid, hours, weights, nu)
    np.testing.assert_allclose(activity.density.at_grid(), direct, atol=1e-6)
    # Each hour's integral by the midpoint rule.
    minutes = (np.arange(24 * 60) + 0.5) / 60
    hourly = direct_density(minutes, hours, weights, nu).reshape(24, 60).mean(axis=1) * TWO_PI / 24
    np.testing.assert_allclose(activity.solar_hour, hourly, atol=1e-5)
    assert activity.solar_hour.sum() == pytest.approx(1, abs=1e-12)
    assert activity.share_active.mean == pytest.approx(1 / (TWO_PI * direct.max()), abs=1e-6)


def test_events_at_midnight_are_on_both_sides_of_it():
    activity = estimate_activity(np.zeros(40), draws=50)
    assert activity.solar_hour[0] == pytest.approx(activity.solar_hour[23], abs=1e-9)
    assert activity.solar_hour[[0, 23]].sum() > 0.99


def test_planted_activity_is_recovered():
    """An exact sample (quantiles) of a density with one peak."""
    fine = (np.arange(100_000) + 0.5) / 100_000 * 24
    density = np.exp(3 * np.cos((fine - 9) * TWO_PI / 24))
    density /= density.sum()
    hours = np.interp((np.arange(20_000) + 0.5) / 20_000, np.cumsum(density), fine)
    activity = estimate_activity(hours, draws=200)
    planted = np.histogram(fine, 24, (0, 24), weights=density)[0]
    np.testing.assert_allclose(activity.solar_hour, planted, atol=2e-3)
    assert activity.share_active.mean == pytest.approx(1 / (density.max() * len(fine)), rel=0.02)


def test_weight_zero_and_unknown_hours_count_for_nothing():
    hours = crepuscular(60)
    plain = estimate_activity(hours)
    padded = estimate_activity(np.r_[hours, 3.0, np.nan], np.r_[np.ones(60), 0.0, 1.0])
    assert plain.as_dict() == padded.as_dict()


def test_interval_of_the_share_active_covers_it():
    """At 90 %, over 25 samples of a density with two sharp peaks: 22.5 ± 1.5 expected."""
    fine = (np.arange(100_000) + 0.5) / 100_000 * TWO_PI
    density = 0.4 * np.exp(6 * np.cos(fine - TWO_PI * 6 / 24)) / iv(0, 6)
    density += 0.6 * np.exp(3 * np.cos(fine - TWO_PI * 19 / 24)) / iv(0, 3)
    share = 1 / density.max()
    intervals = [
        estimate_activity(crepuscular(200, seed), draws=100, seed=seed).share_active for seed in range(25)
    ]
    covered = sum(interval.lower <= share <= interval.upper for interval in intervals)
    assert 18 <= covered, f"{covered} of 25 intervals cover {share:.3f}"


def test_too_few_events_give_a_reason():
    activity = estimate_activity(np.arange(9.0))
    assert activity.solar_hour is None
    assert activity.share_active is None
    assert activity.reason == "9 events with a solar time; at least 10 are needed"
    # Twenty events that are probably another species are less than ten of this one.
    assert estimate_activity(np.arange(20.0), np.full(20, 0.3)).reason.startswith("6 events")
