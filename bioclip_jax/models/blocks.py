"""Transformer blocks of both towers: their scanned stack, and rematerialization."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from .attention import Attention, Mask
from .layers import Initializer, LayerNorm, LayerScale, Linear, gelu, uniform_init
from .options import Options, Remat

__all__ = ["Block", "BlockInit", "apply_blocks", "stack_blocks"]

# Activations saved by each policy, besides a block's input. In units of the width: qkv has 3, mixed
# (attention's output) and out_proj have 1 each; c_fc (before the GELU) has the MLP's width.
_SAVED = {
    "full": (),
    "attention": ("qkv", "mixed"),
    "dots": ("qkv", "out_proj", "c_fc"),
    "dots_attention": ("qkv", "mixed", "out_proj", "c_fc"),
}


@dataclasses.dataclass(frozen=True)
class BlockInit:
    """Initializers of a block's four matrices, which differ between the towers."""

    in_proj: Initializer
    out_proj: Initializer
    c_fc: Initializer
    c_proj: Initializer


class MLP(nnx.Module):
    """c_proj(gelu(c_fc(x))) with the exact (erf) GELU, or x·sigmoid(1.702x) if `quick_gelu`."""

    def __init__(
        self, width: int, hidden: int, init: BlockInit, *, quick_gelu: bool, options: Options, rngs: nnx.Rngs
    ):
        shared = dict(options=options, rngs=rngs)
        fc_bias, proj_bias = uniform_init(1 / math.sqrt(width)), uniform_init(1 / math.sqrt(hidden))
        self.c_fc = Linear(width, hidden, init.c_fc, fc_bias, axes=("embed", "mlp"), **shared)
        self.c_proj = Linear(hidden, width, init.c_proj, proj_bias, axes=("mlp", "embed"), **shared)
        self.quick_gelu = quick_gelu
        self.shard = options.shard

    def __call__(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "batch tokens width"]:
        """Apply the MLP to each token."""
        x = checkpoint_name(self.shard(self.c_fc(x), ("batch", None, "mlp")), "c_fc")
        x = x * jax.nn.sigmoid(1.702 * x) if self.quick_gelu else gelu(x)
        return self.c_proj(x)


class Block(nnx.Module):
    """x + attn(ln_1(x)), then x + mlp(ln_2(x)); each branch has a LayerScale if `ls_init_value` is given."""

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_width: int,
        init: BlockInit,
        *,
        causal: bool,
        quick_gelu: bool,
        ls_init_value: float | None,
        options: Options,
        rngs: nnx.Rngs,
    ):
        scaled, dtype = ls_init_value is not None, options.dtype
        self.ln_1 = LayerNorm(width, dtype=dtype)
        self.attn = Attention(
            width, heads, init.in_proj, init.out_proj, causal=causal, options=options, rngs=rngs
        )
        self.ls_1 = LayerScale(width, ls_init_value, dtype=dtype) if scaled else None
        self.ln_2 = LayerNorm(width, dtype=dtype)
        self.mlp = MLP(width, mlp_width, init, quick_gelu=quick_gelu, options=options, rngs=rngs)
        self.ls_2 = LayerScale(width, ls_init_value, dtype=dtype) if scaled else None
        self.row_major = options.row_major
        self.shard = options.shard

    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        mask: Mask | None = None,
        length: int | None = None,
    ) -> Float[Array, "batch tokens width"]:
        """Apply the block; `mask` and `length` as in Attention."""
        x = self.row_major(x)
        branch = checkpoint_name(self.attn(self.ln_1(x), mask, length), "out_proj")
        x = self.shard(x + (branch if self.ls_1 is None else self.ls_1(branch)), ("batch", None, None))
        branch = self.mlp(self.ln_2(x))
        return self.shard(x + (branch if self.ls_2 is None else self.ls_2(branch)), ("batch", None, None))


def stack_blocks(make: Callable[[nnx.Rngs], Block], layers: int, rngs: nnx.Rngs) -> Block:
    """Return a Block whose parameters have a leading axis of `layers`; layer i is slice i."""

    @nnx.split_rngs(splits=layers)
    @nnx.vmap(in_axes=0, out_axes=0)
    def build(rngs: nnx.Rngs) -> Block:
        return make(rngs)

    return build(rngs)


def apply_blocks(
    blocks: Block,
    x: Float[Array, "batch tokens width"],
    options: Options,
    mask: Mask | None = None,
    length: int | None = None,
) -> Float[Array, "batch tokens width"]:
    """Apply stacked blocks in a scan, whose compile time does not grow with depth.

    mask, length: as in Attention.
    """
    graphdef, state = nnx.split(blocks)
    layers = jax.tree.leaves(state)[0].shape[0]
    unroll = layers if options.unroll is True else max(1, min(int(options.unroll), layers))

    def body(x: Array, layer: nnx.State) -> tuple[Array, None]:
        return nnx.merge(graphdef, layer)(x, mask, length), None

    body = _rematerialize(body, options.remat, in_loop=unroll < layers)
    return jax.lax.scan(body, x, state, unroll=unroll)[0]


def _rematerialize(block: Callable[..., Any], remat: Remat, *, in_loop: bool) -> Callable[..., Any]:
    """`block` under a remat policy; in_loop: forward and backward pass run in separate loops."""
    if remat == "none":
        return block
    saved = _SAVED[remat]
    policy = jax.checkpoint_policies.save_only_these_names(*saved)
    if "mixed" in saved:
        policy = jax.checkpoint_policies.save_from_both_policies(policy, _is_cudnn_attention)
    # Outside loops, XLA's common subexpression elimination would undo the recomputation.
    return jax.checkpoint(block, prevent_cse=not in_loop, policy=policy)


def _is_cudnn_attention(primitive: Any, *_: Any, **__: Any) -> bool:
    # Its output and softmax statistics cannot be named from outside; unless both are saved, it runs again.
    return primitive.name.startswith("dot_product_attention_fwd")
