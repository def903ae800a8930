"""Small numbers on which all processes of a run agree, or that they add up."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .mesh import replicated


class Agreement:
    """What the processes of a mesh say, put together, so that all of them do the same at the same step.

    Every process must make the same calls, in the same order among its other computations. With one process
    nothing is computed.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._rows = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._local_devices = len(mesh.local_devices)
        # A number from each device: a process's own on the first of its devices.
        self._largest = jax.jit(lambda rows: jnp.max(rows, axis=0), out_shardings=replicated(mesh))
        self._sum = jax.jit(lambda rows: jnp.sum(rows, axis=0), out_shardings=replicated(mesh))

    def propose(self, numbers: Sequence[int]) -> jax.Array | np.ndarray:
        """int32 [n], elementwise the largest, at least 0, that a process proposed; np.asarray of it waits for all."""
        if jax.process_count() == 1:
            return np.asarray(numbers, np.int32)
        return self._largest(self._place(numbers))

    def anyone(self, flag: bool) -> bool:
        """Whether any process says so; waits for all of them."""
        return bool(np.asarray(self.propose((int(flag),)))[0])

    def total(self, numbers: Sequence[int]) -> np.ndarray:
        """int32 [n], elementwise the sum over the processes; waits for all of them."""
        if jax.process_count() == 1:
            return np.asarray(numbers, np.int32)
        return np.asarray(self._sum(self._place(numbers)))

    def _place(self, numbers: Sequence[int]) -> jax.Array:
        rows = np.zeros((self._local_devices, len(numbers)), np.int32)
        rows[0] = numbers
        return jax.make_array_from_process_local_data(self._rows, rows)
