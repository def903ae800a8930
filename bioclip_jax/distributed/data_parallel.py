"""Functions of whole parameters and a device's own rows, with one gather and one reduction.

Left to itself, XLA's partitioner gathers parameters and reduces gradients in every iteration of a scan over
layers or micro-batches.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .mesh import ROW_AXES


class DataParallel:
    """Run a function on every device's rows, with parameters that are whole except along "tensor".

    Parameters that fsdp splits are gathered once, in `dtype` if that is narrower, and kept until the backward
    pass. A device adds up the gradients of its own rows; their sum over the devices is computed once, in the
    parameters' types (float32 with a "tensor" axis): reduce-scattered over fsdp, then all-reduced over the
    other devices.
    """

    def __init__(self, mesh: Mesh, shardings: Any, dtype: Any) -> None:
        """shardings: NamedShardings of the parameters on `mesh`."""
        self._mesh, self._dtype = mesh, dtype
        # XLA's partitioner is left in charge of "tensor" alone, and of nothing if that is not used.
        self._axes = ROW_AXES if mesh.shape["tensor"] > 1 else mesh.axis_names
        self._specs = jax.tree.map(self._manual, shardings)

    def __call__(self, function: Callable[[Any, Any], Any], params: Any, rows: Any) -> Any:
        """Return function(params, rows), trees of arrays whose first axis is the rows."""
        if self._mesh.shape["tensor"] > 1:
            # XLA for CPUs aborts on a bfloat16 sum in a shard_map over some of the axes (jax 0.10.2).
            params = jax.tree.map(lambda x: x.astype(jnp.float32), params)

        # Varying axes are not checked: the backward pass would sum where a type changes, in the middle.
        @partial(
            jax.shard_map,
            mesh=self._mesh,
            in_specs=(self._specs, PartitionSpec(ROW_AXES)),
            out_specs=PartitionSpec(ROW_AXES),
            axis_names=set(self._axes),
            check_vma=False,
        )
        def on_each_device(params: Any, rows: Any) -> Any:
            return function(jax.tree.map(self._whole, params, self._specs), rows)

        return on_each_device(params, rows)

    def _manual(self, sharding: NamedSharding) -> PartitionSpec:
        """Return the sharding's spec without an axis that XLA's partitioner is in charge of."""

        def keep(axes: Any) -> Any:
            names = (axes,) if isinstance(axes, str) else axes or ()
            return tuple(name for name in names if name in self._axes) or None

        return PartitionSpec(*map(keep, sharding.spec))

    def _whole(self, x: jax.Array, spec: PartitionSpec) -> jax.Array:
        """Return a parameter gathered over fsdp, if that splits it."""
        split = [axis for axis, names in enumerate(spec) if "fsdp" in (names or ())]
        return _gather(x, split[0], self._dtype) if split else x


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _gather(x: jax.Array, axis: int, dtype: Any) -> jax.Array:
    """Gather x over fsdp along `axis`, sent in `dtype`; the gradient is summed in the type of x."""
    return jax.lax.all_gather(x.astype(dtype), "fsdp", axis=axis, tiled=True).astype(x.dtype)


def _gather_forward(x: jax.Array, axis: int, dtype: Any) -> tuple[jax.Array, None]:
    return _gather(x, axis, dtype), None


def _gather_backward(axis: int, dtype: Any, _: None, gradient: jax.Array) -> tuple[jax.Array]:
    return (jax.lax.psum_scatter(gradient, "fsdp", scatter_dimension=axis, tiled=True),)


_gather.defvjp(_gather_forward, _gather_backward)
