"""Simulation of a population by the hour, on one or several devices, saved and resumed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from bioclip_jax.errors import UserError

from .ecology import Ecology
from .feeding import Fields, first_bodies
from .hour import LEDGER, Population, biomass, mass_by_cell, numbers, simulate_hour
from .keys import Words, fold, founder_identity, seed_key, uniforms
from .save import Saved, fingerprint, load, save
from .state import Animals, found_animals

# Step of the draws of founders, which no hour has; purposes of theirs.
_BEFORE, _PLACE, _BODY = 2**32 - 1, 0, 1
# Of a mesh of devices.
_AXIS = "animals"


class History(NamedTuple):
    """A population at the ends of intervals, first at the start; NumPy arrays.

    hours: since the start. biomass: kg/km², plants and living animals. numbers: of individuals. ledger: kg by
    entry of LEDGER since the start.
    """

    hours: Int[np.ndarray, " times"]
    biomass: Float[np.ndarray, "times species"]
    numbers: Int[np.ndarray, "times species"]
    ledger: Float[np.ndarray, "times species entries"]


def populate(
    ecology: Ecology, biomass: Float[np.ndarray, " species"], seed: int, *, capacity: int | None = None
) -> Population:
    """Return founders of given biomass, kg/km², spread evenly over the world.

    An animal's founding energy is between half and all of that at which it gives birth, log-uniform, and
    depends on its species, its number in the species and the seed alone. capacity: slots of animals (default:
    twice the founders). Raises UserError if they do not fit.
    """
    density = np.asarray(biomass, float)
    adult = np.asarray(ecology.community.mass_kg)[:, 0]
    highest = np.asarray(ecology.life.birth) * adult
    # Mean of a log-uniform number between 1/2 and 1.
    mean_energy = highest * 0.5 / np.log(2.0)
    wanted = np.where(ecology.producer, 0.0, density) * ecology.habitat.area_km2 / mean_energy
    count = np.round(wanted).astype(int)
    species = np.repeat(np.arange(len(count)), count)
    number = np.concatenate([np.arange(one) for one in count])
    grid = ecology.habitat.grid
    with jax.enable_x64(True):
        key = seed_key(seed)
        east, north, body, turn = _founders_draws(key, number, species)
        energy = (highest / 2)[species] * 2.0 ** np.asarray(body, float)
        unit = np.asarray(ecology.unit)[species]
        animals = found_animals(
            species,
            np.stack([np.asarray(east) * grid.width, np.asarray(north) * grid.height], axis=1),
            np.round(energy / unit) * unit,
            capacity=max(2 * len(species), 1) if capacity is None else capacity,
            numbers=number,
            heading=np.floor(np.asarray(turn) * 256) * (2 * np.pi / 256),
        )
        plants = np.where(ecology.producer, density, 0.0) * ecology.habitat.cell_km2
        share = np.asarray(ecology.habitat.capacity) / np.asarray(ecology.habitat.capacity).mean()
        empty = jnp.zeros((grid.n_cells, ecology.n_species))
        fields = Fields(jnp.asarray(share[:, None] * plants), empty, empty)
        return Population(
            animals=animals,
            fields=_first_fields(ecology, fields, animals),
            hour=jnp.int32(0),
            key=key,
            ledger=jnp.zeros((ecology.n_species, len(LEDGER))),
            unplaced=jnp.int32(0),
        )


@jax.jit
def _first_fields(ecology: Ecology, fields: Fields, animals: Animals) -> Fields:
    return first_bodies(ecology, fields, mass_by_cell(ecology, animals))


@jax.jit
def _founders_draws(
    key: Words, number: Int[Array, " founders"], species: Int[Array, " founders"]
) -> tuple[Float[Array, " founders"], ...]:
    own = fold(key, founder_identity(number, species))
    return *uniforms(own, jnp.uint32(_BEFORE), _PLACE), *uniforms(own, jnp.uint32(_BEFORE), _BODY)


def simulate_population(
    ecology: Ecology,
    population: Population,
    hours: int,
    *,
    record_hours: int = 24,
    births_at_once: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    checkpoint: Path | None = None,
    checkpoint_hours: int = 24 * 30,
    progress: Callable[[History], None] | None = None,
) -> tuple[Population, History]:
    """Simulate a population until hour `hours` and return it and its history.

    record_hours: between the times of the history; divides hours. births_at_once: most births in an hour
    (default: a sixteenth of the capacity, at least 1024). devices: over which the animals are divided
    (default: the first); the result is the same bytes on any number. checkpoint: an .npz, written every
    checkpoint_hours; if it exists, the run resumes from it and ends with the bytes of an undisturbed one.
    progress: called with the history at each of its times. Raises UserError if an hour's births find no free
    slots, and for a checkpoint of another run.
    """
    if hours < 0 or record_hours < 1 or hours % record_hours:
        raise UserError(f"{hours} hours are not a multiple of the {record_hours} hours of the history")
    capacity = population.animals.capacity
    births_at_once = births_at_once or max(1024, capacity // 16)
    devices = list(devices or jax.devices()[:1])
    sharding = _sharding(devices, capacity)
    with jax.enable_x64(True):
        run = fingerprint((ecology, population, record_hours, births_at_once))
        saved = load(checkpoint, run, population) if checkpoint and Path(checkpoint).exists() else None
        records = saved.records if saved else [_record(ecology, population)]
        population = _put(saved.population if saved else population, devices, sharding)
        while (hour := int(records[-1][0])) < hours:
            population = _advance(ecology, population, record_hours, births_at_once, sharding)
            records = [*records, _record(ecology, population)]
            _check_placed(population, births_at_once, hour, record_hours)
            hour += record_hours
            if checkpoint and (hour % checkpoint_hours < record_hours or hour >= hours):
                save(Path(checkpoint), Saved(run, population, records))
            if progress:
                progress(_history(records))
    return population, _history(records)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _advance(
    ecology: Ecology,
    population: Population,
    hours: int,
    births_at_once: int,
    sharding: jax.sharding.NamedSharding | None,
) -> Population:
    axis = None if sharding is None else _AXIS

    def advance(ecology: Ecology, population: Population) -> Population:
        def hourly(population: Population, _: None) -> tuple[Population, None]:
            return simulate_hour(ecology, population, births_at_once, axis), None

        return jax.lax.scan(hourly, population, length=hours)[0]

    if sharding is None:
        return advance(ecology, population)
    each, shared = jax.sharding.PartitionSpec(_AXIS), jax.sharding.PartitionSpec()
    specs = Population(each, shared, shared, shared, shared, shared)
    # What is the same on each device follows from sums and gathers over all, which JAX cannot infer.
    divided = jax.shard_map(
        advance, mesh=sharding.mesh, in_specs=(shared, specs), out_specs=specs, check_vma=False
    )
    return divided(ecology, population)


@jax.jit
def _observe(ecology: Ecology, population: Population) -> tuple:
    return biomass(ecology, population), numbers(ecology, population.animals)


def _record(ecology: Ecology, population: Population) -> tuple[np.ndarray, ...]:
    observed = _observe(ecology, population)
    return tuple(map(np.asarray, (population.hour, *observed, population.ledger)))


def _history(records: list[tuple[np.ndarray, ...]]) -> History:
    return History(*map(np.stack, zip(*records)))


def _sharding(devices: list[jax.Device], capacity: int) -> jax.sharding.NamedSharding | None:
    if len(devices) == 1:
        return None
    if capacity % len(devices):
        raise UserError(f"a capacity of {capacity} cannot be divided by {len(devices)} devices; change it")
    mesh = jax.sharding.Mesh(np.array(devices), (_AXIS,))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(_AXIS))


def _put(
    population: Population, devices: list[jax.Device], sharding: jax.sharding.NamedSharding | None
) -> Population:
    """Return the population with its animals divided over the devices and all else on each."""
    if sharding is None:
        return jax.device_put(population, devices[0])
    everywhere = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
    animals = jax.device_put(population.animals, sharding)
    return eqx.tree_at(lambda one: one.animals, jax.device_put(population, everywhere), animals)


def _check_placed(population: Population, births_at_once: int, hour: int, hours: int) -> None:
    if unplaced := int(population.unplaced):
        living = int(np.asarray(population.animals.alive).sum())
        raise UserError(
            f"{unplaced} newborns found no free slot between hours {hour} and {hour + hours}, with {living} "
            f"animals alive: raise the capacity ({population.animals.capacity}) or births_at_once "
            f"({births_at_once})"
        )
