"""Fits of a small web: planted parameters, confused labels, and what the data cannot tell.

All tests share one structure, so that the log posterior is compiled once.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_web

from bioclip_jax.errors import UserError
from bioclip_jax.twin.calibrate import (
    Batch,
    Calibration,
    Detectability,
    Fit,
    ParameterDraws,
    fit_map,
    judge_ranks,
    log_values,
    predictive_check,
    predictive_counts,
    rank_simulations,
    summarize,
)

ZEBRA, HARE, LION = "Equus quagga", "Lepus capensis", "Panthera leo"
CLASSES = (ZEBRA, HARE, LION)
# A fifth of the zebras are taken for hares; 400 verified events of each.
VERIFIED = np.array([[320.0, 80.0, 0.1], [8.0, 392.0, 0.1], [0.1, 0.1, 400.0]])
MONTHS = 10


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    with jax.enable_x64(True):
        blueprint = small_web.small_blueprint()
        conditions, days = small_web.seasonal_conditions(blueprint, MONTHS)
        known = {ZEBRA: Detectability(np.log(0.05), 0.1), HARE: Detectability(np.log(0.003), 0.1)}
        survey = small_web.empty_survey(MONTHS, CLASSES, dirichlet=VERIFIED, detectability=known)
        return Calibration.create(blueprint, conditions, days, survey)


@pytest.fixture(scope="module")
def truth(calibration) -> np.ndarray:
    u = np.zeros(len(calibration.names))
    planted = {f"equilibrium: {ZEBRA}": 1.0, f"equilibrium: {HARE}": -0.8, f"initial: {ZEBRA}": -0.5}
    for name, value in {
        **planted,
        "dispersion": -2.5,
        "confusion: Equus quagga as Lepus capensis": 0.0,
    }.items():
        u[calibration.names.index(name)] = value
    return u


@pytest.fixture(scope="module")
def observed(calibration, truth) -> Calibration:
    """The calibration with counts that are expected of the planted parameters."""
    expected = Batch(calibration).expected(truth[None])[0]
    with jax.enable_x64(True):
        return calibration.with_counts(jnp.asarray(np.round(expected)))


@pytest.fixture(scope="module")
def fit(observed) -> Fit:
    return fit_map(Batch(observed), 700, starts=3, seed=1)


def test_gradient_follows_the_log_posterior(observed, truth):
    batch = Batch(observed)
    _, gradient = batch.value_and_grad(truth[None] + 0.1)
    shifts = 0.02 * np.eye(len(truth))
    slopes = (batch.value(truth + 0.1 + shifts) - batch.value(truth + 0.1 - shifts)) / 0.04
    np.testing.assert_allclose(gradient[0], slopes, atol=0.01 * np.abs(slopes).max())


def test_planted_parameters_are_recovered(observed, truth, fit):
    assert fit.diagnostics["maximum"]["converged"], fit.diagnostics
    again = fit_map(Batch(observed), 700, starts=3, seed=1)
    np.testing.assert_array_equal(again.u, fit.u, "the same seed gives the same draws")
    summary = summarize(observed, fit.u)
    planted = dict(zip(observed.names, np.exp(log_values(observed, truth[None])[0]), strict=True))
    for name in (f"equilibrium: {ZEBRA}", f"equilibrium: {HARE}"):
        entry = summary["parameters"][name]
        assert name in summary["identified"], f"{name}: contraction {entry['contraction']:.2f}"
        assert entry["lower"] < planted[name] < entry["upper"], (name, entry, planted[name])
    predicted = Batch(observed).expected(fit.mode[None])[0]
    np.testing.assert_allclose(predicted, np.asarray(observed.counts), rtol=0.15, atol=5)


def test_density_and_detectability_cannot_be_told_apart_without_movement(observed, fit):
    summary = summarize(observed, fit.u)
    assert f"equilibrium: {LION}" in summary["not_identified"], "nothing scales the lions' counts"
    assert "metabolism" in summary["not_identified"]
    lions = summary["parameters"][f"detectability: {LION}"]
    assert f"equilibrium: {LION}" in lions["confounded_with"], lions
    narrowest = summary["informed_directions"][0]
    assert narrowest["standard_deviation"] < 0.2, narrowest
    judged = summary["identified"] + summary["not_identified"]
    assert not any(name.startswith("confusion") for name in judged), "these have data of their own"


def test_confusion_is_corrected_and_ignoring_it_is_biased(observed, truth, fit):
    at = [observed.names.index(f"{kind}: {HARE}") for kind in ("equilibrium", "initial")]
    sd = np.array([observed.parameters[k].sd for k in at])
    planted, corrected = (sd * truth[at]).sum(), (sd * fit.mode[at]).sum()
    assert abs(corrected - planted) < 0.15, f"hares off by a factor {np.exp(corrected - planted):.2f}"
    # The same structure, with labels that are all but certain.
    first = len(observed.names) - len(observed.cells)
    with jax.enable_x64(True):
        trusting = eqx.tree_at(
            lambda c: (c.center, c.sd),
            observed,
            (observed.center.at[first:].set(-12.0), observed.sd.at[first:].set(1e-3)),
        )
    naive = fit_map(Batch(trusting), 100, starts=1)
    bias = (sd * naive.mode[at]).sum() - planted
    assert bias > 0.3, f"a fifth of the zebras are named hares, and the bias is only {bias:.2f}"


def test_predictions_of_the_fitted_model_cover_the_counts(observed, fit):
    rng = np.random.default_rng(0)
    replicates = predictive_counts(observed, fit.u, Batch(observed).expected(fit.u), rng)
    check = predictive_check(observed, replicates, seed=0)
    assert check["coverage_90"] >= 0.9, "counts without noise lie inside their intervals"
    assert len(check["pit"]) == MONTHS * 3


def test_ranks_of_a_few_simulations(calibration):
    verdict = judge_ranks(rank_simulations(Batch(calibration), 16, seed=3))
    assert verdict["skipped"] == 0 and verdict["simulations"] == 16
    assert verdict["uniform"], {name: entry["p"] for name, entry in verdict["parameters"].items()}
    assert f"equilibrium: {ZEBRA}" in verdict["identified"]
    assert f"equilibrium: {LION}" in verdict["not_identified"]


def test_draws_are_saved_and_applied(tmp_path, observed, fit):
    draws = ParameterDraws(observed.names, log_values(observed, fit.u), {"twin": "small"})
    draws.save(tmp_path)
    loaded = ParameterDraws.load(tmp_path)
    assert loaded.names == draws.names and len(loaded) == len(fit.u) and loaded.summary == {"twin": "small"}
    np.testing.assert_array_equal(loaded.values, draws.values)
    with jax.enable_x64(True):
        blueprint = small_web.small_blueprint()
        community, biomass = loaded.apply(blueprint, 7)
        index = loaded.names.index("metabolism")
        np.testing.assert_allclose(
            np.asarray(community.metabolism),
            np.asarray(blueprint.community.metabolism) * np.exp(draws.values[7, index]),
        )
        assert biomass.shape == (1, 4) and (np.asarray(biomass) > 0).all()
    with pytest.raises(UserError, match="Panthera leo, a species that the twin lacks"):
        loaded.check([name for name in small_web.NAMES if name != LION])
    (tmp_path / "draws.npz").write_bytes(b"torn")
    with pytest.raises(UserError, match="damaged posterior"):
        ParameterDraws.load(tmp_path)
    (tmp_path / "draws.npz").unlink()
    with pytest.raises(UserError, match="not a posterior \\(it has no draws.npz\\)"):
        ParameterDraws.load(tmp_path)
