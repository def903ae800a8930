"""What changes from step to step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """step: how many updates were made or skipped. params: the CLIP's nested dict, float32, or
    bfloat16 with precision pure_bf16.

    skipped: how many updates were left out because loss or gradient was not finite, "total" and "in_row"
    until now.
    """

    step: Int[Array, ""]
    params: PyTree
    opt_state: PyTree
    skipped: dict[str, Int[Array, ""]]

    def to_trees(self) -> dict[str, PyTree]:
        """What a checkpoint holds, by name; the step is its name."""
        return {"params": self.params, "opt_state": self.opt_state, "skipped": self.skipped}


def init_state(params: PyTree, optimizer: optax.GradientTransformation) -> TrainState:
    zero = jnp.zeros((), jnp.int32)
    return TrainState(zero, params, optimizer.init(params), {"total": zero, "in_row": zero})
