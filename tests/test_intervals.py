"""95 % intervals against their formulas and SciPy, and the coverage of the bootstrap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bioclip_jax.intervals import bootstrap_interval, t_interval, wilson_interval


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval(counts):
    hits, n = counts
    z, share = stats.norm.ppf(0.975), hits / n
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    np.testing.assert_allclose(
        wilson_interval(hits, n), [max(0, center - half), min(1, center + half)], atol=1e-9
    )


def test_no_observations_have_no_interval():
    assert wilson_interval(0, 0) is None
    assert t_interval([0.5]) is None
    assert bootstrap_interval(np.sum, 0) is None


def test_t_interval():
    values = [0.61, 0.64, 0.59, 0.66, 0.62]
    theirs = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert t_interval(values) == pytest.approx(theirs, abs=1e-12)


def test_bootstrap_interval_covers_the_truth_in_95_percent_of_draws():
    random, covered = np.random.default_rng(3), 0
    for draw in range(200):
        right = random.random(80) < 0.7
        low, high = bootstrap_interval(
            lambda times, right=right: float(times @ right / times.sum()), 80, draws=300, seed=draw
        )
        covered += low <= 0.7 <= high
    # 95 % of 200 is 190; five standard deviations of a binomial around it.
    assert 172 <= covered <= 200, f"{covered} of 200 intervals of 95 % contain the true share"
