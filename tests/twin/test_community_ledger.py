"""The ledger of mass, and extinction for good, in random webs with all that can happen to them."""

from __future__ import annotations

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_food_web import random_community, random_conditions, start

from bioclip_jax.twin.community import LEDGER, Community, Conditions, Trajectory, ledger_residual, simulate


@functools.cache
def program(tolerance: float) -> Callable[..., Trajectory]:
    return jax.jit(functools.partial(simulate, tolerance=tolerance))


def run(
    community: Community,
    biomass: np.ndarray,
    conditions: Conditions,
    days: np.ndarray,
    tolerance: float = 1e-5,
) -> Trajectory:
    with jax.enable_x64(True):
        path = program(tolerance)(community, biomass, conditions, days)
        assert path.succeeded, f"more steps than allowed: {path.steps}"
        residuals = ledger_residual(path)
        return jax.tree.map(np.asarray, (path, residuals))


def eventful(seed: int, community: Community, conditions: Conditions) -> tuple[Community, Conditions]:
    """Remove links, and let populations be removed, introduced and go extinct."""
    random = np.random.default_rng([seed, 3])
    shape = conditions.keep.shape
    community = eqx.tree_at(
        lambda c: (c.capture, c.extinction_kg),
        community,
        (
            np.asarray(community.capture) * (random.random(len(community.capture)) < 0.7),
            random.choice([0.0, 0.5, 5.0], community.n_species),
        ),
    )
    keep = random.choice([0.0, 0.5, 1.0], shape, p=[0.05, 0.05, 0.9])
    add = random.choice([0.0, 3.0], shape, p=[0.95, 0.05])
    return community, eqx.tree_at(lambda c: (c.keep, c.add), conditions, (keep, add))


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_mass_is_accounted_for_and_the_extinct_stay_away(seed: int) -> None:
    months = 12
    # One program serves all examples, so that they share the links of which each loses some.
    community = random_community(seed, patches=3, links_seed=0)
    community, conditions = eventful(seed, community, random_conditions(seed, community, months))
    path, residuals = run(community, start(seed, community), conditions, np.full(months, 30.0))
    assert max(residual.max() for residual in residuals) <= 1e-12, f"residuals {residuals}"
    # "moved" is what leaves or enters a patch for another, so that nothing of it is lost between them.
    moved = path.ledger[-1][:, LEDGER.index("moved")] * np.asarray(community.area_km2)
    assert abs(moved.sum()) <= 1e-12 * np.abs(moved).sum()
    gone = (path.biomass[:-1] == 0) & (conditions.add == 0)
    assert (path.biomass[1:][gone] == 0).all(), "a species came back from extinction"
    assert (path.biomass >= 0).all()


@pytest.mark.parametrize(("seed", "patches", "nutrients"), [(0, 1, 0), (1, 2, 2), (2, 3, 1)])
def test_ledger_closes_over_ten_thousand_days(seed: int, patches: int, nutrients: int) -> None:
    intervals = 100
    community = random_community(seed, species=10, patches=patches, nutrients=nutrients)
    conditions = random_conditions(seed, community, intervals)
    path, residuals = run(community, start(seed, community), conditions, np.full(intervals, 100.0))
    assert max(residual.max() for residual in residuals) <= 1e-12, f"residuals {residuals}"
    turned_over = path.ledger[-1][:, LEDGER.index("production")]
    assert (turned_over > 20 * path.biomass[0].sum(-1)).all(), "too little happened for a test"


def test_ledger_names_what_happened() -> None:
    """Of a plant alone: growth, an introduction, a removal and an extinction, against a hand calculation."""
    with jax.enable_x64(True):
        community = Community.create(
            ["plant"], [], producer=[True], mass_kg=[1.0], growth=[0.0], mortality=[0.1], extinction_kg=[1.0]
        )
    one = np.ones((3, 1, 1))
    keep, add = one * [[[1.0]], [[0.5]], [[1.0]]], one * [[[0.0]], [[0.0]], [[2.0]]]
    conditions = Conditions(
        rain=one[..., 0],
        temperature_k=293.15 * one[..., 0],
        noise=0 * one,
        harvest=0 * one,
        capacity=one,
        open=one[..., None],
        keep=keep,
        add=add,
    )
    path, _ = run(community, np.array([[100.0]]), conditions, np.array([10.0, 40.0, 5.0]), 1e-8)
    after = 100 * np.exp(-1)
    booked = dict(zip(LEDGER, path.ledger[-1][0]))
    np.testing.assert_allclose(path.biomass[:, 0, 0], [100, after, 0, 2 * np.exp(-0.5)], rtol=1e-6)
    assert booked["harvest"] == pytest.approx(-after / 2, rel=1e-6)
    assert booked["introduction"] == 2.0
    # It dies out below 1 kg/km² in the second interval; a step may overshoot the threshold.
    assert -1 <= booked["extinction"] < 0
    assert booked["mortality"] == pytest.approx(
        -(100 - after) - after / 2 - booked["extinction"] - 2 * (1 - np.exp(-0.5)), rel=1e-6
    )
