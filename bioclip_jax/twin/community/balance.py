"""A community whose reference biomasses are in balance: what is known of a place, turned into rates.

Capture rates and capacities cannot be looked up, and guessed ones seldom let all species live together.
Biomasses of a place are known, and so is what a body needs: the need of the consumers says what they eat, and
what they eat says how fast their food must grow.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bioclip_jax.errors import UserError
from bioclip_jax.twin.world import Twin

from .allometry import Allometry, preferences
from .model import Community

# Distance over which those that reach a patch become e times fewer: a guess, of the order of a home range.
_RANGE_M = 20_000.0


class _Eating(NamedTuple):
    """Consumption in balance, by species.

    intake: kg/km²/day. available: Σ_j w_j B_j^q of its food. efficiency: the mean of its food's. losses: to
    metabolism, death and consumers, 1/day.
    """

    intake: Array
    available: Array
    efficiency: Array
    losses: Array


class Blueprint(eqx.Module):
    """Ingredients of a balanced community; a pytree, so that a calibration can vary its arrays.

    community: its capture, handling, interference and inverse_capacity are not used. biomass: kg/km² in
    balance, the same in each patch. max_growth: of consumers with food in plenty, 1/day. interference: share
    of the spare intake that a consumer's own density takes away in balance, 0 to 1.
    """

    community: Community
    biomass: Float[Array, " species"]
    max_growth: Float[Array, " species"]
    interference: Float[Array, " species"]

    def build(self) -> Community:
        """Return the community that is in balance at the biomasses, under average conditions.

        Consumer i eats Q_i (kg/km²/day), so much that Σ_j e_ij s_ij Q_i = (X_i + d_i) B_i + Σ_k s_ki Q_k,
        with s the shares of its food, ∝ w_ij B_j^q. Its intake saturates where it grows by max_growth:
        h m F_max = 1. Producer i has the capacity at which r_i (1 - Σ_j α_ij B_j / K_i) B_i =
        (X_i + d_i) B_i + Σ_k s_ki Q_k. A negative inverse_capacity: it cannot grow what is eaten of it.
        """
        community, biomass = self.community, self.biomass
        consumer, producer = jnp.array(community.consumer, int), jnp.array(community.producer)
        eating = self._eating()
        intake, total = eating.intake, eating.available

        assimilated = eating.efficiency * intake / biomass
        # Producers have neither; 0 / 0 would make gradients NaN even where it is not used.
        most = jnp.where(producer, 1.0, assimilated + self.max_growth)
        satiation = jnp.where(producer, 0.0, assimilated / most)
        spare = 1 - satiation
        slowed = self.interference * spare
        # D = 1 + c B + h A is what intake is divided by: F m = A / D, h F m = satiation, c B = slowed D.
        individual = intake / biomass * community.mass_kg
        denominator = 1 / (1 - satiation - slowed)
        safe = jnp.where(producer, 1.0, individual)
        # capture: of all links of a consumer; preference says how it is shared out.
        capture = safe * denominator / jnp.where(total > 0, total, 1.0)
        plants = jnp.where(producer, biomass, 0.0)
        crowding = (1 - community.competition) * plants + community.competition * plants.sum()
        growth = jnp.where(producer, community.growth, 1.0)
        inverse_capacity = jnp.where(
            producer, (1 - eating.losses / growth) / jnp.where(producer, crowding, 1.0), 0.0
        )
        return eqx.tree_at(
            lambda c: (c.capture, c.handling, c.interference, c.inverse_capacity),
            community,
            (
                capture[consumer],
                (satiation / safe)[consumer],
                jnp.where(producer, 0.0, slowed * denominator / biomass),
                inverse_capacity,
            ),
        )

    def producers_losses(self) -> Float[Array, " species"]:
        """Return the share of producers' biomass that is lost in balance, 1/day; 0 for consumers."""
        return jnp.where(jnp.array(self.community.producer), self._eating().losses, 0.0)

    def _eating(self) -> _Eating:
        """Solve for what consumers must eat, as in build."""
        community, biomass = self.community, self.biomass
        n = community.n_species
        consumer, resource = jnp.array(community.consumer, int), jnp.array(community.resource, int)
        producer = jnp.array(community.producer)
        available = community.preference * biomass[resource] ** community.hill
        total = jnp.zeros(n).at[consumer].add(available)
        share = available / total[consumer]
        needs = jnp.zeros((n, n)).at[resource, consumer].add(-share)
        gain = jnp.zeros(n).at[consumer].add(community.efficiency * share)
        needs = needs + jnp.diag(jnp.where(producer, 1.0, gain))
        loss = (community.metabolism + community.mortality) * biomass
        # A producer's row only says what is eaten of it.
        solved = jnp.linalg.solve(needs, jnp.where(producer, 0.0, loss))
        intake = jnp.where(producer, 0.0, solved)
        eaten = jnp.zeros(n).at[resource].add(share * intake[consumer])
        return _Eating(intake, total, gain, (loss + eaten) / biomass)


