"""Feeding in each cell: the community's equations at the cells' own densities.

Flows are those of twin.community.fluxes with B of the cell, per kg of the consumer and day:

    F_ij = w_ij b_ij B_j^q / (1 + c_i B_i + Σ_k w_ik h_ik b_ik B_k^q) / m_i

Plants are eaten by the mass that flows. Of prey, the flow divided by the prey's biomass is each individual's
hazard of being killed; the bodies of a cell go to its predators' species in proportion to their part of the
hazard and are eaten in the following hours.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from bioclip_jax.twin.community import fluxes

from .ecology import HOURS_PER_DAY, Ecology


class Fields(eqx.Module):
    """Contents of the cells besides living animals, kg, float64.

    plants: of producers; 0 for animals. bodies: of the prey that each animal species has killed and not yet
    eaten. nourishing: share of the bodies that will be assimilated, in kg.
    """

    plants: Float[Array, "cells species"]
    bodies: Float[Array, "cells species"]
    nourishing: Float[Array, "cells species"]


class Feeding(NamedTuple):
    """An hour of eating.

    gain: assimilated per kg of each animal. hazard: of being killed, 1/hour. links: hazard by link, 1/hour.
    eaten: by consumer, kg. fields: after plants and bodies were eaten, and before plants grew. grown,
    plants_respired, plants_died: of producers, kg.
    """

    gain: Float[Array, "cells species"]
    hazard: Float[Array, "cells species"]
    links: Float[Array, "cells links"]
    eaten: Float[Array, "cells species"]
    fields: Fields
    grown: Float[Array, "cells species"]
    plants_respired: Float[Array, "cells species"]
    plants_died: Float[Array, "cells species"]


def feed(ecology: Ecology, fields: Fields, mass: Float[Array, "cells species"]) -> Feeding:
    """Return an hour of eating by animals whose living mass in each cell, kg, is given."""
    community, area = ecology.community, ecology.habitat.cell_km2
    producer = jnp.array(community.producer)
    eaters, resources = jnp.array(community.consumer, int), jnp.array(community.resource, int)
    rates = ecology.environment._replace(
        inverse_capacity=ecology.environment.inverse_capacity / ecology.habitat.capacity
    )
    biomass = jnp.where(producer, fields.plants, mass) / area
    present = biomass > 0
    flux, eaten = fluxes(community, rates, jnp.log(jnp.where(present, biomass, 1.0)).T[None], present.T[None])
    eaten = eaten[0].T * (area / HOURS_PER_DAY)
    grazing = producer[resources]

    # Plants that are wanted by more than there is are shared in proportion to the demands.
    wanted = jnp.zeros_like(biomass).at[:, resources].add(jnp.where(grazing, eaten, 0.0))
    share = jnp.minimum(1.0, fields.plants / jnp.where(wanted > 0, wanted, 1.0))
    grazed = jnp.where(grazing, eaten * share[:, resources], 0.0)
    efficiency = community.efficiency[:, 0]
    by_consumer = jnp.zeros_like(biomass).at[:, eaters]
    assimilated = by_consumer.add(efficiency * grazed)
    plants_eaten = jnp.zeros_like(biomass).at[:, resources].add(grazed)

    # Bodies: as much as digestion and a meal allow.
    bodies_eaten = jnp.minimum(
        fields.bodies * -jnp.expm1(-1 / ecology.life.digestion_hours), ecology.life.meal * mass
    )
    part = bodies_eaten / jnp.where(fields.bodies > 0, fields.bodies, 1.0)
    assimilated = assimilated + part * fields.nourishing

    links = jnp.where(grazing, 0.0, eaten) / jnp.where(mass > 0, mass, 1.0)[:, resources]
    grown, respired, died = _grow(ecology, flux, fields.plants, plants_eaten)
    return Feeding(
        gain=assimilated / jnp.where(mass > 0, mass, 1.0),
        hazard=jnp.zeros_like(biomass).at[:, resources].add(links),
        links=links,
        eaten=by_consumer.add(grazed) + bodies_eaten,
        fields=Fields(
            plants=fields.plants - plants_eaten + grown - respired - died,
            bodies=fields.bodies - bodies_eaten,
            nourishing=fields.nourishing * (1 - part),
        ),
        grown=grown,
        plants_respired=respired,
        plants_died=died,
    )


def _grow(ecology: Ecology, flux: tuple, plants: Array, eaten: Array) -> tuple[Array, Array, Array]:
    """Return what plants grow, respire and lose to other deaths in an hour, kg; never more than they have."""
    community, rates = ecology.community, ecology.environment
    grown = flux.production[0].T * (ecology.habitat.cell_km2 / HOURS_PER_DAY)
    # Plants above their capacity shrink, but not below nothing.
    grown = jnp.maximum(grown, eaten - plants)
    left = plants - eaten + grown
    respired = left * -jnp.expm1(-rates.metabolism[0, :, 0] / HOURS_PER_DAY)
    other_deaths = (community.mortality + rates.harvest[0])[:, 0] / HOURS_PER_DAY
    return grown, respired, (left - respired) * -jnp.expm1(-other_deaths)


def share_bodies(
    ecology: Ecology, fields: Fields, feeding: Feeding, killed: Float[Array, "cells species"]
) -> Fields:
    """Return the fields with the bodies of the killed, kg by prey, given to the species that killed them."""
    community = ecology.community
    eaters, resources = jnp.array(community.consumer, int), jnp.array(community.resource, int)
    hazard = jnp.where(feeding.hazard > 0, feeding.hazard, 1.0)
    bodies = killed[:, resources] * (feeding.links / hazard[:, resources])
    return Fields(
        plants=fields.plants,
        bodies=fields.bodies.at[:, eaters].add(bodies),
        nourishing=fields.nourishing.at[:, eaters].add(bodies * community.efficiency[:, 0]),
    )


def first_bodies(ecology: Ecology, fields: Fields, mass: Float[Array, "cells species"]) -> Fields:
    """Return the fields with as many bodies as predators have when they kill as fast as they eat."""
    feeding = feed(ecology, fields, mass)
    community = ecology.community
    eaters, resources = jnp.array(community.consumer, int), jnp.array(community.resource, int)
    bodies = feeding.links * mass[:, resources] * ecology.life.digestion_hours[eaters]
    return Fields(
        plants=fields.plants,
        bodies=fields.bodies.at[:, eaters].add(bodies),
        nourishing=fields.nourishing.at[:, eaters].add(bodies * community.efficiency[:, 0]),
    )
