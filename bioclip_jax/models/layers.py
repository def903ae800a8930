"""The transformer block of both towers, and the scanned stack of blocks."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

__all__ = ["Block", "BlockInit", "LayerNorm", "Linear", "Remat", "apply_blocks", "gelu", "stack_blocks", "uniform_init"]

Initializer = Callable[..., Array]
Remat = Literal["none", "full", "dots"]


def uniform_init(bound: float) -> Initializer:
    """U(-bound, bound); PyTorch's default for a linear layer has bound 1/sqrt(fan_in)."""

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


@dataclasses.dataclass(frozen=True)
class BlockInit:
    """Initialisers of a block's four matrices; the towers differ in them."""

    in_proj: Initializer
    out_proj: Initializer
    c_fc: Initializer
    c_proj: Initializer


class LayerNorm(nnx.Module):
    """y = (x - mean) / sqrt(var + 1e-5) · scale + bias, in float32 whatever comes in."""

    def __init__(self, width: int, *, dtype: Any):
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        x = x.astype(jnp.float32)
        centered = x - x.mean(-1, keepdims=True)
        # The two-pass variance: E[x²] - E[x]² loses the digits that parity with open_clip needs.
        variance = jnp.square(centered).mean(-1, keepdims=True)
        y = centered * jax.lax.rsqrt(variance + 1e-5) * self.scale[...] + self.bias[...]
        return y.astype(self.dtype)


class Linear(nnx.Module):
    """y = x · kernel + bias over the last axis; kernel is [in, out] in float32, cast to `dtype` where used."""

    def __init__(
        self, fan_in: int, fan_out: int, kernel_init: Initializer, bias_init: Initializer | None, *, dtype: Any, rngs: nnx.Rngs
    ):
        self.kernel = nnx.Param(kernel_init(rngs.params(), (fan_in, fan_out)))
        self.bias = None if bias_init is None else nnx.Param(bias_init(rngs.params(), (fan_out,)))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "*batch fan_in"]) -> Float[Array, "*batch fan_out"]:
        kernel = self.kernel[...].astype(self.dtype)
        # Rows flattened by hand: XLA's CPU matrix products take 1.6 times as long to differentiate in 3-D.
        y = x.reshape(-1, kernel.shape[0]) @ kernel
        if self.bias is not None:
            y = y + self.bias[...].astype(self.dtype)
        return y.reshape(*x.shape[:-1], kernel.shape[1])


class LayerScale(nnx.Module):
    """x · scale, one factor a channel (https://arxiv.org/abs/2103.17239)."""

    def __init__(self, width: int, init_value: float, *, dtype: Any):
        self.scale = nnx.Param(jnp.full(width, init_value))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        return x * self.scale[...].astype(self.dtype)


