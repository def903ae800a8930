"""The benchmark's Wolf-Sheep on the primitives of twin/animals, free of sorting."""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from bioclip_jax.twin.animals import (
    Words,
    bits,
    fold,
    founder_identity,
    newborn_identity,
    place,
    seed_key,
    uniform,
)

from .cases import WolfSheep


class Population(eqx.Module):
    """Animals of one species; slots that are not alive are free. energy: as in NetLogo, without unit.

    identity: begins with the run's seed, so that it is also the key of the animal's random numbers.
    """

    identity: Words
    cell: Int[Array, " slots"]
    energy: Float[Array, " slots"]
    births: UInt32[Array, " slots"]
    alive: Bool[Array, " slots"]


class Ecosystem(eqx.Module):
    """The state of a run.

    contests: of the cells, for grass, for prey and among hunters. lost: births without a slot.
    """

    sheep: Population
    wolves: Population
    grown_at: Int[Array, " cells"]
    contests: tuple[UInt32[Array, " cells"], ...]
    step: Int[Array, ""]
    lost: Int[Array, ""]


def create_ecosystem(case: WolfSheep, state: dict[str, np.ndarray], seed: int) -> Ecosystem:
    """Return the ecosystem of an initial state."""
    key = seed_key(seed)
    populations = []
    for name, first in (("sheep", 0), ("wolves", case.sheep)):
        slots, count = case.slots[name], len(state[f"{name}_cell"])
        pad = (0, slots - count)
        identity = fold(key, founder_identity(first + np.arange(slots, dtype=np.uint32)))
        populations.append(
            Population(
                identity=identity,
                cell=jnp.asarray(np.pad(state[f"{name}_cell"], pad)),
                energy=jnp.asarray(np.pad(state[f"{name}_energy"], pad)),
                births=jnp.zeros(slots, jnp.uint32),
                alive=jnp.arange(slots) < count,
            )
        )
    contests = tuple(jnp.zeros(case.side**2, jnp.uint32) for _ in range(3))
    return Ecosystem(*populations, jnp.asarray(state["grown_at"]), contests, jnp.int32(0), jnp.int32(0))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def run(case: WolfSheep, ecosystem: Ecosystem) -> tuple[Ecosystem, Int[Array, "steps 2"]]:
    """Run `case.steps` steps; return the end and the numbers of sheep and wolves after each step."""

    def step(now: Ecosystem, _: None) -> tuple[Ecosystem, Int[Array, "2"]]:
        time = now.step + 1
        sheep, random = _move(case, now.sheep, time)
        hungry = sheep.alive & (now.grown_at[sheep.cell] <= time)
        grazing, fed = _contest(now.contests[0], sheep.cell, hungry, _mix(sheep.identity.low, time))
        grown_at = now.grown_at.at[sheep.cell].max(jnp.where(fed, time + case.regrowth, 0))
        sheep, lost_sheep = _feed(
            sheep, fed, case.sheep_gain, uniform(random) < case.sheep_birth, case.sheep_birth
        )

        wolves, random = _move(case, now.wolves, time)
        fed, eaten, hunting = _hunt(
            now.contests[1:], wolves, _mix(wolves.identity.low, time), sheep, _mix(sheep.identity.high, time)
        )
        sheep = eqx.tree_at(lambda one: one.alive, sheep, sheep.alive & ~eaten)
        wolves, lost_wolves = _feed(
            wolves, fed, case.wolf_gain, uniform(random) < case.wolf_birth, case.wolf_birth
        )
        lost = now.lost + lost_sheep + lost_wolves
        counts = jnp.stack([sheep.alive.sum(dtype=jnp.int32), wolves.alive.sum(dtype=jnp.int32)])
        return Ecosystem(sheep, wolves, grown_at, (grazing, *hunting), time, lost), counts

    return jax.lax.scan(step, ecosystem, length=case.steps)


def _move(
    case: WolfSheep, animals: Population, time: Int[Array, ""]
) -> tuple[Population, UInt32[Array, " slots"]]:
    """Move all to a cell beside; return also random bits of each, of which the lowest two are used up."""
    random = bits(animals.identity, time, 0).low
    direction = random & 3
    row, column = animals.cell // case.side, animals.cell % case.side
    row = row + jnp.where(direction == 0, 1, 0) - jnp.where(direction == 1, 1, 0)
    column = column + jnp.where(direction == 2, 1, 0) - jnp.where(direction == 3, 1, 0)
    cell = _wrap(row, case.side) * case.side + _wrap(column, case.side)
    return eqx.tree_at(lambda one: (one.cell, one.energy), animals, (cell, animals.energy - 1)), random