def blueprint_of(twin: Twin, allometry: Allometry | None = None) -> Blueprint:
    """Return the blueprint of a twin by its species' masses, kinds, diets and reference biomasses; x64 on.

    Raises UserError for a species without density and biomass, and for a producer of which more is eaten
    than it grows.
    """
    allometry = allometry or Allometry()
    species, links = twin.species, twin.links
    for one in species:
        if not one.reference_biomass:
            raise UserError(
                f"{twin.name}: {one.name} has no density_per_km2 and no biomass_kg_per_km2 in species.csv; "
                "a community needs one of them"
            )
    index = {one.name: number for number, one in enumerate(species)}
    biomass = np.array([one.reference_biomass for one in species])
    mass_kg = np.array([one.mass_g / 1000 for one in species])
    producer = [one.kind == "producer" for one in species]
    plants, animals = allometry.efficiency["plants"], allometry.efficiency["animals"]
    community = Community.create(
        [one.name for one in species],
        [(index[link.resource], index[link.consumer]) for link in links],
        producer=producer,
        mass_kg=mass_kg,
        n_patches=len(twin.patches),
        metabolism=allometry.metabolism_per_day(species),
        growth=allometry.growth_per_day(species),
        competition=allometry.competition,
        efficiency=[plants if producer[index[link.resource]] else animals for link in links],
        preference=preferences(species, links, biomass, allometry.hill),
        hill=allometry.hill,
        dispersal=[one.dispersal_per_day for one in species],
        movement=_movement(twin),
        area_km2=[patch.area_km2 for patch in twin.patches],
        extinction_kg=np.where(producer, 0.0, mass_kg * allometry.extinct_individuals),
        rain_exponent=np.where(producer, allometry.rain_exponent, 0.0),
        reference_temperature_k=float(twin.climate.temperature_k.mean()),
        **{
            f"energy_{name}": allometry.energy(name, species)
            for name in ("metabolism", "growth", "capture", "handling")
        },
    )
    blueprint = Blueprint(
        community,
        jnp.asarray(biomass),
        jnp.asarray(allometry.max_growth_per_day(species)),
        jnp.where(jnp.asarray(producer), 0.0, allometry.interference),
    )
    limits = np.asarray(blueprint.build().inverse_capacity)
    for number, one in enumerate(species):
        if producer[number] and limits[number] <= 0:
            raise UserError(
                f"{twin.name}: more of {one.name} is eaten than grows ({biomass[number]:g} kg/km², growing "
                f"by {community.growth[number]:.3g} per day); raise its biomass or growth, or lower the "
                "densities of its consumers"
            )
    return blueprint


def _movement(twin: Twin) -> Float[np.ndarray, "patches patches"]:
    """Share of those that leave each patch by destination: near and large patches get more.

    Proportional to the destination's area, so that equal densities stay equal.
    """
    distance = twin.distances_m()
    area = np.array([patch.area_km2 for patch in twin.patches])
    kernel = np.exp(-distance / _RANGE_M) * ~twin.separated()
    np.fill_diagonal(kernel, 0.0)
    reach = kernel * area
    most = reach.sum(axis=1).max(initial=0.0)
    return reach / most if most > 0 else reach
