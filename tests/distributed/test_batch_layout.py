"""Reordering of rows within shards."""

from __future__ import annotations

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.distributed import (
    MeshConfig,
    batch_sharding,
    concatenate_per_shard,
    from_micro_batches,
    make_mesh,
    rows_of_process,
    split_per_shard,
    to_micro_batches,
)

sizes = st.integers(1, 3)
# Every new shape is compiled.
few = settings(max_examples=30, deadline=None)


@few
@given(first=sizes, second=sizes, shards=sizes, width=sizes)
def test_concatenation_keeps_rows_in_their_shards_and_split_undoes_it(first, second, shards, width):
    a = np.arange(first * shards * width).reshape(-1, width)
    b = -1 - np.arange(second * shards * width).reshape(-1, width)
    joined = concatenate_per_shard(a, b, shards)
    for shard, actual in enumerate(np.split(np.asarray(joined), shards)):
        expected = np.concatenate([np.split(a, shards)[shard], np.split(b, shards)[shard]])
        np.testing.assert_array_equal(actual, expected, err_msg=f"shard {shard}")
    for actual, expected in zip(split_per_shard(joined, len(a), shards), (a, b)):
        np.testing.assert_array_equal(actual, expected)


@few
@given(count=sizes, shards=sizes, each=sizes)
def test_micro_batches_round_trip_and_take_equally_of_each_shard(count, shards, each):
    batch = np.arange(count * shards * each)
    micro = np.asarray(to_micro_batches(batch, count, shards))
    assert micro.shape == (count, shards * each)
    shard_of = micro // (count * each)
    for part in shard_of:
        assert np.bincount(part, minlength=shards).tolist() == [each] * shards, part
    np.testing.assert_array_equal(from_micro_batches(micro, shards), batch)


def test_no_communication_between_devices():
    mesh = make_mesh(MeshConfig(data=2, fsdp=4))
    split = batch_sharding(mesh)

    def round_trip(a, b):
        joined = concatenate_per_shard(a, b, 8)
        micro = to_micro_batches(joined, 2, 8)
        return split_per_shard(from_micro_batches(micro * 2, 8), len(a), 8)

    a, b = (jax.device_put(np.ones((size, 3), np.float32), split) for size in (32, 16))
    program = jax.jit(round_trip, out_shardings=split).lower(a, b).compile().as_text()
    collectives = [
        name for name in ("all-gather", "all-to-all", "collective-permute", "all-reduce") if name in program
    ]
    assert not collectives, f"the compiled program uses {collectives}"


def test_a_single_process_holds_all_rows():
    assert rows_of_process(batch_sharding(make_mesh(MeshConfig(data=2, fsdp=4)))) == (0, 1)