def _wrap(index: Int[Array, " slots"], side: int) -> Int[Array, " slots"]:
    # Cheaper than a remainder.
    return jnp.where(index < 0, side - 1, jnp.where(index == side, 0, index))


def _offers(random: UInt32[Array, " slots"], takes_part: Bool[Array, " slots"]) -> UInt32[Array, " slots"]:
    """Return random numbers of which no two are equal, since their low bits are the slot; 0 for no offer."""
    slots = jnp.arange(1, random.shape[0] + 1, dtype=jnp.uint32)
    return jnp.where(takes_part, random & ~_mask(random) | slots, 0)


def _mask(slots: Array) -> Array:
    return jnp.uint32(2 ** slots.shape[0].bit_length() - 1)


def _contest(
    best: UInt32[Array, " cells"],
    cell: Int[Array, " slots"],
    takes_part: Bool[Array, " slots"],
    random: UInt32[Array, " slots"],
) -> tuple[UInt32[Array, " cells"], Bool[Array, " slots"]]:
    """Return the best offer of the cells, stale where nobody took part, and the one winner in each.

    Clears before rather than after, so that XLA can update the array in place.
    """
    offer = _offers(random, takes_part)
    best = best.at[cell].set(0).at[cell].max(offer)
    return best, takes_part & (best[cell] == offer)


def _hunt(
    contests: tuple[UInt32[Array, " cells"], ...],
    wolves: Population,
    hunting: UInt32[Array, " wolves"],
    sheep: Population,
    flight: UInt32[Array, " sheep"],
) -> tuple[Bool[Array, " wolves"], Bool[Array, " sheep"], tuple[UInt32[Array, " cells"], ...]]:
    """Return the wolves that eat and the sheep that are eaten.

    In each cell a random wolf takes a random sheep until wolves or sheep run out.
    """

    def take(state: Any) -> Any:
        hungry, fed, living, prey, hunter = state
        prey, _ = _contest(prey, sheep.cell, living, flight)
        best = prey[wolves.cell]
        slot = jnp.minimum((best & _mask(flight)).astype(jnp.int32) - 1, flight.shape[0] - 1)
        # An offer is stale if the sheep is elsewhere.
        hungry = hungry & (slot >= 0) & living[slot] & (sheep.cell[slot] == wolves.cell)
        hunter, wins = _contest(hunter, wolves.cell, hungry, hunting)
        living = living.at[jnp.where(wins, slot, flight.shape[0])].set(False, mode="drop")
        return hungry & ~wins, fed | wins, living, prey, hunter

    state = (wolves.alive, jnp.zeros_like(wolves.alive), sheep.alive, *contests)
    _, fed, living, *contests = jax.lax.while_loop(lambda state: state[0].any(), take, state)
    return fed, sheep.alive & ~living, tuple(contests)


def _feed(
    animals: Population, fed: Bool[Array, " slots"], gain: float, breeds: Bool[Array, " slots"], birth: float
) -> tuple[Population, Int[Array, ""]]:
    """Feed the fed, remove the starved, and place the newborn; return also how many found no slot."""
    energy = animals.energy + jnp.where(fed, gain, 0)
    alive = animals.alive & (energy >= 0)
    born = alive & breeds
    energy = jnp.where(born, energy / 2, energy)
    parents = Population(animals.identity, animals.cell, energy, animals.births + born, alive)
    # More than can be expected even if all slots were alive.
    return place(parents, alive, born, _newborn_of, round(birth * alive.shape[0]) + 64)


def _newborn_of(parents: Population) -> Population:
    return Population(
        identity=newborn_identity(parents.identity, parents.births),
        cell=parents.cell,
        energy=parents.energy,
        births=jnp.zeros_like(parents.births),
        alive=jnp.ones_like(parents.alive),
    )


def _mix(words: UInt32[Array, " slots"], time: Int[Array, ""]) -> UInt32[Array, " slots"]:
    """Return a cheap hash (MurmurHash3's finalizer) of each word and the step, enough to break ties."""
    words = words + jnp.uint32(time) * jnp.uint32(0x9E3779B9)
    words = (words ^ (words >> 16)) * jnp.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13)) * jnp.uint32(0xC2B2AE35)
    return words ^ (words >> 16)
