"""Ensembles of communities: one result for any number of devices and members."""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.twin.community import (
    Community,
    Conditions,
    Trajectory,
    simulate,
    simulate_chunks,
    simulate_ensemble,
    steady_conditions,
)

MONTHS = 6
DAYS = np.full(MONTHS, 30.0)


def pair(members: int) -> tuple[Community, np.ndarray, Conditions]:
    """A plant and its eater, with capture and weather of their own in each member."""
    random = np.random.default_rng(0)
    capture = 70 * np.exp(0.2 * random.normal(size=(100, 1)))[:members]
    noise = 0.1 * random.normal(size=(100, MONTHS, 1, 2))[:members]
    with jax.enable_x64(True):
        community = Community.create(
            ["plant", "eater"],
            [(0, 1)],
            producer=[True, False],
            mass_kg=[1.0, 1.0],
            growth=[1.0, 0.0],
            inverse_capacity=[1.0, 0.0],
            metabolism=[0.0, 0.3],
            capture=70.0,
            handling=0.18,
            efficiency=0.45,
            hill=2.0,
        )
        conditions = steady_conditions(community, MONTHS)
    community = eqx.tree_at(lambda one: one.capture, community, capture)
    return community, np.array([[0.5, 0.3]]), eqx.tree_at(lambda one: one.noise, conditions, noise)


def run(members: int, **options: object) -> Trajectory:
    return simulate_ensemble(*pair(members), DAYS, chunk=2, **options)


@pytest.fixture(scope="module")
def nineteen() -> Trajectory:
    return run(19)


def assert_same_bytes(ours: Trajectory, expected: Trajectory) -> None:
    for name in ("biomass", "ledger", "steps"):
        assert getattr(ours, name).tobytes() == getattr(expected, name).tobytes(), f"{name} differs"


def test_members_equal_single_simulations(nineteen: Trajectory) -> None:
    community, biomass, conditions = pair(19)
    with jax.enable_x64(True):
        for member in (0, 7, 18):
            alone = simulate(
                eqx.tree_at(lambda one: one.capture, community, community.capture[member]),
                biomass,
                eqx.tree_at(lambda one: one.noise, conditions, conditions.noise[member]),
                DAYS,
            )
            np.testing.assert_allclose(nineteen.biomass[member], alone.biomass, rtol=1e-9)
            assert nineteen.steps[member] == alone.steps


def test_same_bytes_on_one_device_as_on_eight(nineteen: Trajectory, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(jax.devices()) == 8
    one = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda: one)
    assert_same_bytes(run(19), nineteen)


def test_same_bytes_with_fewer_members(nineteen: Trajectory) -> None:
    assert_same_bytes(run(5), jax.tree.map(lambda leaf: leaf[:5], nineteen))


def test_skipped_chunks_change_no_other(nineteen: Trajectory) -> None:
    chunks = list(simulate_chunks(*pair(19), DAYS, chunk=2, skip=3))
    assert [len(chunk.steps) for chunk in chunks] == [2] * 6 + [1]
    together = jax.tree.map(lambda *parts: np.concatenate(parts), *chunks)
    assert_same_bytes(together, jax.tree.map(lambda leaf: leaf[6:], nineteen))


def test_too_many_steps_are_an_error() -> None:
    with pytest.raises(UserError, match="member 0 of the ensemble takes more than 3 steps"):
        run(3, max_steps=3)


def test_numbers_of_members_must_agree() -> None:
    community, biomass, conditions = pair(3)
    with pytest.raises(ValueError, match=r"one number of members, not \[3, 4\]"):
        simulate_ensemble(community, np.stack([biomass] * 4), conditions, DAYS)
