"""How the towers compute what their parameters say."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

__all__ = ["Implementation", "Matmul", "Options", "Place", "Remat", "Shard", "precision", "unsharded"]

Remat = Literal["none", "full", "attention", "dots", "dots_attention"]
Implementation = Literal["auto", "xla", "cudnn"]
Matmul = Literal["default", "fp8"]
Shard = Callable[[Array, tuple[str | None, ...]], Array]
# Where on a mesh a kernel lies while it is used.
Place = Callable[[Array], Array]


def precision(dtype: Any) -> jax.lax.Precision | None:
    """Of products of this dtype: a GPU would round float32 factors to TF32, ten bits of mantissa, unless told."""
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None


def unsharded(x: Array, logical_axes: tuple[str | None, ...]) -> Array:
    """x as it is: the `shard` of one device."""
    return x


@dataclasses.dataclass(frozen=True)
class Options:
    """What may change between two runs of the same parameters.

    dtype: of the towers' arithmetic; LayerNorm, softmax and the features returned are float32 always.
    remat: what a block keeps for the backward pass, which computes the rest again; in units of width, for one
    token and an MLP of 4 · width:

        none              everything: 16 and, unless cuDNN does attention, its tokens² weights
        dots_attention    10   the matrix products and attention; again: norms and GELU
        dots               9   the matrix products; again: attention too
        attention          5   what attention takes and gives; again: out_proj and c_fc too
        full               1   the block's input; again: all but c_proj

    unroll: blocks laid out side by side in one iteration of the scan over a tower; True for all of them.
    attention: "cudnn" never stores the tokens² weights, "xla" runs everywhere, "auto" is cuDNN where it fits.
    matmul: of the blocks' four matrices; "fp8" rounds its operands to 8 bits, an experiment (`fp8.matmul`).
    shard: `shard(x, logical_axes)` places an activation on a mesh; the axes are "batch", "heads", "mlp" and
    None.
    """

    dtype: Any = jnp.float32
    remat: Remat = "none"
    unroll: int | bool = 1
    attention: Implementation = "auto"
    matmul: Matmul = "default"
    shard: Shard = unsharded
