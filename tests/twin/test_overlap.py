"""Overlap coefficients against plain NumPy, and against planted overlap."""

import numpy as np
import pytest
from scipy.special import iv

from bioclip_jax.twin.estimate import estimate_activity, estimate_overlaps, overlap_coefficient

TWO_PI = 2 * np.pi


def sample(n, mean_hour, kappa, seed):
    radians = np.random.default_rng(seed).vonmises(mean_hour * TWO_PI / 24, kappa, n)
    return radians % TWO_PI * 24 / TWO_PI


def direct(x_hours, y_hours, nu_x, nu_y, estimator):
    """The definitions, by direct sums over events."""

    def density(at, events, nu):
        return (np.exp(nu * np.cos(at[:, None] - events)) / (TWO_PI * iv(0, nu))).mean(axis=1)

    x, y = x_hours * TWO_PI / 24, y_hours * TWO_PI / 24
    if estimator == "delta1":
        at = np.linspace(0, TWO_PI, 20_000, endpoint=False)
        f, g = density(at, x, 1.25 * nu_x), density(at, y, 1.25 * nu_y)
        return np.minimum(f, g).mean() * TWO_PI
    ratio_x = density(x, y, nu_y) / density(x, x, nu_x)
    ratio_y = density(y, x, nu_x) / density(y, y, nu_y)
    return (np.minimum(1, ratio_x).mean() + np.minimum(1, ratio_y).mean()) / 2


@pytest.mark.parametrize("estimator", ["delta1", "delta4"])
@pytest.mark.parametrize("sizes", [(15, 40), (90, 800)])
def test_coefficient_equals_direct_sums(sizes, estimator):
    x, y = sample(sizes[0], 20, 2, 0), sample(sizes[1], 1, 4, 1)
    f, g = (estimate_activity(hours, draws=20).density for hours in (x, y))
    expected = direct(x, y, f.concentration, g.concentration, estimator)
    assert overlap_coefficient(f, g, estimator) == pytest.approx(expected, abs=1e-6)


def test_estimator_follows_the_smaller_sample():
    densities = {
        name: estimate_activity(sample(n, 12, 1, n), draws=20).density
        for name, n in {"a": 74, "b": 75, "c": 200}.items()
    }
    overlaps = estimate_overlaps(densities, draws=50)
    assert [(o.a, o.b, o.estimator) for o in overlaps] == [
        ("a", "b", "delta1"),
        ("a", "c", "delta1"),
        ("b", "c", "delta4"),
    ]


def test_equal_and_opposite_activity():
    day, night = sample(400, 12, 20, 0), sample(400, 0, 20, 1)
    densities = {
        name: estimate_activity(hours, draws=20).density
        for name, hours in {"day": day, "again": day, "night": night}.items()
    }
    same, apart, _ = (overlap.coefficient for overlap in estimate_overlaps(densities, draws=100))
    assert same.mean == pytest.approx(1, abs=1e-9)
    assert 0.9 < same.lower < 1
    assert apart.upper < 0.01


@pytest.mark.parametrize("n", [50, 150])
def test_interval_covers_the_planted_overlap(n):
    """At 90 %, over 25 pairs: 22.5 ± 1.5 expected (Δ1 at 50 events, Δ4 at 150)."""
    at = np.linspace(0, TWO_PI, 10_000, endpoint=False)
    f = np.exp(2 * np.cos(at - TWO_PI * 20 / 24)) / (TWO_PI * iv(0, 2))
    g = np.exp(2 * np.cos(at - TWO_PI * 15 / 24)) / (TWO_PI * iv(0, 2))
    planted = np.minimum(f, g).mean() * TWO_PI
    covered = 0
    for seed in range(25):
        densities = {
            "a": estimate_activity(sample(n, 20, 2, seed), draws=2).density,
            "b": estimate_activity(sample(n, 15, 2, 1000 + seed), draws=2).density,
        }
        interval = estimate_overlaps(densities, draws=100, seed=seed)[0].coefficient
        covered += interval.lower <= planted <= interval.upper
    assert 18 <= covered, f"{covered} of 25 intervals cover {planted:.3f}"


def test_bootstrap_is_a_function_of_the_seed():
    densities = {
        "a": estimate_activity(sample(60, 20, 2, 0)).density,
        "b": estimate_activity(sample(60, 15, 2, 1)).density,
    }
    runs = [estimate_overlaps(densities, seed=seed)[0].as_dict() for seed in (3, 3, 4)]
    assert runs[0] == runs[1]
    assert runs[0]["lower"] != runs[2]["lower"]
