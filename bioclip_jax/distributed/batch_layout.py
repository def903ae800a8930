"""Layout of a batch's rows over the mesh, and reordering of rows without communication.

A batch of B rows is sharded over `shards` devices, B / shards consecutive rows each. Concatenating two such
batches end to end would move rows between devices; these functions work shard by shard instead. The towers
treat all rows alike, so only the outputs have to return to their input order.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jaxtyping import Array, Shaped


def rows_of_process(batch_sharding: NamedSharding) -> tuple[int, int]:
    """Return (part, parts): this process's devices hold part `part` of `parts` equal parts of the rows."""
    shards = _n_shards(batch_sharding)
    slices = batch_sharding.addressable_devices_indices_map((shards,)).values()
    held = sorted({index[0].indices(shards)[0] for index in slices})
    part, rest = divmod(held[0], len(held))
    if rest or held != list(range(held[0], held[0] + len(held))):
        raise RuntimeError(f"the mesh scatters the rows of one process over the shards {held} of {shards}")
    return part, shards // len(held)


def is_primary_replica(batch_sharding: NamedSharding) -> bool:
    """Return True in one of the processes that hold the same rows: the one that reports on them."""
    shards = _n_shards(batch_sharding)
    primary: dict[int, int] = {}
    for device, index in batch_sharding.devices_indices_map((shards,)).items():
        start = index[0].indices(shards)[0]
        primary[start] = min(device.process_index, primary.get(start, device.process_index))
    return jax.process_index() in primary.values()


def _n_shards(batch_sharding: NamedSharding) -> int:
    return math.prod(batch_sharding.mesh.shape[axis] for axis in batch_sharding.spec[0])


def concatenate_per_shard(
    first: Shaped[Array, "a ..."], second: Shaped[Array, "b ..."], shards: int
) -> Shaped[Array, "a+b ..."]:
    """Concatenate two batches shard by shard: rows of `first`, then rows of `second`."""
    return _from_shards(jnp.concatenate([_to_shards(first, shards), _to_shards(second, shards)], axis=1))


def split_per_shard(
    batch: Shaped[Array, "a+b ..."], first_rows: int, shards: int
) -> tuple[Shaped[Array, "a ..."], Shaped[Array, "b ..."]]:
    """Undo `concatenate_per_shard`; first_rows: number of rows of the first batch, over all shards."""
    rows, n = _to_shards(batch, shards), first_rows // shards
    return _from_shards(rows[:, :n]), _from_shards(rows[:, n:])


def to_micro_batches(
    batch: Shaped[Array, "b ..."], count: int, shards: int
) -> Shaped[Array, "count b/count ..."]:
    """Split a batch into `count` micro-batches with equally many rows of every shard."""
    rows = _to_shards(batch, shards)
    rows = rows.reshape(shards, count, -1, *batch.shape[1:]).swapaxes(0, 1)
    return rows.reshape(count, -1, *batch.shape[1:])


def from_micro_batches(micro: Shaped[Array, "count b/count ..."], shards: int) -> Shaped[Array, "b ..."]:
    """Undo `to_micro_batches`."""
    count, row = micro.shape[0], micro.shape[2:]
    return micro.reshape(count, shards, -1, *row).swapaxes(0, 1).reshape(-1, *row)


def _to_shards(batch: Array, shards: int) -> Array:
    return batch.reshape(shards, -1, *batch.shape[1:])


def _from_shards(rows: Array) -> Array:
    return rows.reshape(-1, *rows.shape[2:])
