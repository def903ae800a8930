"""The equations of the allometric trophic network: what flows from where to where per day.

After Yodzis and Innes (1992, Am. Nat. 139:1151), Brose, Williams and Martinez (2006, Ecol. Lett. 9:1228) and
Schneider, Brose, Rall and Guill (2016, Nat. Commun. 7:12718). For the biomass B of species i in a patch:

    dB_i/dt = r_i G_i B_i + Σ_j e_ij F_ij B_i - Σ_k F_ki B_k - (X_i + d_i + harvest_i) B_i + dispersal_i
    F_ij    = w_ij b_ij B_j^q / (1 + c_i B_i + Σ_k w_ik h_ik b_ik B_k^q) / m_i      eaten, per kg and day
    G_i     = (1 - Σ_j α_ij B_j / K_i) min_n N_n / (S_ni + N_n)                     growth, 0 to 1
    dN_n/dt = D_n (supply_n - N_n) - Σ_i content_ni r_i G_i B_i                     nutrient pools
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .model import Community

BOLTZMANN_EV_PER_K = 8.617333262e-5

# Columns of a ledger; what leaves is negative. The first row's sum is the change of all living biomass, the
# second's that of the nutrient pools.
LEDGER = (
    "production",
    "respiration",
    "egestion",
    "mortality",
    "harvest",
    "moved",
    "extinction",
    "introduction",
    "supplied",
    "taken_up",
)
BIOMASS_ENTRIES, NUTRIENT_ENTRIES = slice(0, 8), slice(8, 10)


CONDITION_AXES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("rain", "temperature_k"), ("patches",)),
    **dict.fromkeys(("noise", "harvest", "capacity", "keep", "add"), ("patches", "species")),
    "open": ("patches", "patches", "species"),
}


class Conditions(eqx.Module):
    """What holds in the patches during one interval of time.

    rain: relative to the mean, 1 for the average. temperature_k: in K. noise: log of a factor of growth
    (producers) or capture (consumers). harvest: 1/day. capacity: factor of producers' capacity (habitat).
    open: share of a species' movement from patch to patch that no barrier holds back; above 1 if it is drawn.
    keep, add: at the start of the interval, biomass is multiplied by keep, then add kg/km² are introduced.
    """

    rain: Float[Array, " patches"]
    temperature_k: Float[Array, " patches"]
    noise: Float[Array, "patches species"]
    harvest: Float[Array, "patches species"]
    capacity: Float[Array, "patches species"]
    open: Float[Array, "patches patches species"]
    keep: Float[Array, "patches species"]
    add: Float[Array, "patches species"]


class Environment(NamedTuple):
    """A community's rates under some conditions, computed once per interval.

    growth, inverse_capacity, metabolism, harvest: [patches, species]. capture (w b), handling (w b h):
    [patches, links]. moving: share of a species' biomass that leaves p for q per day, [patches, patches,
    species].
    """

    growth: Array
    inverse_capacity: Array
    metabolism: Array
    harvest: Array
    capture: Array
    handling: Array
    moving: Array


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


def arrhenius(
    energy_ev: Float[Array, "*shape"], temperature_k: Float[Array, "*shape"], reference_k: Float[Array, ""]
) -> Float[Array, "*shape"]:
    """Return the factor exp(E (T - T0) / (k T T0)) of a rate; E > 0 speeds it up with warmth."""
    return jnp.exp(
        energy_ev * (temperature_k - reference_k) / (BOLTZMANN_EV_PER_K * temperature_k * reference_k)
    )


def environment(community: Community, conditions: Conditions) -> Environment:
    """Return the rates under the conditions."""

    def warmth(energy: Array) -> Array:
        reference = community.reference_temperature_k
        return arrhenius(energy, conditions.temperature_k[:, None], reference)

    consumer = jnp.array(community.consumer, int)
    factor = jnp.exp(conditions.noise)
    attack = community.capture * community.preference
    attack = attack * (warmth(community.energy_capture) * factor)[:, consumer]
    rain = conditions.rain[:, None] ** community.rain_exponent
    leaving = conditions.open * community.movement[:, :, None]
    return Environment(
        growth=community.growth * rain * factor * warmth(community.energy_growth),
        inverse_capacity=community.inverse_capacity / conditions.capacity,
        metabolism=community.metabolism * warmth(community.energy_metabolism),
        harvest=conditions.harvest,
        capture=attack,
        # Warmth shortens the time that handling takes.
        handling=attack * community.handling / warmth(community.energy_handling)[:, consumer],
        moving=leaving * community.dispersal,
    )


def flows(
    community: Community,
    environment: Environment,
    log_biomass: Float[Array, "patches compartments"],
    alive: Bool[Array, "patches compartments"],
) -> Flows:
    """Return the flows at a state; compartments are the species, then the nutrient pools."""
    n = community.n_species
    feeds, taken = community.incidence()
    biomass = jnp.where(alive, jnp.exp(log_biomass), 0.0)
    species, nutrients = biomass[:, :n], biomass[:, n:]
    consumer, resource = jnp.array(community.consumer, int), jnp.array(community.resource, int)
    available = jnp.where(alive[:, :n], jnp.exp(community.hill * log_biomass[:, :n]), 0.0)[:, resource]
    denominator = 1 + community.interference * species + (environment.handling * available) @ feeds
    intake = species / (denominator * community.mass_kg)
    eaten = environment.capture * available * intake[:, consumer]
    growth = environment.growth * _limitation(community, environment, species, nutrients)
    # Emigrants to a patch that has lost their species turn back: only an introduction brings one back.
    leaving = environment.moving * alive[None, :, :n]
    arriving = jnp.einsum("pqs,ps,p->qs", leaving, species, community.area_km2) / community.area_km2[:, None]
    return Flows(
        eaten=eaten,
        production=growth * species,
        assimilated=(community.efficiency * eaten) @ feeds,
        lost_to_consumers=eaten @ taken,
        respiration=environment.metabolism * species,
        mortality=community.mortality * species,
        harvest=environment.harvest * species,
        moved=arriving - leaving.sum(axis=1) * species,
    )


def _limitation(
    community: Community, environment: Environment, species: Array, nutrients: Array
) -> Float[Array, "patches species"]:
    """Return G of the producers, 0 for consumers."""
    producer = jnp.array(community.producer)
    plants = jnp.where(producer, species, 0.0)
    crowding = (1 - community.competition) * plants + community.competition * plants.sum(-1, keepdims=True)
    limitation = 1 - crowding * environment.inverse_capacity
    if community.n_nutrients:
        pools = nutrients[:, :, None]
        # A producer that does not need a nutrient has a half saturation of 0, and so a share of 1.
        limitation = limitation * (pools / (community.half_saturation + pools)).min(axis=1)
    return jnp.where(producer, limitation, 0.0)


def derivatives(
    community: Community,
    environment: Environment,
    log_biomass: Float[Array, "patches compartments"],
    alive: Bool[Array, "patches compartments"],
) -> tuple[
    Float[Array, "patches compartments"],
    Float[Array, "patches compartments"],
    Float[Array, "patches entries"],
]:
    """Return d log B/dt (1/day), dB/dt (kg/km²/day) and the entries of the ledger (kg/km²/day)."""
    n = community.n_species
    flow = flows(community, environment, log_biomass, alive)
    change = (
        flow.production
        + flow.assimilated
        - flow.lost_to_consumers
        - flow.respiration
        - flow.mortality
        - flow.harvest
        + flow.moved
    )
    pools = jnp.where(alive, jnp.exp(log_biomass), 0.0)[:, n:]
    supplied = community.turnover * (community.supply - pools)
    taken_up = flow.production @ community.content.T
    change = jnp.concatenate([change, supplied - taken_up], axis=1)
    relative = jnp.where(alive, change * jnp.exp(-log_biomass), 0.0)
    zero = jnp.zeros_like(flow.production[:, 0])
    entries = {
        "production": flow.production.sum(-1),
        "respiration": -flow.respiration.sum(-1),
        "egestion": -((1 - community.efficiency) * flow.eaten).sum(-1),
        "mortality": -flow.mortality.sum(-1),
        "harvest": -flow.harvest.sum(-1),
        "moved": flow.moved.sum(-1),
        "supplied": supplied.sum(-1),
        "taken_up": -taken_up.sum(-1),
    }
    ledger = jnp.stack([entries.get(name, zero) for name in LEDGER], axis=-1)
    return relative, change, ledger


def steady_conditions(community: Community) -> Conditions:
    """Return average rain, the reference temperature, no noise and no events."""
    patches, species = community.n_patches, community.n_species
    dtype = community.mass_kg.dtype
    one, zero = jnp.ones((patches, species), dtype), jnp.zeros((patches, species), dtype)
    return Conditions(
        rain=jnp.ones(patches, dtype),
        temperature_k=jax.lax.stop_gradient(jnp.full(patches, community.reference_temperature_k)),
        noise=zero,
        harvest=zero,
        capacity=one,
        open=jnp.ones((patches, patches, species), dtype),
        keep=one,
        add=zero,
    )
