"""Confusion matrices: counting, inversion, correction of counts, false-positive rates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from bioclip_jax.errors import UserError
from bioclip_jax.twin.estimate import Confusion, score_ratio
from bioclip_jax.twin.estimate.confusion import invert

# 20 % of each class's events are predicted as another class.
PLANTED = np.array(
    [[0.8, 0.15, 0.03, 0.02], [0.05, 0.8, 0.1, 0.05], [0.1, 0.05, 0.8, 0.05], [0.1, 0.0, 0.1, 0.8]]
)
TRUE = np.array([3000, 1000, 300, 120])


def test_pairs_are_counted():
    confusion = Confusion.from_pairs(["a", "a", "a", "b"], ["a", "a", "b", "c"])
    assert confusion.classes == ("a", "b", "c")
    np.testing.assert_array_equal(confusion.counts, [[2, 1, 0], [0, 0, 1], [0, 0, 0]])
    a, b, c = confusion.errors()
    assert (a.precision, a.recall, a.verified, a.predicted) == (1, 2 / 3, 3, 2)
    assert (b.precision, b.recall) == (0, 0)
    assert (c.precision, c.recall) == (0, None)
    with pytest.raises(UserError, match="class 'c', which is not among the classes"):
        Confusion.from_pairs(["a"], ["c"], ["a", "b"])


@given(
    st.lists(st.floats(0, 1e4), min_size=3, max_size=3),
    st.lists(st.floats(0, 0.15), min_size=6, max_size=6),
)
def test_inversion_recovers_the_true_counts(true, errors):
    matrix = np.zeros((3, 3))
    matrix[~np.eye(3, dtype=bool)] = errors
    matrix[np.diag_indices(3)] = 1 - matrix.sum(axis=1)
    events = np.array(true) @ matrix
    np.testing.assert_allclose(invert(events, matrix), true, rtol=1e-3, atol=5e-3 * (1 + sum(true)))


@given(st.lists(st.integers(0, 200), min_size=4, max_size=4))
def test_inversion_keeps_the_number_of_events(events):
    """Also where the matrix's inverse gives negative counts."""
    result = invert(np.array(events, float), PLANTED)
    assert (result >= 0).all() and result.sum() == pytest.approx(sum(events), abs=1e-6)
    plain = np.array(events) @ np.linalg.inv(PLANTED)
    if (plain >= 1).all():
        np.testing.assert_allclose(result, plain, rtol=0.02)


