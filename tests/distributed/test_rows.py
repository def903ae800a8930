"""Joining and parting rows shard by shard."""

from __future__ import annotations

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.distributed import rows
from bioclip_jax.distributed.mesh import MeshConfig, batch_sharding, make_mesh

sizes = st.integers(1, 4)


@given(first=sizes, second=sizes, shards=sizes, width=sizes)
def test_part_gives_back_what_was_joined_and_each_shard_keeps_its_own(first, second, shards, width):
    a = np.arange(first * shards * width).reshape(-1, width)
    b = -1 - np.arange(second * shards * width).reshape(-1, width)
    joined = rows.join(a, b, shards)
    for shard, here in enumerate(np.split(np.asarray(joined), shards)):
        own = np.concatenate([np.split(a, shards)[shard], np.split(b, shards)[shard]])
        np.testing.assert_array_equal(here, own, err_msg=f"shard {shard}")
    for found, given_ in zip(rows.part(joined, len(a), shards), (a, b)):
        np.testing.assert_array_equal(found, given_)


@given(count=sizes, shards=sizes, each=sizes)
def test_micro_batches_come_together_again_and_take_as_much_of_each_shard(count, shards, each):
    batch = np.arange(count * shards * each)
    micro = np.asarray(rows.to_micro_batches(batch, count, shards))
    assert micro.shape == (count, shards * each)
    shard_of = micro // (count * each)
    for part in shard_of:
        assert np.bincount(part, minlength=shards).tolist() == [each] * shards, part
    np.testing.assert_array_equal(rows.from_micro_batches(micro, shards), batch)


def test_nothing_moves_between_devices():
    mesh = make_mesh(MeshConfig(data=2, fsdp=4))
    split = batch_sharding(mesh)

    def both_ways(a, b):
        joined = rows.join(a, b, 8)
        micro = rows.to_micro_batches(joined, 2, 8)
        return rows.part(rows.from_micro_batches(micro * 2, 8), len(a), 8)

    a, b = (jax.device_put(np.ones((size, 3), np.float32), split) for size in (32, 16))
    program = jax.jit(both_ways, out_shardings=split).lower(a, b).compile().as_text()
    moving = [
        name for name in ("all-gather", "all-to-all", "collective-permute", "all-reduce") if name in program
    ]
    assert not moving, f"the compiled program uses {moving}"


def test_one_process_has_all_rows():
    assert rows.rows_of_process(batch_sharding(make_mesh(MeshConfig(data=2, fsdp=4)))) == (0, 1)
