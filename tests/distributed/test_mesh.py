"""Mesh shapes and where arrays lie on them."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import PartitionSpec

from bioclip_jax.distributed.mesh import MeshConfig, batch_sharding, make_mesh, parameter_shardings
from bioclip_jax.errors import UserError


@pytest.mark.parametrize(
    ("config", "shape"),
    [(MeshConfig(), (8, 1)), (MeshConfig(-1, 4), (2, 4)), (MeshConfig(4, -1), (4, 2)), (MeshConfig(1, 8), (1, 8))],
)
def test_minus_one_fills(config, shape):
    mesh = make_mesh(config)
    assert (mesh.shape["data"], mesh.shape["fsdp"]) == shape


@pytest.mark.parametrize("config", [MeshConfig(-1, -1), MeshConfig(3, 1), MeshConfig(-1, 5), MeshConfig(0, 8)])
def test_a_mesh_that_does_not_fit_is_told(config):
    with pytest.raises(UserError, match="config.mesh is data="):
        make_mesh(config)


@given(
    shape=st.lists(st.integers(1, 24), max_size=4).map(tuple), fsdp=st.sampled_from([1, 2, 4, 8])
)
def test_every_array_can_be_placed(shape, fsdp):
    mesh = make_mesh(MeshConfig(-1, fsdp))
    sharding = parameter_shardings(np.zeros(shape, np.float32), mesh)
    split = np.prod(shape) / np.prod(sharding.shard_shape(shape))
    can_split = len(shape) >= 2 and any(size % fsdp == 0 for size in shape)
    assert split == (fsdp if can_split else 1), f"{shape} over fsdp={fsdp} is split by {split}"


def test_the_batch_is_split_over_every_device():
    mesh = make_mesh(MeshConfig(2, 4))
    batch = jax.device_put(np.zeros((16, 3)), batch_sharding(mesh))
    assert batch.sharding.spec == PartitionSpec(("data", "fsdp"))
    assert {shard.data.shape for shard in batch.addressable_shards} == {(2, 3)}
