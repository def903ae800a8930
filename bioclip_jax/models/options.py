"""Computation options of the towers, independent of their parameters."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array

__all__ = [
    "Constrain",
    "Implementation",
    "LogicalAxes",
    "Matmul",
    "Options",
    "Remat",
    "Shard",
    "gathered",
    "on_nvidia",
    "precision",
    "unsharded",
]

Remat = Literal["none", "full", "attention", "dots", "dots_attention"]
Implementation = Literal["auto", "xla", "cudnn", "cudnn_merged"]
Matmul = Literal["default", "fp8"]
LogicalAxes = tuple[str | None, ...]
Shard = Callable[[Array, LogicalAxes], Array]
# A sharding constraint on a kernel while it is used.
Constrain = Callable[[Array], Array]


def precision(dtype: Any) -> jax.lax.Precision | None:
    """Return the precision of matrix products: HIGHEST for float32, which a GPU would round to TF32."""
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None


def on_nvidia(device: jax.Device | None = None) -> bool:
    """Return True if `device`, by default JAX's first, is NVIDIA's: the switch for cuDNN and GPU flags."""
    device = jax.devices()[0] if device is None else device
    # An AMD GPU is a "gpu" too, and the version of a GPU that is only compiled for is its name.
    version = device.client.platform_version.lower()
    return device.platform == "gpu" and ("cuda" in version or "nvidia" in version)


def unsharded(x: Array, logical_axes: LogicalAxes) -> Array:
    """Return x unchanged: the `shard` option on a single device."""
    return x


def gathered(logical_axes: LogicalAxes) -> LogicalAxes:
    """Return a parameter's logical axes during use: "embed", which FSDP splits between uses, is whole."""
    return tuple(None if axis == "embed" else axis for axis in logical_axes)


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings that may differ between two runs of the same parameters.

    dtype: of the towers' arithmetic; LayerNorm, softmax and the returned features are always float32.
    remat: the activations of a block that are saved for the backward pass; the others are recomputed. Saved
    values per token, in units of the width, for an MLP of 4 · width:

        none              all: 16, the norms' statistics and, without cuDNN, the tokens² attention weights
        dots_attention    10   matrix products and attention; recomputes norms and GELU
        dots               9   matrix products; recomputes attention too
        attention          5   attention's inputs and output; recomputes out_proj and c_fc too
        full               1   the block's input; recomputes all but c_proj

    unroll: number of blocks in one iteration of the scan over a tower; True unrolls all of them.
    attention: "cudnn" never stores the tokens² weights, "xla" runs everywhere, "auto" is cuDNN if it applies.
    "cudnn_merged", experimental, gives cuDNN the image tower's patches only, an even number, and merges the
    class token's part exactly; it calls private parts of JAX. Elsewhere (text, an odd number of patches, or
    heads split by a mesh) it is "cudnn".
    matmul: of the blocks' four matrices; "fp8" rounds the operands to 8 bits and is experimental.
    nvidia: True for a program that will run on NVIDIA GPUs, which may be absent while it compiles; None asks
    JAX for its first device. Results differ by rounding only, on any device.
    shard: `shard(x, logical_axes)` constrains an activation's sharding on a mesh; the axes are "batch",
    "heads", "mlp" and None.
    """

    dtype: Any = jnp.float32
    remat: Remat = "none"
    unroll: int | bool = 1
    attention: Implementation = "auto"
    matmul: Matmul = "default"
    nvidia: bool | None = None
    shard: Shard = unsharded

    @property
    def for_nvidia(self) -> bool:
        """True for a program that will run on NVIDIA GPUs."""
        return on_nvidia() if self.nvidia is None else self.nvidia

    @property
    def splits_qkv(self) -> bool:
        """True for three products: cuDNN takes q, k and v apart, and parts of one array would be copied."""
        return self.for_nvidia

    def padded(self, tokens: int) -> int:
        """Return the number of tokens that the image tower carries, an even one on NVIDIA GPUs.

        Over an odd number, cuDNN attention cannot be differentiated by JAX; padding q, k and v in every block
        costs more than an additional token. With "cudnn_merged" the class token makes up for the difference.
        """
        return tokens + tokens % 2 if self.for_nvidia and self.attention != "cudnn_merged" else tokens

    def row_major(self, x: Array) -> Array:
        """Return x with its last axis contiguous, where XLA might choose another layout.

        In unrolled blocks XLA for GPUs puts the batch last and transposes activations before every product.
        """
        return with_layout_constraint(x, Layout(tuple(range(x.ndim)))) if self.for_nvidia else x
