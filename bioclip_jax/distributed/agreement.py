"""Small numbers on which all processes of a run agree."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bioclip_jax.distributed.mesh import replicated


class Agreement:
    """The largest of what the processes of a mesh say, so that all of them do the same at the same step.

    Every process must call `propose` the same number of times, in the same order among its other computations.
    With one process nothing is computed.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._rows = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._local_devices = len(mesh.local_devices)
        self._largest = jax.jit(lambda rows: jnp.max(rows, axis=0), out_shardings=replicated(mesh))

    def propose(self, numbers: Sequence[int]) -> jax.Array | np.ndarray:
        """int32 [n], elementwise the largest that any process proposed; np.asarray of it waits for the others."""
        mine = np.asarray(numbers, np.int32)
        if jax.process_count() == 1:
            return mine
        rows = np.broadcast_to(mine, (self._local_devices, len(mine)))
        return self._largest(jax.make_array_from_process_local_data(self._rows, rows))
