"""Rates and flows of one community at one moment."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jaxtyping import Array, Bool, Float

from . import rates
from .model import Community
from .rates import Conditions, Environment


class Flows(NamedTuple):
    """Flows of a patch, kg/km²/day; eaten [patches, links], others [patches, species]."""

    eaten: Array
    production: Array
    assimilated: Array
    lost_to_consumers: Array
    respiration: Array
    mortality: Array
    harvest: Array
    moved: Array


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
    one, alive = _one(community), alive[..., None]
    flux, eaten = rates.fluxes(one, environment, log_biomass[..., None], alive)
    species, present = flux.biomass[:, : one.n_species], alive[:, : one.n_species]
    values = Flows(
        eaten=eaten,
        production=flux.production,
        assimilated=flux.assimilated,
        lost_to_consumers=flux.lost_to_consumers,
        respiration=environment.metabolism * species,
        mortality=one.mortality * species,
        harvest=environment.harvest * species,
        moved=rates.moved(one, environment, species, present),
    )
    return jax.tree.map(lambda leaf: leaf[..., 0], values)


def _one(tree: Community | Conditions) -> Community | Conditions:
    """Return arrays with a last axis of one member, as the equations take them."""
    return jax.tree.map(lambda leaf: leaf[..., None], tree)
