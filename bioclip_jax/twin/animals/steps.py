"""An hour's movement: each animal chooses one of a few candidate steps by step-selection weights.

Candidates have a turn from a wrapped Cauchy and a length from an exponential distribution; the chosen one has
probability ∝ exp(β · x) with x of the cell that it leads to (step-selection functions: Fortin et al. 2005,
Ecology 86:1320). Directions and lengths are 256 quantiles in tables, and steps are rounded to 1/64 m: so no
last digit depends on how a program is compiled, and results are the same bytes on any number of devices.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .ecology import Ecology
from .feeding import Fields
from .keys import Words, bits
from .state import Animals

_QUANTILES = 256
_GRAIN_M = 1 / 64
# Largest |β · x|, so that weights are finite in float32.
_MOST = 30.0
_MIDPOINTS = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
_ANGLES = 2 * np.pi * np.arange(_QUANTILES) / _QUANTILES
# Quantiles of the exponential distribution, scaled to a mean of exactly 1.
_LENGTHS = -np.log1p(-_MIDPOINTS) / -np.log1p(-_MIDPOINTS).mean()


def turns(persistence: Float[Array, " species"]) -> Int[Array, "species quantiles"]:
    """Return quantiles of the turning angle in 1/256 turns: wrapped Cauchy with that mean cosine."""
    spread = (1 - persistence) / (1 + persistence)
    angle = 2 * jnp.arctan(spread[:, None] * jnp.tan(jnp.pi * (jnp.asarray(_MIDPOINTS) - 0.5)))
    return jnp.round(angle * (_QUANTILES / (2 * jnp.pi))).astype(jnp.int32)


def attraction(
    ecology: Ecology, fields: Fields, mass: Float[Array, "cells species"]
) -> Float[Array, "cells species"]:
    """Return the weight exp(β · x) of each cell for each species, float32."""
    community, habitat, selection = ecology.community, ecology.habitat, ecology.selection
    eaters, resources = jnp.array(community.consumer, int), jnp.array(community.resource, int)
    there = jnp.where(jnp.array(community.producer), fields.plants, mass)
    wanted = ecology.environment.capture[0, :, 0] * there[:, resources]
    food = jnp.zeros_like(there).at[:, eaters].add(wanted)
    pressure = jnp.where(jnp.array(community.producer)[resources], 0.0, there[:, eaters])
    risk = jnp.zeros_like(there).at[:, resources].add(pressure)
    logit = (
        selection.food * jnp.log1p(_relative(food))
        + selection.risk * _relative(risk)
        + selection.water * habitat.water_m[:, None] / 1000
        + selection.slope * habitat.slope[:, None]
    )
    return jnp.exp(jnp.clip(logit, -_MOST, _MOST)).astype(jnp.float32)


def _relative(amount: Float[Array, "cells species"]) -> Float[Array, "cells species"]:
    mean = amount.mean(axis=0)
    return amount / jnp.where(mean > 0, mean, 1.0)


def move(
    ecology: Ecology,
    animals: Animals,
    weight: Float[Array, "cells species"],
    key: Words,
    hour: Int[Array, ""],
    purpose: int,
    choice: Float[Array, " animals"],
) -> tuple[Float[Array, "animals 2"], Float[Array, " animals"]]:
    """Return the positions and headings after an hour's steps.

    weight: of the cells, as attraction returns them. key: of each animal. purpose: this number and the next
    are used for the candidates. choice: uniform draws between them.
    """
    grid, species = ecology.habitat.grid, animals.species
    turn_table = turns(ecology.life.persistence).reshape(-1)
    directions = jnp.asarray(np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1), jnp.float32)
    lengths = (ecology.life.step_m[:, None] * jnp.asarray(_LENGTHS)).astype(jnp.float32).reshape(-1)
    row = species * _QUANTILES
    facing = jnp.round(animals.heading * jnp.float32(_QUANTILES / (2 * np.pi))).astype(jnp.int32)

    def candidate(sixteen: Array) -> tuple[Array, Array]:
        turn = turn_table[row + (sixteen & 0xFF).astype(jnp.int32)]
        way = (facing + turn) % _QUANTILES
        length = lengths[row + (sixteen >> 8).astype(jnp.int32)]
        step = jnp.round(length[:, None] * directions[way] * jnp.float32(1 / _GRAIN_M)) * jnp.float32(
            _GRAIN_M
        )
        return grid.confine(animals.position + step), way

    first, second = (bits(key, hour, purpose + number) for number in (0, 1))
    halves = [half for word in (*first, *second) for half in (word & 0xFFFF, word >> 16)]
    chosen = halves[0]
    # In one cell there is nothing to choose.
    if grid.n_cells > 1:
        flat = weight.reshape(-1)
        weights = [flat[grid.cell(candidate(half)[0]) * ecology.n_species + species] for half in halves]
        draw = choice * sum(weights[1:], weights[0])
        passed = weights[0]
        for half, weight_of_half in zip(halves[1:], weights[1:]):
            chosen = jnp.where(draw >= passed, half, chosen)
            passed = passed + weight_of_half
    # Once more, for less than it costs to keep all eight.
    position, way = candidate(chosen)
    headings = jnp.asarray(_ANGLES, jnp.float32)
    return position, headings[way]
