"""Shardings of parameters and activations by their logical axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bioclip_jax.errors import UserError
from bioclip_jax.models import CLIPConfig, parameter_axes

from .mesh import ROW_AXES, replicated

# Mesh axes that split a logical axis; other logical axes, and None, are not split.
RULES = {
    "batch": ROW_AXES,
    "embed": ("fsdp",),
    "heads": ("tensor",),
    "mlp": ("tensor",),
}


def parameter_shardings(tree: Any, mesh: Mesh) -> Any:
    """Return a sharding for each array of `tree`: parameters, or optimizer state that repeats their paths.

    Parameters carry their logical axes as metadata. Arrays without are replicated, and an axis that its mesh
    axis does not divide is not split.
    """
    logical_axes = parameter_axes()

    def sharding(path: tuple[Any, ...], array: Any) -> NamedSharding:
        names = tuple(str(getattr(entry, "key", getattr(entry, "name", ""))) for entry in path)
        axes = next((axes for start in range(len(names)) if (axes := logical_axes.get(names[start:]))), None)
        # Optimizers keep factored or scalar statistics at a parameter's path, in other shapes.
        if axes is None or len(axes) != len(array.shape):
            return replicated(mesh)
        return NamedSharding(mesh, _spec(axes, array.shape, mesh))

    return jax.tree_util.tree_map_with_path(sharding, tree)


@dataclass(frozen=True)
class ActivationSharding:
    """The `shard` option of the models: `shard(x, logical_axes)` constrains the sharding of x on a mesh.

    In a shard_map x is a device's part along the axes of the shard_map, and only the others can split it.
    """

    mesh: Mesh

    def __call__(self, x: jax.Array, logical_axes: tuple[str | None, ...]) -> jax.Array:
        """Constrain the sharding of x."""
        context = jax.sharding.get_abstract_mesh()
        manual = context.manual_axes
        if len(manual) == len(self.mesh.axis_names):
            return x
        spec = _spec(logical_axes, x.shape, self.mesh, without=manual)
        return jax.lax.with_sharding_constraint(x, NamedSharding(context if manual else self.mesh, spec))


def check_tensor(model_config: CLIPConfig, mesh: Mesh) -> None:
    """Raise UserError unless the mesh's tensor axis divides the heads and MLP width of both towers."""
    tensor = mesh.shape["tensor"]
    sizes = {
        f"{unit} of the {tower} tower": size
        for tower, config in (("image", model_config.vision), ("text", model_config.text))
        for unit, size in (("heads", config.heads), ("MLP hidden units", config.mlp_width))
    }
    for units, size in sizes.items():
        if size % tensor:
            raise UserError(
                f"config.mesh.tensor is {tensor}, which does not divide the {size} {units}; "
                f"choose a divisor of {math.gcd(*sizes.values())}"
            )


def _spec(
    logical_axes: tuple[str | None, ...],
    shape: tuple[int, ...],
    mesh: Mesh,
    without: tuple[str, ...] = (),
) -> PartitionSpec:
    def mesh_axes(logical: str | None, size: int) -> tuple[str, ...] | None:
        axes = tuple(axis for axis in RULES.get(logical, ()) if axis not in without)
        devices = math.prod(mesh.shape[axis] for axis in axes)
        return axes if devices > 1 and size % devices == 0 else None

    return PartitionSpec(*map(mesh_axes, logical_axes, shape))
