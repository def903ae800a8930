"""State of individuals: arrays of a fixed capacity, of which the slots with `alive` hold an animal."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from bioclip_jax.errors import UserError

from .keys import Words, founder_identity


class Animals(eqx.Module):
    """Struct of arrays of animals; a pytree. The content of slots that are not alive means nothing.

    identity: 64 bits as two words; slots move nobody's draws. position: m east and north. heading: radians
    counterclockwise from east. energy: living mass, kg (body and reserves). age: hours. births: given so far.
    """

    identity: Words
    species: Int[Array, " animals"]
    position: Float[Array, "animals 2"]
    heading: Float[Array, " animals"]
    energy: Float[Array, " animals"]
    age: Int[Array, " animals"]
    births: UInt32[Array, " animals"]
    alive: Bool[Array, " animals"]

    @property
    def capacity(self) -> int:
        """Slots, alive or free."""
        return self.alive.shape[0]


def found_animals(
    species: Int[np.ndarray, " founders"],
    position: Float[np.ndarray, "founders 2"],
    energy: Float[np.ndarray, " founders"],
    *,
    capacity: int | None = None,
    numbers: UInt32[np.ndarray, " founders"] | None = None,
    heading: Float[np.ndarray, " founders"] | None = None,
) -> Animals:
    """Return founders in the first slots of `capacity` (default: as many as founders).

    numbers: of the founders, from which their identities follow (default: 0, 1, 2, ...). Raises UserError if
    there are more founders than slots.
    """
    n = len(species)
    capacity = n if capacity is None else capacity
    if n > capacity:
        raise UserError(f"{n} animals do not fit into a capacity of {capacity}; raise it")
    numbers = np.arange(n) if numbers is None else numbers
    heading = np.zeros(n) if heading is None else heading

    def slots(values: np.ndarray, dtype: type) -> Array:
        filled = np.zeros((capacity, *np.shape(values)[1:]), dtype)
        filled[:n] = values
        return jnp.asarray(filled)

    return Animals(
        identity=founder_identity(slots(numbers, np.uint32)),
        species=slots(species, np.int32),
        position=slots(position, np.float32),
        heading=slots(heading, np.float32),
        energy=slots(energy, np.float32),
        age=slots(np.zeros(n), np.int32),
        births=slots(np.zeros(n), np.uint32),
        alive=slots(np.ones(n), bool),
    )


def place(
    occupants: eqx.Module,
    alive: Bool[Array, " slots"],
    newborn: eqx.Module,
    born: Bool[Array, " slots"],
    limit: int,
) -> tuple[eqx.Module, Int[Array, ""]]:
    """Move newborns into free slots by cumulative sum; return the new state and how many had no place.

    occupants, newborn: pytrees of arrays [slots, ...]; newborn holds at each parent's slot what its newborn
    is to be. born: slots with a birth. limit: most births that one call can place (static; the rest, too, are
    without place). The n-th newborn in slot order gets the n-th free slot. The caller must treat newborns
    without a place as an error: none may be lost.
    """
    slots = alive.shape[0]
    limit = min(limit, slots)
    (parents,) = jnp.nonzero(born, size=limit, fill_value=slots)
    (free,) = jnp.nonzero(~alive, size=limit, fill_value=slots)
    target = jnp.where(parents < slots, free, slots)
    placed = jax.tree.map(
        lambda old, new: old.at[target].set(new[jnp.minimum(parents, slots - 1)], mode="drop"),
        occupants,
        newborn,
    )
    return placed, born.sum(dtype=jnp.int32) - (target < slots).sum(dtype=jnp.int32)
