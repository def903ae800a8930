"""Rates and flows of one community at one moment."""

from __future__ import annotations

import jax
from jaxtyping import Array, Bool, Float

from . import rates
from .model import Community
from .rates import Conditions, Environment, Flows


def environment(community: Community, conditions: Conditions) -> Environment:
    """Return a community's rates under the conditions of one interval, as flows takes them."""
    return rates.environment(_one(community), _one(conditions))


def flows(
    community: Community,
    environment: Environment,
    log_biomass: Float[Array, "patches compartments"],
    alive: Bool[Array, "patches compartments"],
) -> Flows:
    """Return the flows at a state; compartments are the species, then the nutrient pools."""
    found = rates.flows(_one(community), environment, log_biomass[..., None], alive[..., None])
    return jax.tree.map(lambda leaf: leaf[..., 0], found)


def _one(tree: Community | Conditions) -> Community | Conditions:
    return jax.tree.map(lambda leaf: leaf[..., None], tree)
