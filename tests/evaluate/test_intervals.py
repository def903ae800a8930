"""Intervals cover what they claim to, and are those of scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bioclip_jax.evaluate.intervals import bootstrap_interval, mean_interval, share_interval


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_shares_have_wilsons_interval(counts):
    hits, n = counts
    theirs = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(share_interval(hits, n), [theirs.low, theirs.high], atol=1e-9)


def test_nothing_has_no_interval():
    assert (
        share_interval(0, 0) is None
        and mean_interval([0.5]) is None
        and bootstrap_interval(np.sum, 0) is None
    )


def test_means_of_folds_have_students_interval():
    values = [0.61, 0.64, 0.59, 0.66, 0.62]
    theirs = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert mean_interval(values) == pytest.approx(theirs, abs=1e-12)


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says():
    random, covered = np.random.default_rng(3), 0
    for draw in range(200):
        right = random.random(80) < 0.7
        low, high = bootstrap_interval(
            lambda times, right=right: float(times @ right / times.sum()), 80, draws=300, seed=draw
        )
        covered += low <= 0.7 <= high
    # 95 % of 200 is 190; five standard deviations of a binomial around it.
    assert 172 <= covered <= 200, f"the true share lies in {covered} of 200 intervals of 95 %"
