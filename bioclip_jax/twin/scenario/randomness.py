"""Random numbers that depend on nothing but seed, purpose, member, identity and step.

Nested fold_in: a member's draw for a species or a parameter is the same whatever others there are, in
whatever order, however long the run, and on whatever device. So scenarios are paired, and removing a species
leaves the others' draws as they were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32, UInt64

# Numbers that are drawn at once: one program for all shapes.
_BLOCK = 1 << 14


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
    labels = np.meshgrid(members, [identity(name) for name in names], np.arange(steps), indexing="ij")
    shape = labels[0].shape
    flat = np.stack([label.ravel() for label in labels], axis=1).astype(np.uint32)
    padded = np.pad(flat, ((0, -len(flat) % _BLOCK), (0, 0)))
    with jax.enable_x64(True):
        key = jax.random.fold_in(jax.random.key(seed), identity(purpose))
        bits = [np.asarray(_bits(key, jnp.asarray(block))) for block in padded.reshape(-1, _BLOCK, 3)]
    # Integers are the same on every device; NumPy and SciPy compute the rest, one number at a time.
    uniform = ((np.concatenate(bits)[: len(flat)] >> np.uint64(11)) + 0.5) * 2.0**-53
    return ndtri(uniform).reshape(shape)


@jax.jit
def _bits(key: Array, labels: UInt32[Array, "block 3"]) -> UInt64[Array, " block"]:
    def draw(label: UInt32[Array, "3"]) -> UInt64[Array, ""]:
        folded = key
        for number in label:
            folded = jax.random.fold_in(folded, number)
        return jax.random.bits(folded, dtype=jnp.uint64)

    return jax.vmap(draw)(labels)


def autoregressive(
    normal: Float[np.ndarray, "*shape steps"], correlation: float
) -> Float[np.ndarray, "*shape steps"]:
    """Return a stationary first-order autoregression of unit variance, driven by normal numbers."""
    series = normal.copy()
    for step in range(1, series.shape[-1]):
        series[..., step] *= np.sqrt(1 - correlation**2)
        series[..., step] += correlation * series[..., step - 1]
    return series
