"""The transformer block of both towers, and the scanned stack of blocks."""

import dataclasses
import math
from collections.abc import Callable

import jax
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from .attention import Attention
from .layers import Initializer, LayerNorm, LayerScale, Linear, gelu, uniform_init
from .options import Options
from .remat import rematerialize

__all__ = ["Block", "BlockInit", "apply_blocks", "stack_blocks"]


@dataclasses.dataclass(frozen=True)
class BlockInit:
    """Initialisers of a block's four matrices; the towers differ in them."""

    in_proj: Initializer
    out_proj: Initializer
    c_fc: Initializer
    c_proj: Initializer


class MLP(nnx.Module):
    """c_proj(gelu(c_fc(x))) with the exact (erf) GELU, or x·sigmoid(1.702x) where `quick_gelu`."""

    def __init__(
        self, width: int, hidden: int, init: BlockInit, *, quick_gelu: bool, options: Options, rngs: nnx.Rngs
    ):
        shared = dict(options=options, rngs=rngs)
        fc_bias, proj_bias = uniform_init(1 / math.sqrt(width)), uniform_init(1 / math.sqrt(hidden))
        self.c_fc = Linear(width, hidden, init.c_fc, fc_bias, axes=(None, "mlp"), **shared)
        self.c_proj = Linear(hidden, width, init.c_proj, proj_bias, axes=("mlp", None), **shared)
        self.quick_gelu = quick_gelu
        self.shard = options.shard

    def __call__(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "batch tokens width"]:
        x = checkpoint_name(self.shard(self.c_fc(x), ("batch", None, "mlp")), "c_fc")
        x = x * jax.nn.sigmoid(1.702 * x) if self.quick_gelu else gelu(x)
        return self.c_proj(x)


class Block(nnx.Module):
    """x + attn(ln_1(x)), then x + mlp(ln_2(x)); each branch scaled where `ls_init_value` is given."""

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
        self.shard = options.shard

    def __call__(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "batch tokens width"]:
        branch = checkpoint_name(self.attn(self.ln_1(x)), "out_proj")
        x = self.shard(x + (branch if self.ls_1 is None else self.ls_1(branch)), ("batch", None, None))
        branch = self.mlp(self.ln_2(x))
        return self.shard(x + (branch if self.ls_2 is None else self.ls_2(branch)), ("batch", None, None))


def stack_blocks(make: Callable[[nnx.Rngs], Block], layers: int, rngs: nnx.Rngs) -> Block:
    """One Block whose every parameter has a leading axis of `layers`; layer i is slice i."""

    @nnx.split_rngs(splits=layers)
    @nnx.vmap(in_axes=0, out_axes=0)
    def build(rngs: nnx.Rngs) -> Block:
        return make(rngs)

    return build(rngs)


def apply_blocks(
    blocks: Block, x: Float[Array, "batch tokens width"], options: Options
) -> Float[Array, "batch tokens width"]:
    """Runs stacked blocks one after another by scan, so that compile time does not grow with depth."""
    graphdef, state = nnx.split(blocks)
    count = jax.tree.leaves(state)[0].shape[0]
    unroll = count if options.unroll is True else max(1, min(int(options.unroll), count))

    def body(x: Array, layer: nnx.State) -> tuple[Array, None]:
        return nnx.merge(graphdef, layer)(x), None

    body = rematerialize(body, options.remat, in_loop=unroll < count)
    return jax.lax.scan(body, x, state, unroll=unroll)[0]
