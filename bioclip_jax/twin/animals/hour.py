"""One hour of a population: eating, respiration, deaths, births and movement, with a ledger of the mass."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .ecology import HOURS_PER_DAY, Ecology
from .feeding import Fields, feed, share_bodies
from .keys import Words, fold, newborn_identity, uniforms
from .state import Animals, place
from .steps import attraction, move

# Entries of the ledger by species, kg. Plants: grown, respired, died, and eaten by consumer. Animals: killed
# (bodies that predators get), assimilated, egested, respired; died (other deaths), starved, harvested.
LEDGER = ("grown", "eaten", "killed", "assimilated", "egested", "respired", "died", "starved", "harvested")
# What enters and leaves all stocks; the other entries pass from one stock to another.
_ENTERS, _LEAVES = ("grown",), ("egested", "respired", "died", "starved", "harvested")
# Purposes of random bits; the two of a step's candidates come first.
_STEPS, _FATE = 0, 2


class Population(eqx.Module):
    """Individuals, the fields of their cells and the books; a pytree.

    hour: since the start. key: of the seed. ledger: kg since the start. unplaced: newborns for whom no slot
    was free, which is an error.
    """

    animals: Animals
    fields: Fields
    hour: Int[Array, ""]
    key: Words
    ledger: Float[Array, "species entries"]
    unplaced: Int[Array, ""]


def mass_by_cell(
    ecology: Ecology, animals: Animals, axis: str | None = None
) -> Float[Array, "cells species"]:
    """Return the living mass of each species in each cell, kg."""
    mass = jnp.where(animals.alive, animals.energy, 0)
    return sum_by_cell(ecology, _index(ecology, animals), mass, axis=axis)[..., 0]


def sum_by_cell(
    ecology: Ecology,
    index: Int[Array, " animals"],
    values: Float[Array, " animals"],
    *,
    parts: int = 1,
    axis: str | None = None,
) -> Float[Array, "cells species parts"]:
    """Return sums of values by (cell, species, part), float64, over all devices.

    Values are multiples of their species' unit, so that sums are exact and the same in any order.
    """
    shape = (ecology.habitat.grid.n_cells, ecology.n_species, parts)
    sums = jnp.zeros(math.prod(shape)).at[index].add(values.astype(jnp.float64)).reshape(shape)
    return sums if axis is None else jax.lax.psum(sums, axis)


def numbers(ecology: Ecology, animals: Animals) -> Int[Array, " species"]:
    """Return the number of living individuals of each species."""
    return jnp.zeros(ecology.n_species, jnp.int32).at[animals.species].add(animals.alive.astype(jnp.int32))


def biomass(ecology: Ecology, population: Population) -> Float[Array, " species"]:
    """Return the biomass of each species, kg/km²: plants, and living animals."""
    mass = mass_by_cell(ecology, population.animals) + population.fields.plants
    return mass.sum(0) / ecology.habitat.area_km2


def simulate_hour(
    ecology: Ecology, population: Population, births_at_once: int, axis: str | None = None
) -> Population:
    """Return the population an hour later; pure, for jit and scan, with x64 enabled.

    births_at_once: most births in an hour that find a place (static). axis: of the devices over which the
    animals are divided, in shard_map; all else is the same on each.
    """
    animals, hour = population.animals, population.hour
    key = fold(population.key, animals.identity)
    mass = mass_by_cell(ecology, animals, axis)
    feeding = feed(ecology, population.fields, mass)
    index, alive = _index(ecology, animals), animals.alive
    chances_of, gain_rate = _tables(ecology, feeding)
    gain, respired = _metabolism(ecology, animals, gain_rate[index])
    energy = animals.energy + gain - respired
    draw, choice = uniforms(key, hour, _FATE)
    fate = _fates(ecology, animals, energy, chances_of[index], draw)

    # One sum for all fates, since each animal has one; the first is that of those who live.
    sums = [
        sum_by_cell(ecology, index * parts + part, jnp.where(alive, value, 0), parts=parts, axis=axis)
        for value, part, parts in ((gain, 0, 1), (respired, 0, 1), (energy, fate, 5))
    ]
    assimilated, breathed, fates = sums[0][..., 0], sums[1][..., 0], sums[2]
    _, bodies, died_kg, starved_kg, harvested_kg = jnp.moveaxis(fates, -1, 0)
    entries = {
        "grown": feeding.grown,
        "eaten": feeding.eaten,
        "killed": bodies,
        "assimilated": assimilated,
        "egested": feeding.eaten - assimilated,
        "respired": breathed + feeding.plants_respired,
        "died": died_kg + feeding.plants_died,
        "starved": starved_kg,
        "harvested": harvested_kg,
    }
    ledger = population.ledger + jnp.stack([entries[name].sum(0) for name in LEDGER], axis=-1)
    fields = share_bodies(ecology, feeding.fields, feeding, bodies)

    lives = alive & (fate == 0)
    survivors = eqx.tree_at(
        lambda one: (one.energy, one.alive), animals, (jnp.where(lives, energy, 0.0), lives)
    )
    position, heading = move(ecology, survivors, attraction(ecology, fields, mass), key, hour, _STEPS, choice)
    survivors = eqx.tree_at(lambda one: (one.position, one.heading), survivors, (position, heading))
    animals, unplaced = _give_birth(ecology, survivors, hour, births_at_once, axis)
    return Population(animals, fields, hour + 1, population.key, ledger, population.unplaced + unplaced)


def _metabolism(
    ecology: Ecology, animals: Animals, gain_rate: Float[Array, " animals"]
) -> tuple[Float[Array, " animals"], Float[Array, " animals"]]:
    """Return what each animal gains and respires in an hour, kg.

    Both are multiples of the species' unit, so that sums and differences of energies are exact.
    """
    species = animals.species
    unit = ecology.unit.astype(jnp.float32)[species]
    in_units = (1 / ecology.unit).astype(jnp.float32)[species]
    breath = -jnp.expm1(-ecology.environment.metabolism[0, :, 0] / HOURS_PER_DAY)
    gain = jnp.round(animals.energy * gain_rate * in_units) * unit
    return gain, jnp.round(animals.energy * breath.astype(jnp.float32)[species] * in_units) * unit


def _fates(
    ecology: Ecology,
    animals: Animals,
    energy: Float[Array, " animals"],
    chances: Float[Array, "animals 3"],
    draw: Float[Array, " animals"],
) -> Int[Array, " animals"]:
    """Return 0 for animals that live, and 1 to 4 for the killed, died, starved and harvested."""
    alive = animals.alive
    killed = alive & (draw < chances[:, 0])
    died = alive & (draw >= chances[:, 0]) & (draw < chances[:, 1])
    harvested = alive & (draw >= chances[:, 1]) & (draw < chances[:, 2])
    adult = ecology.community.mass_kg[:, 0]
    least = (ecology.life.starvation * adult).astype(jnp.float32)[animals.species]
    starved = alive & (draw >= chances[:, 2]) & (energy < least)
    return (killed * 1 + died * 2 + starved * 3 + harvested * 4).astype(jnp.int32)


def _give_birth(
    ecology: Ecology, animals: Animals, hour: Array, births_at_once: int, axis: str | None
) -> tuple[Animals, Int[Array, ""]]:
    """Return the animals with newborns, and how many newborns found no free slot."""
    adult = ecology.community.mass_kg[:, 0]
    enough = (ecology.life.birth * adult).astype(jnp.float32)
    # In whole units, as all energies are.
    share = (jnp.round(ecology.life.newborn * adult / ecology.unit) * ecology.unit).astype(jnp.float32)
    born = animals.alive & (animals.energy >= enough[animals.species])

    def newborn_of(parents: Animals) -> Animals:
        return Animals(
            identity=newborn_identity(parents.identity, parents.births - 1),
            species=parents.species,
            position=parents.position,
            heading=parents.heading,
            energy=share[parents.species],
            born=jnp.full_like(parents.born, hour + 1),
            births=jnp.zeros_like(parents.births),
            alive=jnp.ones_like(parents.alive),
        )

    after = eqx.tree_at(
        lambda one: (one.energy, one.births),
        animals,
        (
            animals.energy - jnp.where(born, share[animals.species], 0.0),
            animals.births + born.astype(jnp.uint32),
        ),
    )
    return place(after, animals.alive, born, newborn_of, births_at_once, axis)


def _tables(ecology: Ecology, feeding: tuple) -> tuple[Float[Array, "index 3"], Float[Array, " index"]]:
    """Return cumulative chances (killed, other deaths, harvested) of an hour and gains per kg, float32.

    By cell and species; of competing hazards each has its part of all deaths.
    """
    per_hour = (
        jnp.stack([ecology.community.mortality, ecology.environment.harvest[0]])[..., 0] / HOURS_PER_DAY
    )
    hazards = jnp.cumsum(
        jnp.stack(
            [feeding.hazard, *(jnp.broadcast_to(one, feeding.hazard.shape) for one in per_hour)], axis=-1
        ),
        axis=-1,
    )
    total = hazards[..., -1:]
    chances = -jnp.expm1(-total) * hazards / jnp.where(total > 0, total, 1.0)
    return chances.reshape(-1, 3).astype(jnp.float32), feeding.gain.reshape(-1).astype(jnp.float32)


def _index(ecology: Ecology, animals: Animals) -> Int[Array, " animals"]:
    """Return each animal's row in tables of (cell, species)."""
    return ecology.habitat.grid.cell(animals.position) * ecology.n_species + animals.species


def stocks(population: Population) -> Float[Array, ""]:
    """Return all that the ledger accounts for, kg: plants, living animals, and bodies not yet eaten."""
    animals, fields = population.animals, population.fields
    living = jnp.where(animals.alive, animals.energy, 0.0).astype(jnp.float64).sum()
    return fields.plants.sum() + living + fields.bodies.sum()


def residual(before: Population, after: Population) -> float:
    """Return what the ledger leaves unexplained of the change of all stocks, relative to all that flowed."""
    booked = np.asarray(after.ledger - before.ledger).sum(0)
    flows = dict(zip(LEDGER, booked))
    with jax.enable_x64(True):
        start, end = float(stocks(before)), float(stocks(after))
    explained = sum(flows[name] for name in _ENTERS) - sum(flows[name] for name in _LEAVES)
    flowed = sum(abs(flows[name]) for name in (*_ENTERS, *_LEAVES)) + start
    return abs(end - start - explained) / flowed if flowed else 0.0
