"""The benchmark's Wolf-Sheep on the primitives of twin/animals, free of sorting."""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from bioclip_jax.twin.animals import Words, bits, fold, founder_identity, newborn_identity, place, seed_key, uniform

from .wolf_sheep import WolfSheep

_SHEEP, _WOLVES = 1, 2  # purposes of random numbers


class Population(eqx.Module):
    """Animals of one species; slots that are not alive are free. energy: as in NetLogo, without unit."""

    identity: Words
    cell: Int[Array, " slots"]
    energy: Float[Array, " slots"]
    births: UInt32[Array, " slots"]
    alive: Bool[Array, " slots"]


class Ecosystem(eqx.Module):
    """The state of a run. contests: zeros [2, cells], in which animals of a cell compete. lost: births without a slot."""

    sheep: Population
    wolves: Population
    grown_at: Int[Array, " cells"]
    contests: tuple[UInt32[Array, " cells"], UInt32[Array, " cells"]]
    step: Int[Array, ""]
    lost: Int[Array, ""]


def create_ecosystem(case: WolfSheep, state: dict[str, np.ndarray]) -> Ecosystem:
    """Return the ecosystem of an initial state."""
    populations = []
    for name, first in (("sheep", 0), ("wolves", case.sheep)):
        slots, count = case.slots[name], len(state[f"{name}_cell"])
        pad = (0, slots - count)
        populations.append(
            Population(
                identity=founder_identity(first + np.arange(slots, dtype=np.uint32)),
                cell=jnp.asarray(np.pad(state[f"{name}_cell"], pad)),
                energy=jnp.asarray(np.pad(state[f"{name}_energy"], pad)),
                births=jnp.zeros(slots, jnp.uint32),
                alive=jnp.arange(slots) < count,
            )
        )
    contests = tuple(jnp.zeros(case.side**2, jnp.uint32) for _ in range(2))
    return Ecosystem(*populations, jnp.asarray(state["grown_at"]), contests, jnp.int32(0), jnp.int32(0))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def run(case: WolfSheep, ecosystem: Ecosystem, key: Words) -> tuple[Ecosystem, Int[Array, "steps 2"]]:
    """Run `case.steps` steps; return the end and the numbers of sheep and wolves after each step."""

    def step(now: Ecosystem, _: None) -> tuple[Ecosystem, Int[Array, "2"]]:
        time = now.step + 1
        sheep, priority, chance = _move(case, now.sheep, key, time, _SHEEP)
        grown = sheep.alive & (now.grown_at[sheep.cell] <= time)
        fed, contest = _first(now.contests[0], sheep.cell, grown, priority)
        grown_at = now.grown_at.at[sheep.cell].max(jnp.where(fed, time + case.regrowth, 0))
        sheep, lost_sheep = _feed(sheep, fed, case.sheep_gain, chance < case.sheep_birth, case.sheep)

        wolves, hunting, chance = _move(case, now.wolves, key, time, _WOLVES)
        fed, eaten, contests = _hunt((contest, now.contests[1]), wolves, hunting, sheep, sheep.identity.low)
        sheep = eqx.tree_at(lambda one: one.alive, sheep, sheep.alive & ~eaten)
        wolves, lost_wolves = _feed(wolves, fed, case.wolf_gain, chance < case.wolf_birth, case.wolves)
        lost = now.lost + lost_sheep + lost_wolves
        counts = jnp.stack([sheep.alive.sum(dtype=jnp.int32), wolves.alive.sum(dtype=jnp.int32)])
        return Ecosystem(sheep, wolves, grown_at, contests, time, lost), counts

    return jax.lax.scan(step, ecosystem, length=case.steps)


def _move(
    case: WolfSheep, animals: Population, key: Words, time: Int[Array, ""], purpose: int
) -> tuple[Population, UInt32[Array, " slots"], Float[Array, " slots"]]:
    """Move all; return them, a random priority within the cell, and a uniform number for birth."""
    random = bits(fold(key, animals.identity), time, purpose)
    # Two bits that `uniform` does not look at.
    direction = random.low & 3
    row, column = animals.cell // case.side, animals.cell % case.side
    row = row + jnp.where(direction == 0, 1, 0) - jnp.where(direction == 1, 1, 0)
    column = column + jnp.where(direction == 2, 1, 0) - jnp.where(direction == 3, 1, 0)
    wrap = lambda index: jnp.where(index < 0, case.side - 1, jnp.where(index == case.side, 0, index))
    cell = wrap(row) * case.side + wrap(column)
    moved = eqx.tree_at(
        lambda one: (one.cell, one.energy), animals, (cell, animals.energy - 1)
    )
    return moved, random.high, uniform(random.low)


def _first(
    contest: UInt32[Array, " cells"],
    cell: Int[Array, " slots"],
    competes: Bool[Array, " slots"],
    priority: UInt32[Array, " slots"],
) -> tuple[Bool[Array, " slots"], UInt32[Array, " cells"]]:
    """Return who has the highest priority in its cell; and the contest, zeros again."""
    offer = jnp.where(competes, priority | 1, 0)
    contest = contest.at[cell].max(offer)
    first = competes & (contest[cell] == offer)
    return first, contest.at[cell].set(0)


def _feed(
    animals: Population, fed: Bool[Array, " slots"], gain: float, breeds: Bool[Array, " slots"], limit: int
) -> tuple[Population, Int[Array, ""]]:
    """Feed the fed, remove the starved, and place the newborn; return also how many found no slot."""
    energy = animals.energy + jnp.where(fed, gain, 0)
    alive = animals.alive & (energy >= 0)
    born = alive & breeds
    energy = jnp.where(born, energy / 2, energy)
    child = Population(
        newborn_identity(animals.identity, animals.births),
        animals.cell,
        energy,
        jnp.zeros_like(animals.births),
        jnp.ones_like(alive),
    )
    parents = Population(animals.identity, animals.cell, energy, animals.births + born, alive)
    return place(parents, alive, child, born, limit)


def _hunt(contests, wolves, hunting, sheep, fleeing):
    """Return the wolves that eat, the sheep that are eaten, and the contests, zeros again.

    In each cell a random wolf takes a random sheep until wolves or sheep run out.
    """

    def again(state: Any) -> Array:
        return state[0].any()

    def round_of_hunt(state: Any) -> Any:
        hungry, fed, eaten, preys, hunters = state
        offer = jnp.where(sheep.alive & ~eaten, fleeing | 1, 0)
        bid = jnp.where(hungry, hunting | 1, 0)
        preys = preys.at[sheep.cell].max(offer)
        hungry = hungry & (preys[wolves.cell] > 0)
        bid = jnp.where(hungry, hunting | 1, 0)
        hunters = hunters.at[wolves.cell].max(bid)
        wins = hungry & (hunters[wolves.cell] == bid)
        caught = (offer > 0) & (preys[sheep.cell] == offer) & (hunters[sheep.cell] > 0)
        preys, hunters = preys.at[sheep.cell].set(0), hunters.at[wolves.cell].set(0)
        return hungry & ~wins, fed | wins, eaten | caught, preys, hunters

    state = (wolves.alive, jnp.zeros_like(wolves.alive), jnp.zeros_like(sheep.alive), *contests)
    _, fed, eaten, *contests = jax.lax.while_loop(again, round_of_hunt, state)
    return fed, eaten, tuple(contests)
