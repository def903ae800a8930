"""The likelihood of a calibration, against plain loops and closed forms."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_web
from scipy.stats import dirichlet, nbinom

from bioclip_jax.errors import UserError
from bioclip_jax.twin.calibrate import (
    BLANK,
    Calibration,
    Detectability,
    apply_parameters,
    community_parameters,
    log_negative_binomial,
    period_weights,
)
from bioclip_jax.twin.community import simulate

CLASSES = ("Equus quagga", "Panthera leo", BLANK)
DIRICHLET = np.array([[40.0, 4.0, 6.0], [3.0, 20.0, 2.0], [0.2, 1.0, 90.0]])


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    with jax.enable_x64(True):
        blueprint = small_web.small_blueprint()
        conditions, days = small_web.seasonal_conditions(blueprint, 4)
        survey = small_web.empty_survey(
            4,
            CLASSES,
            dirichlet=DIRICHLET,
            labeled_share=np.array([0.3]),
            detectability={"Equus quagga": Detectability(np.log(0.02), 0.2)},
        )
        survey.counts[:] = np.random.default_rng(0).poisson(20, survey.counts.shape)
        survey.effort_days[2] = 0.0
        return Calibration.create(blueprint, conditions, days, survey)


def test_negative_binomial_equals_scipys():
    counts, mean, dispersion = np.array([0, 3, 40, 1e4]), np.array([0.5, 3.0, 25.0, 9e3]), 0.3
    with jax.enable_x64(True):
        ours = log_negative_binomial(jnp.asarray(counts), jnp.asarray(mean), jnp.asarray(dispersion))
    expected = nbinom.logpmf(counts, 1 / dispersion, 1 / (1 + dispersion * mean))
    np.testing.assert_allclose(np.asarray(ours), expected, rtol=1e-10)


def test_likelihood_equals_a_plain_loop(calibration):
    u = np.random.default_rng(1).normal(size=len(calibration.names)) * 0.5
    with jax.enable_x64(True):
        ours = float(eqx.filter_jit(lambda c, u: c.log_likelihood(u))(calibration, jnp.asarray(u)))
        value = dict(zip(calibration.names, np.asarray(calibration.values(jnp.asarray(u)))))
        community, biomass = apply_parameters(
            calibration.names, calibration.values(jnp.asarray(u)), calibration.blueprint
        )
        path = np.asarray(
            simulate(community, biomass, calibration.conditions, calibration.days, tolerance=1e-5).biomass
        )
    odds = np.eye(3)
    for j, k in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 1)):
        odds[j, k] = np.exp(value[f"confusion: {CLASSES[j]} as {CLASSES[k]}"])
    cells = DIRICHLET / DIRICHLET.sum(axis=1, keepdims=True)
    matrix = odds / odds.sum(axis=1, keepdims=True)
    matrix[2] *= 1 - cells[2, 0]
    matrix[2, 0] = cells[2, 0]  # a cell too small to vary keeps its share
    dispersion = np.exp(value["dispersion"])
    total = 0.0
    for period in (0, 1, 3):
        true = np.zeros(3)
        for j, name in enumerate(CLASSES[:2]):
            species = small_web.NAMES.index(name)
            mean_biomass = path[period : period + 2, 0, species].mean()
            true[j] = mean_biomass / small_web.MASS_KG[species] * np.exp(value[f"detectability: {name}"])
        true[2] = np.exp(value["blank"])
        for k in range(3):
            machine = sum(true[j] * matrix[j, k] for j in range(3))
            mean = (0.3 * true[k] + 0.7 * machine + 1e-6) * 600.0
            count = float(calibration.counts[period, 0, k])
            total += nbinom.logpmf(count, 1 / dispersion, 1 / (1 + dispersion * mean))
    assert ours == pytest.approx(total, rel=1e-8), "a period without effort must not count"


def test_prior_is_normal_and_the_confusions_dirichlet(calibration):
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(2, len(calibration.names)))
    with jax.enable_x64(True):
        ours = float(calibration.log_prior(jnp.asarray(first)) - calibration.log_prior(jnp.asarray(second)))
        matrices = [np.asarray(calibration.confusion_matrix(jnp.asarray(u))) for u in (first, second)]
    normal = len(calibration.names) - 5
    expected = -0.5 * ((first[:normal] ** 2).sum() - (second[:normal] ** 2).sum())
    for row in range(3):
        kept = [0, 1, 2] if row < 2 else [1, 2]
        shares = [matrix[row, kept] / matrix[row, kept].sum() for matrix in matrices]
        # The density in log-odds is that of the shares times the Jacobian, the product of the shares.
        density = [dirichlet.logpdf(share, DIRICHLET[row, kept]) + np.log(share).sum() for share in shares]
        expected += density[0] - density[1]
    assert ours == pytest.approx(expected, rel=1e-9)


def test_period_weights_average_a_linear_interpolant():
    times, values = np.array([0.0, 10.0, 40.0]), np.array([1.0, 3.0, 0.0])
    start, end = np.array([2.0, 5.0, 0.0, 30.0, 40.0]), np.array([6.0, 20.0, 40.0, 30.0, 40.0])
    ours = period_weights(start, end, times) @ values
    for number, (a, b) in enumerate(zip(start, end)):
        grid = np.linspace(a, b, 200_001)
        expected = np.interp(grid, times, values).mean()
        assert ours[number] == pytest.approx(expected, abs=2e-4), (a, b)


def test_default_parameters_keep_the_balance():
    with jax.enable_x64(True):
        blueprint = small_web.small_blueprint()
        names = tuple(one.name for one in community_parameters(blueprint))
        community, biomass = apply_parameters(names, jnp.zeros(len(names)), blueprint)
        np.testing.assert_allclose(biomass[0], small_web.BIOMASS)
        for ours, theirs in zip(jax.tree.leaves(community), jax.tree.leaves(blueprint.build())):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_producers_never_grow_less_than_is_eaten():
    with jax.enable_x64(True):
        blueprint = small_web.small_blueprint()
        names = tuple(one.name for one in community_parameters(blueprint))
        for seed in range(20):
            values = np.random.default_rng(seed).normal(size=len(names)) * 1.5
            community, _ = apply_parameters(names, jnp.asarray(values), blueprint)
            assert float(community.inverse_capacity[0]) > 0, f"seed {seed}: grass without a capacity"
            assert np.isfinite(np.asarray(community.capture)).all(), f"seed {seed}"


def test_unknown_class_and_short_conditions():
    with jax.enable_x64(True):
        blueprint = small_web.small_blueprint()
        conditions, days = small_web.seasonal_conditions(blueprint, 3)
        with pytest.raises(UserError, match="'Equus quaga'.*did you mean"):
            Calibration.create(blueprint, conditions, days, small_web.empty_survey(3, ("Equus quaga",)))
        with pytest.raises(UserError, match="end on day 91"):
            Calibration.create(blueprint, conditions, days, small_web.empty_survey(4, ("Equus quagga",)))
