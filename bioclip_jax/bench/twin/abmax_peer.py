"""The benchmark's Wolf-Sheep in ABMax: sets of agents, steps by vmap, births by sort-count-iterate.

Differs from ABMax's own predation example in its favor: grass is one array, and a lookup by cell finds who
meets whom, where the example compares all sheep with all patches of grass.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from abmax.functions import (
    create_agents,
    jit_select_agents,
    jit_set_agents_mask,
    jit_set_agents_rank_match,
    jit_set_agents_sci,
    jit_step_agents,
)
from abmax.structs import Agent, Params, Set, Signal, State
from flax import struct
from jaxtyping import Array, Bool, Int

from .cases import WolfSheep


@struct.dataclass
class Animal(Agent):
    """A sheep or a wolf."""

    @staticmethod
    def create_agent(
        kind: Int[Array, ""], params: Params, id: Int[Array, ""], active: Int[Array, ""], key: Array
    ) -> Animal:
        """Return an animal at its place, or an empty slot."""
        given = params.content
        state = {"x": given["x"], "y": given["y"], "energy": given["energy"], "breeds": False}
        return Animal(
            id=id,
            active_state=active,
            age=0.0,
            agent_type=kind,
            params=Params(content={"birth": given["birth"], "gain": given["gain"]}),
            state=State(content=state),
            policy=None,
            key=key,
        )

    @staticmethod
    def move(agent: Animal, _: Signal, step_params: Params) -> Animal:
        """Move to one of the four cells beside and lose 1 energy."""

        def moved() -> Animal:
            key, subkey = jax.random.split(agent.key)
            direction = jax.random.randint(subkey, (), 0, 4)
            side, content = step_params.content["side"], agent.state.content
            state = {
                "x": (content["x"] + jnp.array([1, -1, 0, 0])[direction]) % side,
                "y": (content["y"] + jnp.array([0, 0, 1, -1])[direction]) % side,
                "energy": content["energy"] - 1,
                "breeds": False,
            }
            return agent.replace(state=State(content=state), age=agent.age + 1.0, key=key)

        return jax.lax.cond(agent.active_state, moved, lambda: agent)

    @staticmethod
    def eat(agent: Animal, signal: Signal, _: Params) -> Animal:
        """Gain the energy of a meal and draw whether to breed."""

        def fed() -> Animal:
            key, subkey = jax.random.split(agent.key)
            content, own = agent.state.content, agent.params.content
            energy = content["energy"] + own["gain"] * signal.content["meals"]
            breeds = (jax.random.uniform(subkey) < own["birth"]) & (energy >= 0)
            return agent.replace(state=State(content=content | {"energy": energy, "breeds": breeds}), key=key)

        return jax.lax.cond(agent.active_state, fed, lambda: agent)

    @staticmethod
    def remove(agent: Animal, _: Params) -> Animal:
        """Return an empty slot."""
        state = State(content=agent.state.content | {"energy": -1.0, "breeds": False})
        return agent.replace(state=state, active_state=0, age=0.0)

    @staticmethod
    def halve(agent: Animal, _: Params) -> Animal:
        """Give half of the energy away."""
        content = agent.state.content
        return agent.replace(state=State(content=content | {"energy": content["energy"] / 2}))

    @staticmethod
    def bear(agents: Animal, index: Int[Array, ""], params: Params) -> Animal:
        """Return the child that takes a free slot (sort-count-iterate)."""
        parent, slot = params.content["parent"][index], params.content["set_indx"][index]
        content = jax.tree.map(lambda leaf: leaf[parent], agents.state.content)
        content |= {"energy": content["energy"] / 2, "breeds": False}
        own = jax.tree.map(lambda leaf: leaf[slot], agents)
        return own.replace(state=State(content=content), active_state=1, age=0.0)

    @staticmethod
    def bear_matched(agent: Animal, params: Params) -> Animal:
        """Return the child that takes a free slot (rank-match)."""
        content = params.content["parent"].state.content
        content |= {"energy": content["energy"] / 2, "breeds": False}
        return agent.replace(state=State(content=content), active_state=1, age=0.0)


@struct.dataclass
class Ecosystem:
    """The sets and the grass."""

    sheep: Set
    wolves: Set
    grown_at: Int[Array, " cells"]
    key: Array


def create_ecosystem(case: WolfSheep, state: dict[str, np.ndarray], seed: int) -> Ecosystem:
    """Return the ecosystem of an initial state."""
    keys = jax.random.split(jax.random.PRNGKey(seed), 3)
    sets = [
        _create_set(case, state, name, birth, gain, kind, key)
        for name, birth, gain, kind, key in (
            ("sheep", case.sheep_birth, case.sheep_gain, 1, keys[0]),
            ("wolves", case.wolf_birth, case.wolf_gain, 2, keys[1]),
        )
    ]
    return Ecosystem(*sets, grown_at=jnp.asarray(state["grown_at"]), key=keys[2])


def _create_set(
    case: WolfSheep, state: dict[str, np.ndarray], name: str, birth: float, gain: float, kind: int, key: Array
) -> Set:
    slots, cell = case.slots[name], state[f"{name}_cell"]
    empty = slots - len(cell)
    params = {
        "x": np.pad(cell % case.side, (0, empty)),
        "y": np.pad(cell // case.side, (0, empty)),
        "energy": np.pad(state[f"{name}_energy"], (0, empty), constant_values=-1.0),
        "birth": np.full(slots, birth, np.float32),
        "gain": np.full(slots, gain, np.float32),
    }
    params = Params(content=jax.tree.map(jnp.asarray, params))
    create = jax.jit(create_agents, static_argnums=(0, 2, 3))
    agents = create(Animal, params, slots, len(cell), kind, key)
    return Set(
        num_agents=slots,
        num_active_agents=jnp.int32(len(cell)),
        agents=agents,
        id=0,
        set_type=kind,
        params=None,
        state=None,
        policy=None,
        key=None,
    )


@functools.partial(jax.jit, static_argnames=("case", "births"))
def run(
    case: WolfSheep, ecosystem: Ecosystem, births: str = "sci"
) -> tuple[Ecosystem, Int[Array, "steps 2"]]:
    """Run `case.steps` steps; return the end and the numbers of sheep and wolves after each step.

    births: "sci" (sort-count-iterate) or "rank_match", the two ways that ABMax offers.
    """
    moving = Params(content={"side": case.side})
    breed = _breed_by_rank if births == "rank_match" else _breed

    def step(now: Ecosystem, time: Int[Array, ""]) -> tuple[Ecosystem, Int[Array, "2"]]:
        key, grazing, hunting = jax.random.split(now.key, 3)
        sheep = jit_step_agents(Animal.move, moving, None, now.sheep)
        cell, alive = _cells(sheep, case), sheep.agents.active_state > 0
        first = _rank(cell, alive, grazing) == 0
        fed = alive & first & (now.grown_at[cell] <= time)
        grown_at = now.grown_at.at[jnp.where(fed, cell, case.side**2)].set(time + case.regrowth, mode="drop")
        sheep = breed(_remove(_feed(sheep, fed)))

        wolves = jit_step_agents(Animal.move, moving, None, now.wolves)
        fed, eaten = _hunt(wolves, sheep, case, hunting)
        sheep = _remove(sheep, eaten)
        wolves = breed(_remove(_feed(wolves, fed)))
        counts = jnp.stack([sheep.num_active_agents, wolves.num_active_agents])
        return Ecosystem(sheep=sheep, wolves=wolves, grown_at=grown_at, key=key), counts

    return jax.lax.scan(step, ecosystem, jnp.arange(1, case.steps + 1))


def _cells(animals: Set, case: WolfSheep) -> Int[Array, " slots"]:
    content = animals.agents.state.content
    return content["y"] * case.side + content["x"]


def _feed(animals: Set, fed: Bool[Array, " slots"]) -> Set:
    return jit_step_agents(Animal.eat, None, Signal(content={"meals": fed.astype(jnp.float32)}), animals)


def _remove(animals: Set, mask: Bool[Array, " slots"] | None = None) -> Set:
    if mask is None:
        mask = (animals.agents.state.content["energy"] < 0) & (animals.agents.active_state > 0)
    params = Params(content={"set_mask": mask.astype(jnp.int32)})
    return jit_set_agents_mask(Animal.remove, None, params, -1, animals)


def _breed(animals: Set) -> Set:
    parents, parent = jit_select_agents(lambda agents, _: agents.state.content["breeds"], None, animals)
    empty, slot = jit_select_agents(lambda agents, _: agents.active_state == 0, None, animals)
    breeds = animals.agents.state.content["breeds"]
    count = jnp.minimum(parents, empty)
    params = Params(content={"parent": parent, "set_indx": slot})
    born = jit_set_agents_sci(Animal.bear, params, count, animals)
    mask = Params(content={"set_mask": breeds.astype(jnp.int32)})
    return jit_set_agents_mask(Animal.halve, None, mask, count, born)


def _breed_by_rank(animals: Set) -> Set:
    breeds = animals.agents.state.content["breeds"].astype(jnp.int32)
    empty = (animals.agents.active_state == 0).astype(jnp.int32)
    born, count = jit_set_agents_rank_match(
        Animal.bear_matched,
        Params(content={"parent": animals.agents}),
        Params(content={"select_mask": empty, "change_mask": breeds}),
        -1,
        animals,
    )
    return jit_set_agents_mask(Animal.halve, None, Params(content={"set_mask": breeds}), count, born)


def _rank(cell: Int[Array, " slots"], alive: Bool[Array, " slots"], key: Array) -> Int[Array, " slots"]:
    """Return each animal's place in the random order of its cell."""
    cell = jnp.where(alive, cell, jnp.iinfo(jnp.int32).max)
    order = jnp.lexsort((jax.random.bits(key, cell.shape), cell))
    ordered = cell[order]
    rank = jnp.arange(len(cell)) - jnp.searchsorted(ordered, ordered)
    return jnp.zeros_like(cell).at[order].set(rank)


def _hunt(
    wolves: Set, sheep: Set, case: WolfSheep, key: Array
) -> tuple[Bool[Array, " wolves"], Bool[Array, " sheep"]]:
    """Return which wolves eat and which sheep are eaten: as many as the fewer of both in each cell."""
    keys = jax.random.split(key)
    result = []
    sides = [(one, _cells(one, case), one.agents.active_state > 0) for one in (wolves, sheep)]
    for (_, cell, alive), (_, other, others), subkey in zip(sides, reversed(sides), keys):
        count = jnp.zeros(case.side**2, jnp.int32).at[other].add(others)
        result.append(alive & (_rank(cell, alive, subkey) < count[cell]))
    return result[0], result[1]
