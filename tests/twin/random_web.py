"""Random food webs for tests of the community: producers, consumers in two levels, patches and nutrients."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from bioclip_jax.twin.community import Community, Conditions, steady_conditions


def random_community(
    seed: int, *, patches: int = 2, nutrients: int = 2, extinction_kg: float = 0.0
) -> tuple[Community, np.ndarray]:
    """Return a community of two producers, two herbivores and two predators, and a start; x64 on."""
    random = np.random.default_rng(seed)
    producer = [True, True, False, False, False, False]
    links = [(0, 2), (1, 2), (1, 3), (2, 4), (3, 4), (3, 5), (4, 5)]
    count, is_producer = len(links), np.array(producer)
    community = Community.create(
        ["grass", "shrub", "vole", "hare", "fox", "eagle"],
        links,
        producer=producer,
        mass_kg=[0.1, 1.0, 0.05, 3.0, 6.0, 4.0],
        n_patches=patches,
        n_nutrients=nutrients,
        metabolism=np.where(is_producer, 0.01, random.uniform(0.02, 0.05, 6)),
        mortality=random.uniform(0.0, 0.01, 6),
        growth=np.where(is_producer, random.uniform(0.2, 0.5, 6), 0.0),
        inverse_capacity=np.where(is_producer, 1 / random.uniform(500, 2000, 6), 0.0),
        competition=0.4,
        capture=random.uniform(0.2, 1.0, count) * 1e-4,
        handling=random.uniform(2, 8, count),
        efficiency=random.uniform(0.4, 0.9, count),
        preference=random.uniform(0.3, 1.0, count),
        interference=np.where(is_producer, 0.0, random.uniform(0, 0.01, 6)),
        hill=1.3,
        half_saturation=random.uniform(1, 5, (nutrients, 6)) * is_producer,
        content=random.uniform(0.001, 0.01, (nutrients, 6)) * is_producer,
        supply=random.uniform(20, 60, nutrients),
        turnover=0.05,
        dispersal=np.where(is_producer, 0.0, 0.01),
        movement=(1 - np.eye(patches)) / max(patches - 1, 1),
        area_km2=random.uniform(50, 200, patches),
        extinction_kg=extinction_kg,
        rain_exponent=np.where(is_producer, 0.7, 0.0),
        energy_metabolism=0.6,
        energy_growth=0.5,
        energy_capture=0.4,
        energy_handling=0.3,
    )
    start = random.uniform(0.5, 1.5, (patches, 6)) * np.array([600, 400, 20, 30, 4, 2])
    return community, start


def varied_conditions(community: Community, intervals: int, seed: int) -> Conditions:
    """Return intervals of differing rain, temperature, noise and harvest."""
    random = np.random.default_rng(seed)
    steady = steady_conditions(community, intervals)
    weather = (intervals, community.n_patches)
    return eqx.tree_at(
        lambda c: (c.rain, c.temperature_k, c.noise, c.harvest),
        steady,
        (
            jnp.asarray(random.uniform(0.3, 1.8, weather)),
            jnp.asarray(random.uniform(285, 303, weather)),
            jnp.asarray(random.normal(0, 0.2, (*weather, community.n_species))),
            jnp.asarray(random.uniform(0, 0.002, (*weather, community.n_species))),
        ),
    )
