"""Cross-process max and sum of small integers, for identical control flow in all processes."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .mesh import replicated


class Collectives:
    """Reductions over the processes of a mesh.

    Every process must make the same calls, in the same order among its other computations. A single process
    computes nothing.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._rows = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._local_devices = len(mesh.local_devices)
        # One row per device: a process puts its numbers on the first of its devices, zeros on the others.
        self._max = jax.jit(lambda rows: jnp.max(rows, axis=0), out_shardings=replicated(mesh))
        self._sum = jax.jit(lambda rows: jnp.sum(rows, axis=0), out_shardings=replicated(mesh))

    def max(self, numbers: Sequence[int]) -> jax.Array | np.ndarray:
        """Return the elementwise maximum of non-negative numbers, int32 [n]; np.asarray waits for all."""
        if jax.process_count() == 1:
            return np.asarray(numbers, np.int32)
        return self._max(self._to_devices(numbers))

    def any(self, flag: bool) -> bool:
        """Return True if the flag of any process is set; waits for all processes."""
        return bool(np.asarray(self.max((int(flag),)))[0])

    def sum(self, numbers: Sequence[int]) -> np.ndarray:
        """Return the elementwise sum, int32 [n]; waits for all processes."""
        if jax.process_count() == 1:
            return np.asarray(numbers, np.int32)
        return np.asarray(self._sum(self._to_devices(numbers)))

    def _to_devices(self, numbers: Sequence[int]) -> jax.Array:
        rows = np.zeros((self._local_devices, len(numbers)), np.int32)
        rows[0] = numbers
        return jax.make_array_from_process_local_data(self._rows, rows)
