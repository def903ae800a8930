"""Case 7: kangaroo rats kept out of Portal's plots, predicted from the control plots alone.

The grasshopper mouse can fall without kangaroo rats in one way only in this community: small granivores
become more, and eat insects that it lives on. It can rise, since kangaroo rats eat insects and get in its way.
How the two add up depends on diets that captures on control plots hardly know.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bioclip_jax.twin.community import simulate, steady_conditions

from .portal_community import RATS, RODENTS, parameters, portal_community
from .portal_counts import (
    CONTROL,
    EXCLOSURE,
    FIRST_YEAR,
    GRANIVORES,
    GRASSHOPPER_MICE,
    GROUPS,
    LAST_YEAR,
    Counts,
    ratio_interval,
    read_counts,
)
from .portal_fit import NOISY, Observations, noise_of, observations, sample_posterior

FOLDER = "portal"
MONTH_DAYS = 365.25 / 12
# Months before the fences, in which the community comes to vary.
_MONTHS_BEFORE = 60
_MONTHS = 12 * (LAST_YEAR - FIRST_YEAR + 1)
PUBLISHED = {"granivores": 2.22, "grasshopper_mice": 0.66}


def remove_kangaroo_rats(
    standard: Float[Array, " parameters"],
    normals: Float[Array, "months noisy"],
    observed: Observations,
) -> tuple[Float[Array, "patches groups"], Float[Array, ""]]:
    """Return mean captures per census in the surroundings and in a plot without kangaroo rats.

    standard: standardized parameters. normals: standard normals of the noise, which both patches share.
    The second value is False if the solver failed. Call it with x64 enabled.
    """
    value = parameters(standard)
    community, biomass = portal_community(value, observed.rate, observed.mass_g, n_patches=2)
    covariance, memory = noise_of(value)
    keep = jnp.exp(-MONTH_DAYS / memory)
    # Each noise is autoregressive; its shocks have the covariance that makes its own stationary.
    shocks = normals @ jnp.linalg.cholesky(covariance * (1 - keep[:, None] * keep)).T

    def month(noise: Array, shock: Array) -> tuple[Array, Array]:
        noise = keep * noise + shock
        return noise, noise

    start = jnp.linalg.cholesky(covariance) @ normals[0]
    _, noise = jax.lax.scan(month, start, shocks)
    months = len(normals)
    conditions = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (months, *leaf.shape)), steady_conditions(community)
    )
    conditions = eqx.tree_at(
        lambda c: (c.noise, c.keep),
        conditions,
        (
            jnp.zeros((months, 2, len(biomass))).at[:, :, np.array(NOISY)].set(noise[:, None]),
            jnp.ones((months, 2, len(biomass))).at[_MONTHS_BEFORE, 1, RATS].set(0.0),
        ),
    )
    path = simulate(
        community,
        jnp.broadcast_to(biomass, (2, len(biomass))),
        conditions,
        jnp.full(months, MONTH_DAYS),
        tolerance=1e-4,
    )
    mean = path.biomass[_MONTHS_BEFORE + 1 :].mean(axis=0)
    return mean[:, RODENTS] / biomass[RODENTS] * value["level"] * observed.rate, path.succeeded


def predict_removal(
    draws: Float[np.ndarray, "draws parameters"], observed: Observations, *, seed: int = 0
) -> Float[np.ndarray, "draws patches groups"]:
    """Simulate the removal for each draw; return those that the solver finished. Call it with x64 enabled."""
    random = np.random.default_rng(seed)
    normals = random.standard_normal((len(draws), _MONTHS_BEFORE + _MONTHS, len(NOISY)))
    many = jax.jit(jax.vmap(lambda one, noise: remove_kangaroo_rats(one, noise, observed)))
    rates, succeeded = many(jnp.asarray(draws), jnp.asarray(normals))
    return np.asarray(rates)[np.asarray(succeeded)]
