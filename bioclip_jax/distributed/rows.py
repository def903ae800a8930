"""Rows of a batch that lie on many devices, joined and parted without moving any of them.

A batch of B rows is split over `shards` parts of the mesh, B / shards consecutive rows each. Concatenating
two such batches end to end would send rows from device to device; here each shard joins and parts its own.
The towers treat every row alike, so only what is read back must be in the order it was put in.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jaxtyping import Array, Shaped


def rows_of_process(batch_sharding: NamedSharding) -> tuple[int, int]:
    """(part, parts): this process's devices hold the part-th of `parts` equal, consecutive parts of a batch's rows."""
    shards = _shards(batch_sharding)
    slices = batch_sharding.addressable_devices_indices_map((shards,)).values()
    held = sorted({index[0].indices(shards)[0] for index in slices})
    part, rest = divmod(held[0], len(held))
    if rest or held != list(range(held[0], held[0] + len(held))):
        raise RuntimeError(f"the mesh scatters the rows of one process over the parts {held} of {shards}")
    return part, shards // len(held)


def counts_its_rows(batch_sharding: NamedSharding) -> bool:
    """Whether this process is the one, of those that hold the same rows of a batch, that speaks for them."""
    shards = _shards(batch_sharding)
    holders: dict[int, int] = {}
    for device, index in batch_sharding.devices_indices_map((shards,)).items():
        start = index[0].indices(shards)[0]
        holders[start] = min(device.process_index, holders.get(start, device.process_index))
    return jax.process_index() in holders.values()


def _shards(batch_sharding: NamedSharding) -> int:
    return math.prod(batch_sharding.mesh.shape[axis] for axis in batch_sharding.spec[0])


def join(
    first: Shaped[Array, "a ..."], second: Shaped[Array, "b ..."], shards: int
) -> Shaped[Array, "a+b ..."]:
    """The rows of both, shard by shard: those of `first`, then those of `second`."""
    return _merge(jnp.concatenate([_split(first, shards), _split(second, shards)], axis=1))


def part(
    joined: Shaped[Array, "a+b ..."], first_rows: int, shards: int
) -> tuple[Shaped[Array, "a ..."], Shaped[Array, "b ..."]]:
    """What `join` was given; `first_rows` is the first one's number of rows, over all shards."""
    rows, here = _split(joined, shards), first_rows // shards
    return _merge(rows[:, :here]), _merge(rows[:, here:])


def to_micro_batches(
    batch: Shaped[Array, "b ..."], count: int, shards: int
) -> Shaped[Array, "count b/count ..."]:
    """`count` micro-batches, each of which has as many rows of every shard."""
    rows = _split(batch, shards)
    rows = rows.reshape(shards, count, -1, *batch.shape[1:]).swapaxes(0, 1)
    return rows.reshape(count, -1, *batch.shape[1:])


def from_micro_batches(micro: Shaped[Array, "count b/count ..."], shards: int) -> Shaped[Array, "b ..."]:
    """What `to_micro_batches` was given."""
    count, row = micro.shape[0], micro.shape[2:]
    return micro.reshape(count, shards, -1, *row).swapaxes(0, 1).reshape(-1, *row)


def _split(batch: Array, shards: int) -> Array:
    return batch.reshape(shards, -1, *batch.shape[1:])


def _merge(rows: Array) -> Array:
    return rows.reshape(-1, *rows.shape[2:])
