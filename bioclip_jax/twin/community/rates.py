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

# Columns of a ledger; what leaves is negative. The last two sum to the change of the nutrient pools, the
# others to that of all living biomass.
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
    """Weather, harvest, barriers and interventions of the patches during one interval of time.

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

    growth, inverse_capacity, metabolism, harvest: [patches, species, members]. capture (w b), handling:
    [patches, links, members]. moving: share of a species' biomass that leaves p for q per day, [patches,
    patches, species, members].
    """

    growth: Array
    inverse_capacity: Array
    metabolism: Array
    harvest: Array
    capture: Array
    handling: Array
    moving: Array


class Fluxes(NamedTuple):
    """Terms that the change of biomass is linear in: biomass, kg/km², and the nonlinear flows, kg/km²/day.

    biomass: [patches, compartments, members]; the others: [patches, species, members].
    """

    biomass: Array
    production: Array
    assimilated: Array
    lost_to_consumers: Array


def arrhenius(
    energy_ev: Float[Array, "*shape"], temperature_k: Float[Array, "*shape"], reference_k: Float[Array, ""]
) -> Float[Array, "*shape"]:
    """Return the factor exp(E (T - T0) / (k T T0)) of a rate; E > 0 speeds it up with warmth."""
    return jnp.exp(
        energy_ev * (temperature_k - reference_k) / (BOLTZMANN_EV_PER_K * temperature_k * reference_k)
    )


def environment(community: Community, conditions: Conditions) -> Environment:
    """Return the rates under the conditions; all arrays with a last axis of members."""

    def warmth(energy: Array) -> Array:
        reference = community.reference_temperature_k
        return arrhenius(energy, conditions.temperature_k[:, None], reference)

    eaters = community.eaters
    factor = jnp.exp(conditions.noise)
    rain = conditions.rain[:, None] ** community.rain_exponent
    return Environment(
        growth=community.growth * rain * factor * warmth(community.energy_growth),
        inverse_capacity=community.inverse_capacity / conditions.capacity,
        metabolism=community.metabolism * warmth(community.energy_metabolism),
        harvest=conditions.harvest,
        capture=community.capture
        * community.preference
        * eaters.spread(warmth(community.energy_capture) * factor),
        # Warmth shortens the time that handling takes.
        handling=community.handling / eaters.spread(warmth(community.energy_handling)),
        moving=conditions.open * community.movement[:, :, None] * community.dispersal,
    )


def fluxes(
    community: Community,
    environment: Environment,
    log_biomass: Float[Array, "patches compartments members"],
    alive: Bool[Array, "patches compartments members"],
) -> tuple[Fluxes, Float[Array, "patches links members"]]:
    """Return the fluxes at a state, and what is eaten by link; compartments are species, then nutrients."""
    n = community.n_species
    eaters, resources = community.eaters, community.resources
    biomass = jnp.where(alive, jnp.exp(log_biomass), 0.0)
    species, nutrients = biomass[:, :n], biomass[:, n:]
    available = jnp.where(alive[:, :n], jnp.exp(community.hill * log_biomass[:, :n]), 0.0)

    cleared = environment.capture * resources.spread(available)
    busy = eaters.collect(environment.handling * cleared)
    intake = species / ((1 + community.interference * species + busy) * community.mass_kg)
    eating = environment.capture * eaters.spread(intake)
    return Fluxes(
        biomass=biomass,
        production=environment.growth * _limitation(community, environment, species, nutrients) * species,
        assimilated=intake * eaters.collect(community.efficiency * cleared),
        lost_to_consumers=available * resources.collect(eating),
    ), eating * resources.spread(available)