class Attention(nnx.Module):
    """Multi-head self-attention, softmax(q·kᵀ/√head_width)·v with the softmax in float32."""

    def __init__(self, width: int, heads: int, init: BlockInit, *, causal: bool, dtype: Any, rngs: nnx.Rngs):
        zeros = nnx.initializers.zeros_init()
        self.in_proj = Linear(width, 3 * width, init.in_proj, zeros, dtype=dtype, rngs=rngs)
        self.out_proj = Linear(width, width, init.out_proj, zeros, dtype=dtype, rngs=rngs)
        self.heads = heads
        self.causal = causal

    def __call__(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "batch tokens width"]:
        batch, tokens, width = x.shape
        qkv = self.in_proj(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        if _flash_attention_exists(query):
            mixed = jax.nn.dot_product_attention(query, key, value, is_causal=self.causal, implementation="cudnn")
        else:
            mixed = _attend(query, key, value, causal=self.causal)
        return self.out_proj(mixed.reshape(batch, tokens, width))


def _flash_attention_exists(query: Float[Array, "batch tokens heads head_width"]) -> bool:
    # cuDNN has it for half precision and these head widths; it never stores the tokens² weights.
    half = query.dtype in (jnp.bfloat16, jnp.float16)
    return jax.default_backend() == "gpu" and half and query.shape[-1] % 8 == 0 and query.shape[-1] <= 128


def _attend(
    query: Float[Array, "batch tokens heads head_width"],
    key: Float[Array, "batch tokens heads head_width"],
    value: Float[Array, "batch tokens heads head_width"],
    *,
    causal: bool,
) -> Float[Array, "batch tokens heads head_width"]:
    # Heads before tokens: on a CPU this takes two thirds of jax.nn.dot_product_attention's time, both ways.
    query, key, value = (x.transpose(0, 2, 1, 3) for x in (query, key, value))
    query = query * query.shape[-1] ** -0.5
    logits = jnp.einsum("bhtd,bhsd->bhts", query, key, preferred_element_type=jnp.float32)
    if causal:
        tokens = logits.shape[-1]
        logits = jnp.where(jnp.tri(tokens, dtype=bool), logits, -jnp.inf)
    weights = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
    return jnp.einsum("bhts,bhsd->bhtd", weights, value).transpose(0, 2, 1, 3)


@jax.custom_jvp
def gelu(x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
    """x·Φ(x) with Φ = (1 + erf(x/√2)) / 2, in float32; the tanh approximation is off by up to 5e-4."""
    wide = x.astype(jnp.float32)
    return (wide * _normal_cdf(wide)).astype(x.dtype)


@gelu.defjvp
def _gelu_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # The slope Φ(x) + x·φ(x) in one array is all the backward pass then keeps of the activation.
    (x,), (tangent,) = primals, tangents
    wide = x.astype(jnp.float32)
    cdf = _normal_cdf(wide)
    slope = cdf + wide * jnp.exp(-0.5 * wide * wide) * (2 * math.pi) ** -0.5
    return (wide * cdf).astype(x.dtype), slope.astype(x.dtype) * tangent


def _normal_cdf(x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
    return 0.5 * (1 + jax.lax.erf(x * 0.5**0.5))


class MLP(nnx.Module):
    """c_proj(gelu(c_fc(x))) with the exact (erf) GELU, or x·sigmoid(1.702x) where `quick_gelu`."""

    def __init__(self, width: int, hidden: int, init: BlockInit, *, quick_gelu: bool, dtype: Any, rngs: nnx.Rngs):
        fc_bias = uniform_init(1 / math.sqrt(width))
        proj_bias = uniform_init(1 / math.sqrt(hidden))
        self.c_fc = Linear(width, hidden, init.c_fc, fc_bias, dtype=dtype, rngs=rngs)
        self.c_proj = Linear(hidden, width, init.c_proj, proj_bias, dtype=dtype, rngs=rngs)
        self.quick_gelu = quick_gelu

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        x = self.c_fc(x)
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
        dtype: Any,
        rngs: nnx.Rngs,
    ):
        scaled = ls_init_value is not None
        self.ln_1 = LayerNorm(width, dtype=dtype)
        self.attn = Attention(width, heads, init, causal=causal, dtype=dtype, rngs=rngs)
        self.ls_1 = LayerScale(width, ls_init_value, dtype=dtype) if scaled else None
        self.ln_2 = LayerNorm(width, dtype=dtype)
        self.mlp = MLP(width, mlp_width, init, quick_gelu=quick_gelu, dtype=dtype, rngs=rngs)
        self.ls_2 = LayerScale(width, ls_init_value, dtype=dtype) if scaled else None

    def __call__(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "batch tokens width"]:
        branch = self.attn(self.ln_1(x))
        x = x + (branch if self.ls_1 is None else self.ls_1(branch))
        branch = self.mlp(self.ln_2(x))
        return x + (branch if self.ls_2 is None else self.ls_2(branch))


def stack_blocks(make: Callable[[nnx.Rngs], Block], layers: int, rngs: nnx.Rngs) -> Block:
    """One Block whose every parameter has a leading axis of `layers`; layer i is slice i."""

    @nnx.split_rngs(splits=layers)
    @nnx.vmap(in_axes=0, out_axes=0)
    def build(rngs: nnx.Rngs) -> Block:
        return make(rngs)

    return build(rngs)


def apply_blocks(
    blocks: Block, x: Float[Array, "batch tokens width"], *, remat: Remat, unroll: int | bool
) -> Float[Array, "batch tokens width"]:
    """Runs stacked blocks one after another by scan, so that compile time does not grow with depth.

    remat: "none" keeps every activation for the backward pass, "full" only each block's input, "dots" also
    the outputs of the matrix products with a kernel (attention weights and element-wise work are done again).
    unroll: layers laid out side by side in one scan iteration; True for all of them.
    """
    graphdef, state = nnx.split(blocks)

    def body(x: Array, layer: nnx.State) -> tuple[Array, None]:
        return nnx.merge(graphdef, layer)(x), None

    if remat == "full":
        body = jax.checkpoint(body, prevent_cse=False)
    elif remat == "dots":
        body = jax.checkpoint(body, prevent_cse=False, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable)
    return jax.lax.scan(body, x, state, unroll=unroll)[0]
