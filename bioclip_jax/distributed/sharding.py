"""Which axis of which array is split over which axis of the mesh: the one table of rules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bioclip_jax.errors import UserError

from .mesh import replicated

if TYPE_CHECKING:
    from bioclip_jax.models import CLIPConfig

# The mesh axes of a logical axis. A logical axis that is not here, or None, is not split.
RULES = {
    "batch": ("data", "fsdp"),
    "embed": ("fsdp",),
    "heads": ("tensor",),
    "mlp": ("tensor",),
}

# The logical axes of each parameter that is split, told by the end of its path, because the optimizer's state
# repeats the parameters' paths. Everything else is as long as a tower is wide, or shorter, and is copied.
_PARAMETERS = {
    "patch_embedding/kernel": ("pixels", "embed"),
    "positional_embedding": ("tokens", "embed"),
    "token_embedding": ("vocab", "embed"),
    "proj": ("embed", "features"),
    "continual_proj": ("embed", "features"),
    "text_projection": ("embed", "features"),
    "attn/in_proj/kernel": ("layers", "embed", "qkv", "heads"),
    "attn/in_proj/bias": ("layers", "qkv", "heads"),
    "attn/out_proj/kernel": ("layers", "heads", "embed"),
    "mlp/c_fc/kernel": ("layers", "embed", "mlp"),
    "mlp/c_fc/bias": ("layers", "mlp"),
    "mlp/c_proj/kernel": ("layers", "mlp", "embed"),
}


def parameter_shardings(tree: Any, mesh: Mesh) -> Any:
    """A sharding for each array of `tree`: parameters, or optimizer state that is shaped like them.

    An axis that its mesh axis does not divide is not split.
    """

    def sharding(path: tuple[Any, ...], array: Any) -> NamedSharding:
        axes = _logical_axes(path)
        # A factored or scalar statistic of an optimizer stands at a parameter's path without its shape.
        if axes is None or len(axes) != len(array.shape):
            return replicated(mesh)
        return NamedSharding(mesh, _spec(axes, array.shape, mesh))

    return jax.tree_util.tree_map_with_path(sharding, tree)


@dataclass(frozen=True)
class ActivationSharding:
    """`shard(x, logical_axes)`: x, told how it lies on the mesh by the table that the parameters follow."""

    mesh: Mesh

    def __call__(self, x: jax.Array, logical_axes: tuple[str | None, ...]) -> jax.Array:
        return jax.lax.with_sharding_constraint(
            x, NamedSharding(self.mesh, _spec(logical_axes, x.shape, self.mesh))
        )


def activation_sharding(mesh: Mesh) -> ActivationSharding:
    """The `shard` option of the models, for this mesh."""
    return ActivationSharding(mesh)


def check_tensor(model_config: CLIPConfig, mesh: Mesh) -> None:
    """UserError where the tensor axis of `mesh` does not divide the heads and the MLP width of both towers."""
    tensor = mesh.shape["tensor"]
    for tower, sizes in (("image", model_config.vision), ("text", model_config.text)):
        for what, size in (("heads", sizes.heads), ("MLP hidden units", sizes.mlp_width)):
            if size % tensor:
                raise UserError(
                    f"config.mesh.tensor is {tensor}, which does not divide the {size} {what} of the "
                    f"{tower} tower; "
                    f"choose a divisor of {math.gcd(*_sizes(model_config))}"
                )


def _sizes(model_config: CLIPConfig) -> tuple[int, ...]:
    return tuple(
        size for tower in (model_config.vision, model_config.text) for size in (tower.heads, tower.mlp_width)
    )


def _logical_axes(path: tuple[Any, ...]) -> tuple[str, ...] | None:
    names = [str(getattr(entry, "key", getattr(entry, "name", ""))) for entry in path]
    return next(
        (_PARAMETERS[end] for end in ("/".join(names[-n:]) for n in (3, 2, 1)) if end in _PARAMETERS), None
    )


def _spec(logical_axes: tuple[str | None, ...], shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    def mesh_axes(logical: str | None, size: int) -> tuple[str, ...] | None:
        axes = RULES.get(logical, ())
        devices = math.prod(mesh.shape[axis] for axis in axes)
        return axes if devices > 1 and size % devices == 0 else None

    return PartitionSpec(*map(mesh_axes, logical_axes, shape))
