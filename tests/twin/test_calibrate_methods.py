"""Maxima, curvatures, importance draws and rank tests of a calibration, against closed forms."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_t, norm

from bioclip_jax.twin.calibrate import (
    Ranks,
    WeightedDraws,
    covariances,
    curvatures,
    importance_draws,
    judge_ranks,
    maximize,
    sample_chains,
)

PRECISION = np.array([[4.0, 1.5, 0.0], [1.5, 2.0, 0.3], [0.0, 0.3, 30.0]])


def gaussian(u, index):
    """A normal with another mean for each start."""
    shifted = u - index[:, None] * np.array([1.0, -2.0, 0.1])
    return -0.5 * np.einsum("pi,ij,pj->p", shifted, PRECISION, shifted), -shifted @ PRECISION


def rosenbrock(u, _):
    x, y = u.T
    value = -((1 - x) ** 2) - 10 * (y - x**2) ** 2
    gradient = np.stack([2 * (1 - x) + 40 * x * (y - x**2), -20 * (y - x**2)], axis=1)
    return value, gradient


def test_maxima_of_normals_and_their_covariances():
    maxima = maximize(gaussian, np.full((3, 3), 4.0), tolerance=1e-5)
    expected = np.arange(3)[:, None] * np.array([1.0, -2.0, 0.1])
    np.testing.assert_allclose(maxima.u, expected, atol=1e-4)
    assert maxima.converged.all() and (maxima.iterations < 30).all()
    covariance = covariances(curvatures(gaussian, maxima.u))
    np.testing.assert_allclose(covariance, np.broadcast_to(np.linalg.inv(PRECISION), (3, 3, 3)), rtol=1e-5)


def test_maximum_at_the_end_of_a_curved_valley():
    maxima = maximize(rosenbrock, np.array([[-1.2, 1.0], [0.0, 0.0]]), tolerance=1e-6)
    np.testing.assert_allclose(maxima.u, 1.0, atol=1e-4)


def test_failures_are_not_climbed_to_and_not_maxima():
    def half(u, _):
        value = np.where(u[:, 0] < 2, u[:, 0] - 0.05 * u[:, 0] ** 2, -np.inf)
        return value, np.where(u < 2, 1 - 0.1 * u, 0.0)

    maxima = maximize(half, np.array([[0.0], [5.0]]))
    assert maxima.u[0, 0] < 2, "stepped beyond where the density ends"
    assert not maxima.converged[1], "a start without a density has no maximum"


def test_a_variance_above_the_priors_is_not_trusted():
    covariance = covariances(np.array([[[0.2, 0.0], [0.0, -3.0]]]))
    np.testing.assert_allclose(covariance[0], np.eye(2))


def test_importance_draws_of_a_skewed_density():
    # exp of a gamma variable's logarithm: shape 2, far from the normal that proposes.
    def log_density(u):
        return 2 * u[:, 0] - np.exp(u[:, 0]) + norm.logpdf(u[:, 1], 1.0, 0.5)

    draws = importance_draws(log_density, np.zeros(2), np.eye(2), 4000, np.random.default_rng(0))
    mean, covariance = draws.moments()
    # Digamma and trigamma of 2.
    np.testing.assert_allclose(mean, [0.4228, 1.0], atol=0.03)
    np.testing.assert_allclose(np.diag(covariance), [0.6449, 0.25], atol=0.05)
    assert draws.effective > 2000
    sample = draws.resample(500, np.random.default_rng(1))
    assert sample.shape == (500, 2)
    np.testing.assert_allclose(sample.mean(axis=0), mean, atol=0.05)


def test_weights_of_proposals_follow_the_mixture():
    """With the target a t itself and one round, all weights are equal."""
    target = multivariate_t([0.0, 0.0], np.eye(2), df=6)
    draws = importance_draws(target.logpdf, np.zeros(2), np.eye(2), 500, np.random.default_rng(0), rounds=1)
    np.testing.assert_allclose(draws.weights, 1 / 500, rtol=1e-5)
    assert WeightedDraws(np.zeros((4, 1)), np.array([1.0, 0, 0, 0])).effective == pytest.approx(1)


def log_gamma_and_normal(u):
    """The logarithm of a gamma variable of shape 2, and a normal of mean 1 and deviation 1/2."""
    return 2 * u[0] - jnp.exp(u[0]) - 2 * (u[1] - 1) ** 2


def test_chains_sample_a_skewed_density_and_resume_where_they_were_killed(tmp_path):
    mode, root = np.array([np.log(2), 1.0]), np.diag([0.7, 0.5])
    whole, divergent = sample_chains(log_gamma_and_normal, mode, root, 300, seed=2)
    assert whole.shape == (4, 300, 2) and not divergent.any()
    np.testing.assert_allclose(whole.mean(axis=(0, 1)), [0.4228, 1.0], atol=0.08)
    np.testing.assert_allclose(whole.var(axis=(0, 1)), [0.6449, 0.25], rtol=0.2)

    def killed(done, _):
        if done == 150:
            raise KeyboardInterrupt

    kept = {"seed": 2, "digest": "one", "checkpoint": tmp_path / "state.npz"}
    with pytest.raises(KeyboardInterrupt):
        sample_chains(log_gamma_and_normal, mode, root, 300, report=killed, **kept)
    steps = []
    resumed, _ = sample_chains(
        log_gamma_and_normal, mode, root, 300, report=lambda done, _: steps.append(done), **kept
    )
    assert steps[0] == 175, "the first 150 steps are not repeated"
    np.testing.assert_array_equal(resumed, whole)
    assert not kept["checkpoint"].exists()


def test_rank_tests_find_a_wrong_posterior_and_name_the_unidentified():
    rng = np.random.default_rng(0)
    uniform = rng.random((200, 3))
    sd = np.tile([0.3, 0.3, 0.95], (200, 1))
    names = ("told", "told too", "untold")
    right = judge_ranks(Ranks(names, uniform, sd, np.full(200, 300.0), 0))
    assert right["uniform"] and right["identified"] == ["told", "told too"]
    assert right["not_identified"] == ["untold"]
    wrong = uniform.copy()
    wrong[:, 1] = norm.cdf(2 * norm.ppf(uniform[:, 1]))  # posteriors half as wide as they should be
    verdict = judge_ranks(Ranks(names, wrong, sd, np.full(200, 300.0), 0))
    assert not verdict["uniform"] and verdict["parameters"]["told too"]["corrected_p"] < 0.01
    assert sum(verdict["parameters"]["told"]["histogram"]) == 200
