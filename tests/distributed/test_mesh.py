"""Mesh shapes, and the sharding of a batch."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from bioclip_jax.distributed.mesh import MeshConfig, batch_sharding, make_mesh, rows_of_process
from bioclip_jax.errors import UserError


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (MeshConfig(), (8, 1, 1)),
        (MeshConfig(-1, 4), (2, 4, 1)),
        (MeshConfig(4, -1), (4, 2, 1)),
        (MeshConfig(1, 8), (1, 8, 1)),
        (MeshConfig(2, 2, 2), (2, 2, 2)),
        (MeshConfig(1, 2, -1), (1, 2, 4)),
    ],
)
def test_minus_one_fills_an_axis(config, shape):
    mesh = make_mesh(config)
    assert tuple(mesh.shape.items()) == tuple(zip(("data", "fsdp", "tensor"), shape, strict=True))
    assert set(mesh.axis_types) == {AxisType.Auto}


def test_the_innermost_axes_are_neighbors():
    """Devices are numbered node by node, so neighbors in this order share a node."""
    ids = np.vectorize(lambda device: device.id)(make_mesh(MeshConfig(2, 2, 2)).devices)
    np.testing.assert_array_equal(ids, np.arange(8).reshape(2, 2, 2))


@pytest.mark.parametrize(
    "config",
    [MeshConfig(-1, -1), MeshConfig(3, 1), MeshConfig(-1, 5), MeshConfig(0, 8), MeshConfig(1, -1, 3)],
)
def test_a_mesh_that_does_not_fit_the_devices(config):
    sizes = f"data={config.data}, fsdp={config.fsdp}, tensor={config.tensor}"
    with pytest.raises(UserError, match=f"config.mesh is {sizes}"):
        make_mesh(config)


def test_one_device_is_a_mesh():
    assert make_mesh(MeshConfig(), jax.devices()[:1]).size == 1


def test_the_batch_is_split_over_data_and_fsdp_and_repeated_over_tensor():
    batch = jax.device_put(np.arange(16), batch_sharding(make_mesh(MeshConfig(2, 2, 2))))
    assert batch.sharding.spec == PartitionSpec(("data", "fsdp"))
    rows = [tuple(np.asarray(shard.data)) for shard in batch.addressable_shards]
    assert rows[0::2] == rows[1::2], "neighbors along tensor hold different rows"
    assert rows[0::2] == [tuple(range(start, start + 4)) for start in (0, 4, 8, 12)]


def test_a_single_process_holds_all_rows():
    assert rows_of_process(batch_sharding(make_mesh(MeshConfig(2, 4)))) == (0, 1)
