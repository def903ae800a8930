"""Simulated communities against SciPy, their convergence, gradients, failures and refusals."""

from __future__ import annotations

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_food_web import derivative, random_community, random_conditions, start
from scipy.integrate import solve_ivp

from bioclip_jax.errors import UserError
from bioclip_jax.twin.community import Community, Conditions, Trajectory, simulate, simulate_ensemble

DAYS = np.array([20.0, 30.0, 15.0])


@functools.cache
def program(max_steps: int) -> Callable[..., Trajectory]:
    return jax.jit(functools.partial(simulate, max_steps=max_steps))


def run(
    community: Community, biomass: np.ndarray, conditions: Conditions, tolerance: float, max_steps: int = 4096
) -> Trajectory:
    with jax.enable_x64(True):
        path = program(max_steps)(community, biomass, conditions, DAYS, tolerance=tolerance)
    return jax.tree.map(np.asarray, path)


def flat_derivative(community: Community, now: Conditions, _: float, flat: np.ndarray) -> np.ndarray:
    biomass, nutrients = np.split(flat.reshape(community.n_patches, -1), [community.n_species], axis=1)
    return np.concatenate(derivative(community, now, biomass, nutrients), axis=1).ravel()


@pytest.fixture(scope="module")
def case() -> tuple[Community, np.ndarray, Conditions, np.ndarray]:
    """A web in two patches with two nutrients, and SciPy's path of biomass and nutrients at the ends."""
    community = random_community(5)
    conditions = random_conditions(5, community, len(DAYS))
    biomass = start(5, community)
    pools = np.tile(community.supply, (community.n_patches, 1))
    state, path = np.concatenate([biomass, pools], axis=1), []
    for interval, days in enumerate(DAYS):
        now = jax.tree.map(lambda leaf, at=interval: leaf[at], conditions)
        change = functools.partial(flat_derivative, community, now)
        solution = solve_ivp(change, (0, days), state.ravel(), method="DOP853", rtol=1e-11, atol=1e-12)
        state = solution.y[:, -1].reshape(state.shape)
        path.append(state)
    return community, biomass, conditions, np.array(path)


def test_path_equals_scipy(case: tuple) -> None:
    community, biomass, conditions, expected = case
    path = run(community, biomass, conditions, 1e-10)
    n = community.n_species
    np.testing.assert_allclose(path.biomass[1:], expected[:, :, :n], rtol=1e-8)
    np.testing.assert_allclose(path.nutrients[1:], expected[:, :, n:], rtol=1e-8)


def test_errors_shrink_with_the_tolerance(case: tuple) -> None:
    community, biomass, conditions, expected = case
    errors, steps = [], []
    for tolerance in (1e-4, 1e-6, 1e-8):
        path = run(community, biomass, conditions, tolerance)
        errors.append(np.abs(np.log(path.biomass[-1] / expected[-1, :, : community.n_species])).max())
        steps.append(int(path.steps))
    for tolerance, error in zip((1e-4, 1e-6, 1e-8), errors):
        assert error < 20 * tolerance, f"errors {errors} at tolerances 1e-4, 1e-6, 1e-8"
    # A method of order 5 takes 100^(1/5) = 2.5 times the steps for a hundredth of the error.
    assert steps[2] < 3 * steps[1], f"steps {steps}"


PARAMETERS = (
    "capture",
    "growth",
    "metabolism",
    "hill",
    "interference",
    "movement",
    "supply",
    "half_saturation",
)


def test_gradient_equals_finite_differences(case: tuple) -> None:
    community, biomass, conditions, _ = case
    random = np.random.default_rng(0)

    def final(values: dict[str, jax.Array], log_biomass: jax.Array) -> jax.Array:
        changed = eqx.tree_at(
            lambda c: [getattr(c, name) for name in values], community, list(values.values())
        )
        path = simulate(changed, jnp.exp(log_biomass), conditions, DAYS, tolerance=1e-9)
        return (weights * jnp.log(path.biomass[-1])).sum() + jnp.log(path.nutrients[-1]).sum()

    with jax.enable_x64(True):
        weights = jnp.asarray(random.normal(size=biomass.shape))
        at = ({name: getattr(community, name) for name in PARAMETERS}, jnp.log(jnp.asarray(biomass)))
        value = jax.jit(final)
        slopes = jax.jit(jax.grad(final, argnums=(0, 1)))(*at)
        names = [*PARAMETERS, "initial biomass"]
        leaves = [*(at[0][name] for name in PARAMETERS), at[1]]
        gradients = [*(slopes[0][name] for name in PARAMETERS), slopes[1]]
        for number, name in enumerate(names):
            direction = jnp.asarray(random.normal(size=leaves[number].shape)) * leaves[number]

            def moved(by: float, number: int = number, direction: jax.Array = direction) -> jax.Array:
                changed = [*leaves[:number], leaves[number] + by * direction, *leaves[number + 1 :]]
                return value(dict(zip(PARAMETERS, changed)), changed[-1])

            difference = float(moved(1e-4) - moved(-1e-4)) / 2e-4
            ours = float((gradients[number] * direction).sum())
            assert ours == pytest.approx(difference, rel=1e-4), f"derivative by {name}"


def test_forward_mode_equals_reverse_mode(case: tuple) -> None:
    community, biomass, conditions, _ = case

    def final(scale: jax.Array, checkpoints: int | None) -> jax.Array:
        changed = eqx.tree_at(lambda c: c.capture, community, community.capture * scale)
        path = simulate(changed, biomass, conditions, DAYS, checkpoints=checkpoints)
        return jnp.log(path.biomass[-1]).sum()

    with jax.enable_x64(True):
        reverse = jax.jit(jax.grad(lambda scale: final(scale, None)))(1.0)
        forward = jax.jit(jax.jacfwd(lambda scale: final(scale, 0)))(1.0)
    assert float(forward) == pytest.approx(float(reverse), rel=1e-10)


def test_too_few_steps_are_reported_and_cost_no_more(case: tuple) -> None:
    community, biomass, conditions, _ = case
    path = run(community, biomass, conditions, 1e-6, max_steps=4)
    assert not path.succeeded
    assert path.steps == 4
    assert np.isfinite(path.biomass).all()


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("biomass", (0, 3), -1.0, r"biomass\[0, 3\] \(species3\) is -1; it must be at least 0"),
        ("biomass", (1, 2), np.nan, r"biomass\[1, 2\] \(species2\) is nan; it must be at least 0"),
        ("rain", (2, 1), -0.1, r"rain\[2, 1\] is -0.1; it must be at least 0"),
        ("temperature_k", (0, 0), 20.0, r"temperature_k\[0, 0\] is 20; it must be in kelvin"),
        ("add", (1, 0, 5), np.inf, r"add\[1, 0, 5\] \(species5\) is inf; it must be at least 0"),
        ("nutrients", (0, 1), 0.0, r"nutrients\[0, 1\] is 0; it must be above 0"),
    ],
)
def test_impossible_inputs_are_refused(
    case: tuple, name: str, place: tuple, value: float, message: str
) -> None:
    community, biomass, conditions, _ = case
    biomass, nutrients = biomass.copy(), np.tile(community.supply, (2, 1))
    conditions = jax.tree.map(np.copy, conditions)
    for target in (({"biomass": biomass, "nutrients": nutrients} | vars(conditions))[name],):
        target[place] = value
    with jax.enable_x64(True), pytest.raises(UserError, match=message):
        simulate(community, biomass, conditions, DAYS, nutrients=nutrients)
    with pytest.raises(UserError, match=name):
        simulate_ensemble(community, biomass[None], conditions, DAYS, nutrients=nutrients)