def draw_survey(rng, verified, same_survey):
    table = np.array([rng.multinomial(n, row) for n, row in zip(TRUE, PLANTED)])
    if same_survey:
        counts = rng.multivariate_hypergeometric(table.ravel(), verified).reshape(4, 4)
    else:
        counts = np.array([rng.multinomial(verified // 4, row) for row in PLANTED])
    return table.sum(axis=0), Confusion(tuple("abcd"), counts, same_survey)


@pytest.mark.parametrize("same_survey", [True, False])
def test_corrected_counts_are_unbiased(same_survey):
    """At 20 % confusion and 200 verified events, averaged over 200 surveys; predictions are far off."""
    rng = np.random.default_rng(0)
    ratios, naive = [], []
    for _ in range(200):
        events, confusion = draw_survey(rng, 200, same_survey)
        ratios.append(confusion.totals(events) / TRUE)
        naive.append(events / TRUE)
    corrected, naive = np.mean(ratios, axis=0), np.mean(naive, axis=0)
    assert abs(naive - 1).max() > 0.5, naive
    assert abs(corrected.mean() - 1) < 0.05, corrected
    # The rarest class has more false events than true ones, and about six verified ones.
    assert abs(corrected[:3] - 1).max() < 0.05 and abs(corrected[3] - 1) < 0.15, corrected


def test_shares_of_verified_events_are_used_directly():
    """With many verified events of the survey: 90 % of `a` and 40 % of `b` are right."""
    confusion = Confusion(("a", "b"), np.array([[9000, 6000], [1000, 4000]]))
    totals = confusion.totals(np.array([100, 50]))
    np.testing.assert_allclose(totals, [0.9 * 100 + 0.6 * 50, 0.1 * 100 + 0.4 * 50], rtol=1e-3)
    # Counts from elsewhere inform P(predicted | true) alone: 9/15 and 6/15, 1/5 and 4/5.
    elsewhere = Confusion(("a", "b"), confusion.counts, same_survey=False)
    expected = np.linalg.solve(np.array([[0.6, 0.4], [0.2, 0.8]]).T, [70, 80])
    np.testing.assert_allclose(elsewhere.totals(np.array([70, 80])), expected, rtol=1e-3)


def test_draws_center_on_the_matrix():
    rng = np.random.default_rng(1)
    for same_survey in (True, False):
        events, confusion = draw_survey(rng, 2000, same_survey)
        draws = confusion.draws(events, 300, rng)
        np.testing.assert_allclose(draws.sum(axis=2), 1)
        np.testing.assert_allclose(draws.mean(axis=0), confusion.matrix(events), atol=0.02)


def test_sites_add_up_to_the_corrected_total():
    rng = np.random.default_rng(2)
    _, confusion = draw_survey(rng, 400, True)
    events = rng.poisson(rng.gamma(0.3, 10, (30, 4)) @ PLANTED)
    corrected = confusion.correct(events)
    assert (corrected >= 0).all()
    np.testing.assert_allclose(corrected.sum(axis=0), confusion.totals(events.sum(axis=0)))


def test_false_positives_follow_the_other_species():
    """`b` is only ever a mistaken `a`, at the sites where `a` is."""
    confusion = Confusion(("a", "b"), np.array([[900, 100], [0, 0]]))
    events = np.array([[90, 10], [0, 0], [0, 0]])
    of_a, of_b = confusion.false_positives(events, np.array([100.0, 100.0, 50.0]))
    # A tenth of 100 events in 100 days, and half an event about the mean of 100 events in 250 days.
    expected = [0.1 * 100.5 / 101.25, 0.1 * 0.5 / 101.25, 0.1 * 0.5 / 51.25]
    np.testing.assert_allclose(of_b.rate[0], expected, rtol=0.01)
    # 100 verified errors, and a tolerance of 0.3 in the logarithm.
    assert of_b.shape[0] == pytest.approx(1 / (0.01 + 0.09), rel=0.01)
    assert of_a.rate.max() < 1e-3


def test_weak_sources_are_taken_together():
    classes = 30
    rng = np.random.default_rng(3)
    counts = np.diag(np.full(classes, 50)) + rng.poisson(0.3, (classes, classes))
    events = rng.poisson(5, (10, classes))
    confusion = Confusion(tuple(map(str, range(classes))), counts)
    effort = np.full(10, 30.0)
    false = confusion.false_positives(events, effort)[4]
    assert false.rate.shape == (8, 10) and (false.shape > 0).all()
    matrix, x = confusion.matrix(events.sum(axis=0)), confusion.correct(events)
    for site in range(10):
        total = 0.0
        for j in set(range(classes)) - {4}:
            # Events predicted as class 4 say nothing of how many others are taken for it.
            of_4 = events[site, 4] * x[site, j] * matrix[j, 4] / (x[site] @ matrix[:, 4])
            others = (x[site, j] - of_4) / (1 - matrix[j, 4])
            total += matrix[j, 4] * (max(others, 0) + 0.5) / (30 + 0.5 / (x[:, j].sum() / 300))
        assert false.rate[:, site].sum() == pytest.approx(total, rel=1e-9)


def test_classes_without_verified_events_are_reported():
    confusion = Confusion(("a", "b"), np.array([[30, 0], [0, 0]]))
    assert confusion.unverified(np.array([[5, 2], [1, 0]])) == ["b"]
    assert confusion.unverified(np.array([[5, 0], [1, 0]])) == []
    assert np.isfinite(confusion.totals(np.array([6, 2]))).all()


def test_unverified_blanks_stay_blanks():
    """People labeled 40 animals and none of the 50 events that the machine calls blank."""
    confusion = Confusion(("a", "blank"), np.array([[40, 0], [0, 0]]))
    totals = confusion.totals(np.array([50, 50]))
    # By the prior 1 of 42 is named wrong; half of the events are blank, as if 20 of 40 had been verified:
    # 41 a's, of which 1/42 are missed, beside 21 blanks, of which 41/42 are named so.
    assert totals[0] == pytest.approx(50 + 50 / 22, abs=0.2)


def test_score_ratio_is_that_of_the_densities():
    """Scores of true detections are Beta(5, 2), of false ones Beta(2, 3), and 70 % of detections are true."""
    score = np.linspace(0.1, 0.9, 9)
    true, false = beta.pdf(score, 5, 2), beta.pdf(score, 2, 3)
    probability = 0.7 * true / (0.7 * true + 0.3 * false)
    np.testing.assert_allclose(score_ratio(probability, 0.7), true / false, rtol=1e-9)
    np.testing.assert_allclose(score_ratio(np.array([0.0, 1.0]), 0.7), [1e-3, 1e3])
