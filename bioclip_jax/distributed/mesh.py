"""The device mesh and what lies where on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from bioclip_jax.errors import UserError


@dataclass(frozen=True)
class MeshConfig:
    """Sizes of the mesh axes; -1 fills an axis with the devices that the other one leaves.

    data: the batch is split, parameters are copied. fsdp: the batch is split, and so are the
    parameters and the optimizer state (ZeRO-3, Rajbhandari et al. 2020).
    """

    data: int = -1
    fsdp: int = 1


def make_mesh(config: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
    """The mesh over `devices` (None: all of them). UserError if the axes do not multiply to their number."""
    devices = list(devices or jax.devices())
    shape = [config.data, config.fsdp]
    if shape.count(-1) > 1 or any(size == 0 or size < -1 for size in shape):
        raise UserError(f"config.mesh is data={shape[0]}, fsdp={shape[1]}; sizes are positive, and one may be -1")
    if -1 in shape:
        shape[shape.index(-1)] = max(1, len(devices) // -math.prod(shape))
    if math.prod(shape) != len(devices):
        raise UserError(
            f"config.mesh is data={config.data}, fsdp={config.fsdp}, but there are {len(devices)} devices; "
            "set one axis to -1 to fill it"
        )
    return jax.make_mesh(shape, ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2, devices=devices)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows of a batch, split over every device."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def parameter_shardings(tree: Any, mesh: Mesh) -> Any:
    """A sharding for each array of `tree` (parameters, or optimizer state shaped like them).

    An array is split over fsdp along its longest axis that fsdp divides; what has none is copied.
    """
    fsdp = mesh.shape["fsdp"]

    def sharding(array: Any) -> NamedSharding:
        divisible = [axis for axis, size in enumerate(array.shape) if size % fsdp == 0]
        if fsdp == 1 or len(array.shape) < 2 or not divisible:
            return replicated(mesh)
        longest = max(divisible, key=lambda axis: array.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * longest, "fsdp"))

    return jax.tree.map(sharding, tree)
