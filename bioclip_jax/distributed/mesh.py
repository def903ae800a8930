"""The device mesh, and the shardings of batches and replicated arrays over its devices and processes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from bioclip_jax.errors import UserError

AXES = ("data", "fsdp", "tensor")
# Axes that split the rows of a batch.
ROW_AXES = ("data", "fsdp")


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
    return NamedSharding(mesh, PartitionSpec(ROW_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of an array copied to every device."""
    return NamedSharding(mesh, PartitionSpec())


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
