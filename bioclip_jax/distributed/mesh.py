"""The device mesh, and the shardings of batches and replicated arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from bioclip_jax.errors import UserError

AXES = ("data", "fsdp", "tensor")


@dataclass(frozen=True)
class MeshConfig:
    """Sizes of the mesh axes; -1 fills an axis with the remaining devices.

    data: splits the batch and replicates parameters. fsdp: splits the batch, the parameters and the
    optimizer state (ZeRO-3, Rajbhandari et al. 2020). tensor: splits the heads and the MLP's hidden units,
    not the batch (Megatron-LM, Shoeybi et al. 2019).
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1


def make_mesh(config: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
    """Make the mesh over `devices`, None for all. Raises UserError unless the axes multiply to their number.

    The last axes communicate most, so they connect neighbors: devices are numbered node by node, and
    jax.make_mesh keeps that order. Thus tensor and fsdp are within a node if their product divides the number
    of its devices.
    """
    devices = list(devices or jax.devices())
    shape = [getattr(config, axis) for axis in AXES]
    given = ", ".join(f"{axis}={size}" for axis, size in zip(AXES, shape, strict=True))
    if shape.count(-1) > 1 or any(size == 0 or size < -1 for size in shape):
        raise UserError(f"config.mesh is {given}; sizes are positive, and one may be -1")
    if -1 in shape:
        shape[shape.index(-1)] = max(1, len(devices) // -math.prod(shape))
    if math.prod(shape) != len(devices):
        raise UserError(
            f"config.mesh is {given}, but there are {len(devices)} devices; set one axis to -1 to fill it"
        )
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding of a batch: rows are split over data and fsdp, and repeated along tensor."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of an array copied to every device."""
    return NamedSharding(mesh, PartitionSpec())
