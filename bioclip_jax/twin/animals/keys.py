"""Keyed random numbers: each draw is a function of (seed, identity, step, purpose), never of a slot.

A key is a pair of 32-bit words, and folding a 64-bit number into it is one call of Threefry-2x32-20 (Salmon,
Moraes, Dror and Shaw 2011, SC '11), as jax.random.fold_in does with 32-bit numbers. The seed's key is folded
with an animal's identity, then with (step, purpose): removing an animal leaves the draws of all others.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_LAST_STEP = 2**32 - 1
# Domains of identities: founders are numbered, newborns are folded from their parent.
_FOUNDER, _NEWBORN = (0x466F756E, 0x64657273), (0x4E657762, 0x6F726E73)


class Words(NamedTuple):
    """A pair of 32-bit words: a key, an identity or 64 random bits, each of any shape."""

    high: UInt32[Array, "*shape"]
    low: UInt32[Array, "*shape"]


@jax.jit
def threefry(key: Words, counter: Words) -> Words:
    """Return the 20 rounds of Threefry-2x32 of a counter under a key, broadcast against each other."""
    key_high, key_low = jnp.uint32(key.high), jnp.uint32(key.low)
    schedule = (key_high, key_low, key_high ^ key_low ^ jnp.uint32(_PARITY))
    high, low = jnp.uint32(counter.high) + schedule[0], jnp.uint32(counter.low) + schedule[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            high = high + low
            low = ((low << rotation) | (low >> (32 - rotation))) ^ high
        high = high + schedule[(group + 1) % 3]
        low = low + schedule[(group + 2) % 3] + jnp.uint32(group + 1)
    return Words(high, low)


def seed_key(seed: int) -> Words:
    """Return the key of a seed between 0 and 2^64 - 1, as jax.random.key does."""
    if not 0 <= seed < 2**64:
        raise ValueError(f"the seed is {seed}; it must be between 0 and 2^64 - 1")
    return Words(jnp.uint32(seed >> 32), jnp.uint32(seed & 0xFFFFFFFF))


def fold(key: Words, identity: Words) -> Words:
    """Return the key of each animal."""
    return threefry(key, identity)


@jax.jit
def bits(key: Words, step: UInt32[Array, ""], purpose: int) -> Words:
    """Return 64 random bits of each animal's key for a purpose at a step.

    purpose: a different number for each use of random bits in a step, below 2^32.
    """
    step = jnp.uint32(step)
    shape = jnp.broadcast_shapes(jnp.shape(key.high), step.shape)
    nothing = Words(jnp.zeros(shape, jnp.uint32), jnp.zeros(shape, jnp.uint32))
    # A loop of one pass, whose number XLA cannot know: it stores what a loop returns, and would otherwise
    # compute the bits anew wherever they are used. The last of all steps takes two passes, to the same end.
    passes = 1 + (step == jnp.uint32(_LAST_STEP)).sum()
    counter = Words(jnp.uint32(purpose), step)
    return jax.lax.fori_loop(0, passes, lambda _, __: Words(*threefry(key, counter)), nothing)


def uniform(words: UInt32[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return one of 2^23 equally likely float32 numbers in (0, 1), never either end, per 32 random bits."""
    return ((words >> 9).astype(jnp.float32) + 0.5) * jnp.float32(2.0**-23)


def uniforms(key: Words, step: UInt32[Array, ""], purpose: int) -> tuple[Array, Array]:
    """Return two independent uniform numbers in (0, 1) of each animal, float32."""
    words = bits(key, step, purpose)
    return uniform(words.high), uniform(words.low)


def normals(key: Words, step: UInt32[Array, ""], purpose: int, n: int) -> Float[Array, "*shape n"]:
    """Return n independent standard normal numbers of each animal, by Box and Muller's transform.

    They use up the purposes from `purpose` to `purpose` + (n + 1) // 2 - 1.
    """
    pairs = []
    for number in range((n + 1) // 2):
        first, second = uniforms(key, step, purpose + number)
        radius, angle = jnp.sqrt(-2 * jnp.log(first)), 2 * jnp.pi * second
        pairs += [radius * jnp.cos(angle), radius * jnp.sin(angle)]
    return jnp.stack(pairs[:n], axis=-1)


def founder_identity(number: UInt32[Array, "*shape"], group: UInt32[Array, "*shape"] | int = 0) -> Words:
    """Return the identity of founder `number` of a group, such as a species.

    No two founders share one, since Threefry is a bijection.
    """
    number = jnp.uint32(number)
    group = jnp.broadcast_to(jnp.uint32(group), number.shape)
    return threefry(Words(*map(jnp.uint32, _FOUNDER)), Words(group, number))


def newborn_identity(parent: Words, birth: UInt32[Array, "*shape"]) -> Words:
    """Return the identity of a parent's birth number 0, 1, 2, ...

    64 random bits: two of 10 million animals share one with probability 3e-6.
    """
    line = threefry(Words(*map(jnp.uint32, _NEWBORN)), parent)
    return threefry(line, Words(jnp.zeros_like(birth), birth))
