"""Simulations against SciPy and plain loops, and their gradients against finite differences."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_web import random_community, varied_conditions
from scipy.integrate import solve_ivp

from bioclip_jax.twin.community import simulate

INTERVALS, DAYS = 6, 40.0
BOLTZMANN = 8.617333262e-5
_run = jax.jit(simulate, static_argnames=("tolerance",))


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def _slopes(community, conditions, interval: int, state: np.ndarray) -> np.ndarray:
    """dB/dt of species and nutrients by patch, one species and one link at a time."""
    c = jax.tree.map(np.asarray, community)
    now = jax.tree.map(lambda leaf: np.asarray(leaf)[interval], conditions)
    patches, n = len(c.area_km2), len(c.names)
    change = np.zeros_like(state)
    for p in range(patches):
        biomass, pools = state[p, :n], state[p, n:]
        difference = now.temperature_k[p] - float(c.reference_temperature_k)
        scale = difference / (BOLTZMANN * now.temperature_k[p] * float(c.reference_temperature_k))
        for i in range(n):
            change[p, i] -= c.metabolism[i] * np.exp(c.energy_metabolism[i] * scale) * biomass[i]
            change[p, i] -= (c.mortality[i] + now.harvest[p, i]) * biomass[i]
            if c.producer[i]:
                crowding = sum(
                    biomass[j] * (1 if i == j else float(c.competition)) for j in range(n) if c.producer[j]
                )
                limit = min(
                    [
                        pools[k] / (c.half_saturation[k, i] + pools[k])
                        for k in range(len(pools))
                        if c.half_saturation[k, i] > 0
                    ]
                )
                rate = c.growth[i] * np.exp(now.noise[p, i] + c.energy_growth[i] * scale)
                rate *= now.rain[p] ** c.rain_exponent[i]
                grown = (
                    rate * (1 - crowding * c.inverse_capacity[i] / now.capacity[p, i]) * limit * biomass[i]
                )
                change[p, i] += grown
                change[p, n:] -= c.content[:, i] * grown
            for q in range(patches):
                leaving = c.dispersal[i] * c.movement[p, q] * now.open[p, q, i] * biomass[i]
                change[p, i] -= leaving
                change[q, i] += leaving * c.area_km2[p] / c.area_km2[q]
        change[p, n:] += c.turnover * (c.supply - pools)
        links = list(enumerate(zip(c.resource, c.consumer)))
        busy = np.ones(n) + c.interference * biomass
        cleared = {}
        for link, (food, eater) in links:
            capture = c.capture[link] * c.preference[link]
            capture *= np.exp(now.noise[p, eater] + c.energy_capture[eater] * scale)
            cleared[link] = capture * biomass[food] ** float(c.hill)
            busy[eater] += c.handling[link] * np.exp(-c.energy_handling[eater] * scale) * cleared[link]
        for link, (food, eater) in links:
            eaten = cleared[link] / busy[eater] / c.mass_kg[eater] * biomass[eater]
            change[p, food] -= eaten
            change[p, eater] += c.efficiency[link] * eaten
    return change


@pytest.mark.parametrize("seed", [0, 3])
def test_simulation_equals_scipy_with_a_plain_loop(seed):
    community, start = random_community(seed)
    conditions = varied_conditions(community, INTERVALS, seed)
    ours = _run(community, start, conditions, jnp.full(INTERVALS, DAYS), tolerance=1e-9)
    state = np.concatenate([start, np.broadcast_to(community.supply, (2, 2))], axis=1)
    for interval in range(INTERVALS):
        solution = solve_ivp(
            lambda _, y, k=interval: _slopes(community, conditions, k, y.reshape(2, -1)).ravel(),
            (0, DAYS),
            state.ravel(),
            method="LSODA",
            rtol=1e-9,
            atol=1e-12,
        )
        state = solution.y[:, -1].reshape(2, -1)
    got = np.concatenate([ours.biomass[-1], ours.nutrients[-1]], axis=1)
    np.testing.assert_allclose(got, state, rtol=1e-6)


def test_error_follows_the_tolerance():
    community, start = random_community(1)
    conditions = varied_conditions(community, INTERVALS, 1)
    days = jnp.full(INTERVALS, DAYS)
    paths = {
        tolerance: np.log(_run(community, start, conditions, days, tolerance=tolerance).biomass[-1])
        for tolerance in (1e-10, 1e-7, 1e-4)
    }
    loose, tight = (np.abs(paths[tolerance] - paths[1e-10]).max() for tolerance in (1e-4, 1e-7))
    assert tight < 1e-5 and tight < loose / 20, f"errors {loose:.1e} at 1e-4, {tight:.1e} at 1e-7"


def test_gradient_equals_finite_differences():
    community, start = random_community(2)
    conditions = varied_conditions(community, INTERVALS, 2)
    names = ("capture", "growth", "metabolism", "hill", "interference", "half_saturation")
    random = np.random.default_rng(0)
    directions = [random.normal(0, 1, np.shape(getattr(community, name))) for name in names]
    along = random.normal(0, 1, start.shape)

    def result(shift):
        """Sum of log biomass after log shifts of parameters and start, one shift each."""
        changed = eqx.tree_at(
            lambda c: [getattr(c, name) for name in names],
            community,
            [
                getattr(community, name) * jnp.exp(shift[k] * direction)
                for k, (name, direction) in enumerate(zip(names, directions))
            ],
        )
        path = simulate(
            changed,
            jnp.asarray(start) * jnp.exp(shift[-1] * along),
            conditions,
            jnp.full(INTERVALS, DAYS),
            tolerance=1e-8,
        )
        return jnp.log(path.biomass[-1]).sum()

    zero, step = jnp.zeros(len(names) + 1), 1e-4
    gradient = np.asarray(jax.jit(jax.grad(result))(zero))
    value = jax.jit(result)
    steps = step * np.eye(len(zero))
    expected = np.array([(value(one) - value(-one)) / (2 * step) for one in steps])
    worst = np.abs(gradient - expected).max() / np.abs(expected).max()
    assert worst <= 1e-4, f"gradient {gradient}, finite differences {expected}"
