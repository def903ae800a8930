"""Random numbers that depend on nothing but seed, purpose, member, identity and step.

Nested fold_in: a member's draw for a species or a parameter is the same whatever others there are, in whatever
order, however long the run, and on whatever device. So scenarios are paired, and removing a species leaves the
others' draws as they were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def identity(name: str) -> int:
    """Return the number of a name for fold_in: the first 32 bits of its SHA-256."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def normals(
    seed: int, purpose: str, members: Int[np.ndarray, " members"], names: Sequence[str], steps: int = 1
) -> Float[np.ndarray, "members names steps"]:
    """Return independent standard normal numbers by member, name and step."""
    from scipy.special import ndtri

    if not names:
        return np.zeros((len(members), 0, steps))
    with jax.enable_x64(True):
        key = jax.random.fold_in(jax.random.key(seed), identity(purpose))
        bits = _bits(
            key,
            jnp.asarray(members, jnp.uint32),
            jnp.asarray([identity(name) for name in names], jnp.uint32),
            jnp.arange(steps, dtype=jnp.uint32),
        )
    # Integers are the same on every device; NumPy and SciPy compute the rest, one number at a time.
    return ndtri(((np.asarray(bits) >> np.uint64(11)) + 0.5) * 2.0**-53)


@jax.jit
def _bits(key: Array, members: Array, identities: Array, steps: Array) -> Int[Array, "members names steps"]:
    def draw(member: Array, identity: Array, step: Array) -> Array:
        folded = key
        for number in (member, identity, step):
            folded = jax.random.fold_in(folded, number)
        return jax.random.bits(folded, dtype=jnp.uint64)

    for axis in ((None, None, 0), (None, 0, None), (0, None, None)):
        draw = jax.vmap(draw, axis)
    return draw(members, identities, steps)


def autoregressive(
    normal: Float[np.ndarray, "*shape steps"], correlation: float
) -> Float[np.ndarray, "*shape steps"]:
    """Return a stationary first-order autoregression of unit variance, driven by normal numbers."""
    series = normal.copy()
    for step in range(1, series.shape[-1]):
        series[..., step] *= np.sqrt(1 - correlation**2)
        series[..., step] += correlation * series[..., step - 1]
    return series
