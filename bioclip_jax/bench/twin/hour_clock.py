"""The benchmark's population by the hour: grass, voles and weasels of twin/animals on cells of 1 ha."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .cases import HourClock

if TYPE_CHECKING:
    from bioclip_jax.twin.animals import Ecology, Population

# Animals per km² that `populate` makes of the balance below.
_PER_KM2 = 10_165


def create_population(case: HourClock, seed: int) -> tuple[Ecology, Population]:
    """Return an ecology and about `case.animals` animals near their balance, with room for a fifth more."""
    import jax
    import jax.numpy as jnp

    from bioclip_jax.twin.animals import Ecology, Grid, Habitat, populate
    from bioclip_jax.twin.community import Blueprint, Community

    balance = np.array([2e4, 300.0, 60.0])  # kg/km²
    with jax.enable_x64(True):
        base = Community.create(
            ["Grass", "Microtus", "Mustela"],
            [(0, 1), (1, 2)],
            producer=[True, False, False],
            mass_kg=[1e-3, 0.03, 0.06],
            metabolism=[0.0, 0.06, 0.05],
            mortality=[0.0, 0.004, 0.008],
            growth=[0.08, 0.0, 0.0],
            efficiency=[0.45, 0.85],
            hill=1.2,
        )
        growth, interference = jnp.array([0.0, 0.05, 0.03]), jnp.array([0.0, 0.3, 0.5])
        community = Blueprint(base, jnp.asarray(balance), growth, interference).build()
    area = case.animals / _PER_KM2
    cells = max(3, round(10 * area**0.5))
    side = 1000 * area**0.5
    random = np.random.default_rng(seed)
    water = random.uniform(0, 2000, (cells, cells))
    habitat = Habitat.create(Grid(side, side, cells, cells), water_m=water)
    ecology = Ecology.create(community, habitat)
    # A fifth more, in whole shares for eight devices.
    capacity = 8 * -(-12 * case.animals // 80)
    return ecology, populate(ecology, balance, seed, capacity=capacity)
