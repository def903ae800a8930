"""A checksum of arrays that is the same however they lie on devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

_WORDS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}


def checksums(trees: Mapping[str, Any]) -> dict[str, int]:
    """For each tree the sum of its arrays' bits, read as unsigned integers, modulo 2^32.

    Computed where the arrays lie. Integers add up to the same sum in any order, so it does not depend on the
    mesh.
    """
    return {name: int(value) for name, value in _checksums(dict(trees)).items()}


@jax.jit
def _checksums(trees: dict[str, Any]) -> dict[str, jax.Array]:
    def of_tree(tree: Any) -> jax.Array:
        total = jnp.zeros((), jnp.uint32)
        for array in jax.tree.leaves(tree):
            words = jax.lax.bitcast_convert_type(array, _WORDS[array.dtype.itemsize])
            total += jnp.sum(words, dtype=jnp.uint32)
        return total

    return {name: of_tree(tree) for name, tree in trees.items()}
