"""The benchmark's flocking on the cells of twin/animals."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from bioclip_jax.twin.animals import Grid, Words, founder_identity, neighbor_sum, sort_into_cells

from .cases import Flocking

# Most birds of a cell that are looked at; more are counted as overflow.
_PER_CELL = 128


class Flock(NamedTuple):
    """The state of a run. overflow: birds that were not seen because their cell was too full."""

    position: Float[Array, "birds 2"]
    direction: Float[Array, "birds 2"]
    identity: Words
    overflow: Int[Array, ""]


def create_flock(state: dict[str, np.ndarray]) -> Flock:
    """Return the flock of an initial state."""
    position, direction = jnp.asarray(state["position"]), jnp.asarray(state["direction"])
    identity = founder_identity(jnp.arange(position.shape[0], dtype=jnp.uint32))
    return Flock(position, direction, identity, jnp.int32(0))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def run(case: Flocking, flock: Flock) -> tuple[Flock, Float[Array, " steps"]]:
    """Run `case.steps` steps; return the end and the length of the mean direction after each step."""
    grid = Grid.for_radius(case.side, case.side, case.vision, per_cell=_PER_CELL)
    alive = jnp.ones(case.birds, bool)

    def step(now: Flock, _: None) -> tuple[Flock, Float[Array, ""]]:
        cells = sort_into_cells(grid, now.position, alive, now.identity)

        def pair(
            mine: Array, other: Float[Array, "birds 2"], way: Float[Array, "birds 2"], squared: Array
        ) -> tuple[Array, Array]:
            near = (squared < case.separation**2)[:, None]
            change = way * (case.cohere - jnp.where(near, case.separate, 0)) + other * case.match
            return change, jnp.ones_like(squared)

        change, count = neighbor_sum(grid, cells, now.position, case.vision, now.direction, pair)
        wanted = now.direction + change / jnp.maximum(count, 1)[:, None]
        # A bird without neighbors keeps its direction, which has length 1.
        direction = wanted / jnp.linalg.norm(wanted, axis=1, keepdims=True)
        position = grid.confine(now.position + case.speed * direction)
        order = jnp.linalg.norm(direction.mean(0))
        return Flock(position, direction, now.identity, now.overflow + cells.overflow), order

    return jax.lax.scan(step, flock, length=case.steps)
