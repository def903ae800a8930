"""The published cases 1 to 3, in short, against closed forms and SciPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import log_density
from scipy import stats
from scipy.integrate import solve_ivp

from bioclip_jax.twin.validate import bioenergetic, fit_pelts, lotka_volterra, lynx_hare, read_pelts


def test_small_orbits_have_the_period_of_theory_and_large_ones_keep_their_invariant():
    study = lotka_volterra.study_orbits(orbits=5)
    assert study["theory_days"] == pytest.approx(2 * np.pi / np.sqrt(0.55 * 0.80))
    # Of amplitude 1 %, an orbit's period differs by about 1e-5 from that of an infinitely small one.
    assert study["relative_error"] < 5e-5, study
    assert study["drift"] < 1e-8 and study["prey_ratio"] > 5, study


def test_the_bioenergetic_pair_reaches_its_closed_form():
    # B^2 / (B0^2 + B^2) = 1/8 at the consumer's balance, so that B = 0.5 / √7.
    producer = 0.5 / np.sqrt(7)
    consumer = 0.45 * producer * (1 - producer) / 0.314
    assert (producer, consumer) == pytest.approx((0.1890, 0.2197), abs=5e-5)
    assert bioenergetic.pair_steady_state(0.314, 8, 0.45, 0.5, 2) == pytest.approx((producer, consumer))
    end = bioenergetic.simulate_pair([(0.8, 0.1), (0.1, 0.8)], 300.0)
    np.testing.assert_allclose(end, [(producer, consumer)] * 2, rtol=1e-6)


def _published_log_density(pelts, alpha, beta, gamma, delta, initial, sigma):
    """Log density of the Stan case study, by SciPy, without the constants of the priors' truncation."""
    path = solve_ivp(
        lambda _, z: [(alpha - beta * z[1]) * z[0], (-gamma + delta * z[0]) * z[1]],
        (0, len(pelts.year) - 1),
        initial,
        t_eval=range(len(pelts.year)),
        rtol=1e-10,
        atol=1e-10,
    ).y
    total = (
        stats.norm(1, 0.5).logpdf([alpha, gamma]).sum() + stats.norm(0.05, 0.05).logpdf([beta, delta]).sum()
    )
    total += stats.lognorm(1, scale=np.exp(-1)).logpdf(sigma).sum()
    total += stats.lognorm(1, scale=10).logpdf(initial).sum()
    for observed, expected, scale in zip((pelts.hare, pelts.lynx), path, sigma):
        total += stats.lognorm(scale, scale=expected).logpdf(observed).sum()
    return total


def test_the_posterior_of_lynx_and_hare_is_that_of_the_case_study():
    """Differences of log densities, in which constants vanish, equal those of an independent program."""
    random = np.random.default_rng(0)
    pelts = lynx_hare.Pelts(np.arange(1900.0, 1912), *random.uniform(5, 60, (2, 12)))
    points = [
        (0.55, 0.028, 0.80, 0.024, [34.0, 5.9], [0.25, 0.26]),
        (0.9, 0.04, 0.6, 0.03, [20.0, 9.0], [0.6, 0.4]),
    ]
    names = ("alpha", "beta", "gamma", "delta", "initial", "sigma")
    ours = []
    with jax.enable_x64(True):
        log_pelts = jnp.log(jnp.stack([pelts.hare, pelts.lynx], axis=1))
        density = jax.jit(lambda values: log_density(lynx_hare.model, (log_pelts,), {}, values)[0])
        for point in points:
            ours.append(float(density({name: jnp.asarray(value) for name, value in zip(names, point)})))
    expected = [_published_log_density(pelts, *point) for point in points]
    assert ours[1] - ours[0] == pytest.approx(expected[1] - expected[0], rel=1e-4)


@pytest.mark.shared_data
def test_lynx_and_hare_in_short(shared_data):
    pelts = read_pelts(shared_data / "twin")
    assert len(pelts.year) == 21 and (pelts.hare[0], pelts.lynx[0]) == (30.0, 4.0)
    fit = fit_pelts(pelts, chains=2, warmup=100, draws=60)["parameters"]
    for name, mean in (("alpha", 0.545), ("beta", 0.028), ("gamma", 0.803), ("delta", 0.024)):
        assert fit[name]["mean"] == pytest.approx(mean, rel=0.15), f"{name}: {fit[name]}"
        assert fit[name]["r_hat"] < 1.1, f"{name}: {fit[name]}"
