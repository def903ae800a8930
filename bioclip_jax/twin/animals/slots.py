"""Slots and identities of a scene's animals."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from bioclip_jax.errors import UserError

from .actors import CAPACITY, CARNIVORE_SLOTS
from .traits import CARNIVORES, Traits

# Identities: a number by species and the animal's number in it.
_PER_SPECIES = 1000


@dataclass(frozen=True)
class Cast:
    """Animals by slot of the fast clock: carnivores first. order: slots in the order of the cast."""

    traits: tuple[Traits, ...]
    species: Int[np.ndarray, " animals"]
    number: Int[np.ndarray, " animals"]
    identity: Int[np.ndarray, " animals"]
    order: Int[np.ndarray, " animals"]


def gather_cast(numbers: Mapping[str, int], traits: Mapping[str, Traits]) -> Cast:
    """Give each animal a slot and an identity. Raises UserError for more animals than there are slots."""
    total = sum(numbers.values())
    carnivores = sum(n for name, n in numbers.items() if traits[name].guild in CARNIVORES)
    for n, what, most in ((total, "animals", CAPACITY), (carnivores, "carnivores", CARNIVORE_SLOTS)):
        if n > most:
            raise UserError(f"the scene's cast has {n} {what}; the most is {most}: give smaller numbers")
    listed = [(index, k) for index, n in enumerate(numbers.values()) for k in range(n)]
    kinds = [traits[name] for name in numbers]
    first = [i for i, (index, _) in enumerate(listed) if kinds[index].guild in CARNIVORES]
    last = [i for i in range(total) if i not in set(first)]
    slots = np.concatenate([np.arange(len(first)), CARNIVORE_SLOTS + np.arange(len(last))])
    # Prey takes the carnivores' free slots if there is no other place.
    spare = np.setdiff1d(np.arange(len(first), CARNIVORE_SLOTS), slots)
    slots = np.where(slots < CAPACITY, slots, spare[np.clip(slots - CAPACITY, 0, len(spare) - 1)])
    order = np.empty(total, int)
    order[first + last] = slots
    species, number, identity = np.zeros(CAPACITY, int), np.zeros(CAPACITY, int), np.zeros(CAPACITY, int)
    for slot, (index, k) in zip(order, listed, strict=True):
        species[slot], number[slot] = index, k
        identity[slot] = species_identity(kinds[index].name) + k
    return Cast(tuple(kinds), species, number, identity, order)


def species_identity(name: str) -> int:
    """Return the identity of a species' animal number 0, the same in all scenes."""
    return zlib.crc32(name.encode()) % 2_000_000 * _PER_SPECIES