def _limitation(
    community: Community, environment: Environment, species: Array, nutrients: Array
) -> Float[Array, "patches species members"]:
    """Return G of the producers, 0 for consumers."""
    producer = jnp.array(community.producer)[:, None]
    plants = jnp.where(producer, species, 0.0)
    crowding = (1 - community.competition) * plants + community.competition * plants.sum(1, keepdims=True)
    limitation = 1 - crowding * environment.inverse_capacity
    if community.n_nutrients:
        pools = nutrients[:, :, None]
        # A producer that does not need a nutrient has a half saturation of 0, and so a share of 1.
        needed = community.half_saturation > 0
        half = jnp.where(needed, community.half_saturation, 1.0)
        limitation = limitation * jnp.where(needed, pools / (half + pools), 1.0).min(axis=1)
    return jnp.where(producer, limitation, 0.0)


def moved(
    community: Community, environment: Environment, species: Array, alive: Array
) -> Float[Array, "patches species members"]:
    """Return what immigrants bring less what emigrants take.

    Emigrants to a patch that has lost their species turn back: only an introduction brings one back.
    """
    if len(species) == 1:
        return jnp.zeros_like(species)
    area = community.area_km2[:, None]
    leaving = environment.moving * alive
    arriving = sum(share * (whole * size) for share, whole, size in zip(leaving, species, area))
    return arriving / area - leaving.sum(axis=1) * species


def net_change(
    community: Community, environment: Environment, flux: Fluxes, alive: Bool[Array, "..."]
) -> Float[Array, "patches compartments members"]:
    """Return dB/dt (kg/km²/day) from the fluxes at a moment, or from their mean over a time."""
    n = community.n_species
    species = flux.biomass[:, :n]
    lost = environment.metabolism + community.mortality + environment.harvest
    change = flux.production + flux.assimilated - flux.lost_to_consumers - lost * species
    if len(species) > 1:
        change = change + moved(community, environment, species, alive[:, :n])
    if not community.n_nutrients:
        return change
    supplied, taken_up = _exchange(community, flux)
    return jnp.concatenate([change, supplied - taken_up], axis=1)


def _exchange(community: Community, flux: Fluxes) -> tuple[Array, Array]:
    """Return what flows into the nutrient pools, and what producers take up."""
    supplied = community.turnover * (community.supply - flux.biomass[:, community.n_species :])
    return supplied, (flux.production[:, None] * community.content).sum(axis=2)


def ledger_entries(
    community: Community, environment: Environment, flux: Fluxes, alive: Bool[Array, "..."]
) -> dict[str, Float[Array, "patches members"]]:
    """Return the entries of the ledger (kg/km²/day) from the fluxes at a moment or their mean over a time."""
    n = community.n_species
    species = flux.biomass[:, :n]
    entries = {
        "production": flux.production,
        "respiration": -environment.metabolism * species,
        "egestion": flux.assimilated - flux.lost_to_consumers,
        "mortality": -community.mortality * species,
        "harvest": -environment.harvest * species,
    }
    if len(species) > 1:
        entries["moved"] = moved(community, environment, species, alive[:, :n])
    if community.n_nutrients:
        supplied, taken_up = _exchange(community, flux)
        entries |= {"supplied": supplied, "taken_up": -taken_up}
    return {name: entry.sum(axis=1) for name, entry in entries.items()}


def steady_conditions(community: Community, intervals: int | None = None) -> Conditions:
    """Return average rain, the reference temperature, no noise and no events.

    intervals: size of a leading axis of intervals, as simulate takes it; None for one moment.
    """
    patches, species = community.n_patches, community.n_species
    dtype = community.mass_kg.dtype
    one, zero = jnp.ones((patches, species), dtype), jnp.zeros((patches, species), dtype)
    steady = Conditions(
        rain=jnp.ones(patches, dtype),
        temperature_k=jax.lax.stop_gradient(jnp.full(patches, community.reference_temperature_k)),
        noise=zero,
        harvest=zero,
        capacity=one,
        open=jnp.ones((patches, patches, species), dtype),
        keep=one,
        add=zero,
    )
    if intervals is None:
        return steady
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (intervals, *leaf.shape)), steady)
