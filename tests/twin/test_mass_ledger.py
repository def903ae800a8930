"""The mass ledger closes to rounding, and what is extinct stays so."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_web import random_community, varied_conditions

from bioclip_jax.twin.community import LEDGER, ledger_residual, simulate

INTERVALS = 100
_run = jax.jit(simulate, static_argnames=("tolerance",))


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ledger_closes_over_ten_thousand_days(seed):
    """All that the ledger books happens, at a loose tolerance."""
    community, start = random_community(seed, extinction_kg=2.0)
    conditions = varied_conditions(community, INTERVALS, seed)
    keep, add = np.array(conditions.keep), np.array(conditions.add)
    keep[30, 0, 3], add[60, :, 3] = 0.1, 5.0
    conditions = eqx.tree_at(lambda c: (c.keep, c.add), conditions, (jnp.asarray(keep), jnp.asarray(add)))
    trajectory = _run(community, start, conditions, jnp.full(INTERVALS, 100.0), tolerance=1e-4)
    assert trajectory.succeeded
    for kind, residual in zip(("biomass", "nutrients"), ledger_residual(trajectory)):
        assert residual.max() <= 1e-12, f"{kind}: the ledger leaves {residual} of what flowed unexplained"
    entries = dict(zip(LEDGER, np.asarray(trajectory.ledger[-1]).T, strict=True))
    assert all(entries[name].any() for name in LEDGER), f"the test exercises all entries: {entries}"
    area = np.asarray(community.area_km2)
    assert abs(entries["moved"] @ area) <= 1e-10 * np.abs(entries["moved"] * area).sum(), "movement made mass"


@pytest.mark.parametrize("seed", range(6))
def test_extinct_species_stay_extinct(seed):
    """Whatever its neighbors: only an introduction brings a species back."""
    community, start = random_community(seed, extinction_kg=50.0 * (1 + seed % 3))
    conditions = varied_conditions(community, INTERVALS, seed)
    path = np.asarray(_run(community, start, conditions, jnp.full(INTERVALS, 100.0), tolerance=1e-4).biomass)
    gone = path == 0
    assert gone.any(), "no species became extinct: the test shows nothing"
    back = gone[:-1] & (path[1:] > 0)
    assert not back.any(), f"came back at (interval, patch, species) {np.argwhere(back)[:3].tolist()}"
    area = np.asarray(community.area_km2)[:, None]
    left = np.where(gone, np.inf, path * area)[1:].min(axis=0)
    assert (left >= np.asarray(community.extinction_kg)).all(), (
        "a species lives with less than one individual"
    )


def test_an_introduction_brings_a_species_back():
    community, start = random_community(0, extinction_kg=2.0)
    start = np.where(np.arange(6) == 3, 0.0, start)
    conditions = varied_conditions(community, INTERVALS, 0)
    add = np.array(conditions.add)
    add[10, 1, 3] = 25.0
    conditions = eqx.tree_at(lambda c: c.add, conditions, jnp.asarray(add))
    path = _run(community, start, conditions, jnp.full(INTERVALS, 100.0), tolerance=1e-4).biomass
    assert (path[:11, :, 3] == 0).all() and path[11, 1, 3] > 0
    assert (path[:, 0, 3] == 0).all(), "it spread to a patch that had lost it"
