"""What the blocks of both towers are made of: norms, matrices and GELU."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from bioclip_jax.models import fp8

from .options import Options, Place, precision

__all__ = ["Initializer", "LayerNorm", "LayerScale", "Linear", "gelu", "matmul", "uniform_init"]

Initializer = Callable[..., Array]


def uniform_init(bound: float) -> Initializer:
    """U(-bound, bound); PyTorch's default for a linear layer has bound 1/sqrt(fan_in)."""

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class LayerNorm(nnx.Module):
    """y = (x - mean) / sqrt(var + 1e-5) · scale + bias, in float32 whatever comes in."""

    def __init__(self, width: int, *, dtype: Any):
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        return _normalized(x, self.scale[...], self.bias[...]).astype(self.dtype)


# Cheap to do again: x is kept for the backward pass, and not the three float32 arrays of its size in between.
@functools.partial(jax.checkpoint, prevent_cse=False)
def _normalized(x: Array, scale: Array, bias: Array) -> Float[Array, "*batch width"]:
    x = x.astype(jnp.float32)
    centered = x - x.mean(-1, keepdims=True)
    # The two-pass variance: E[x²] - E[x]² loses the digits that parity with open_clip needs.
    variance = jnp.square(centered).mean(-1, keepdims=True)
    return centered * jax.lax.rsqrt(variance + 1e-5) * scale + bias


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def matmul(
    x: Float[Array, "rows fan_in"], kernel: Float[Array, "fan_in *fan_out"], place: Place
) -> Float[Array, "rows *fan_out"]:
    """x · place(kernel) in the dtype of x; the gradient of the kernel is accumulated and given back in the kernel's.

    So a float32 kernel's gradient is never rounded to bfloat16. `place` says where on a mesh the cast kernel
    lies while it is used; the backward pass casts and places it anew instead of keeping that copy.
    """
    return jnp.tensordot(x, place(kernel.astype(x.dtype)), axes=1, precision=precision(x.dtype))


def _matmul_forward(x: Array, kernel: Array, place: Place) -> tuple[Array, tuple[Array, Array]]:
    return matmul(x, kernel, place), (x, kernel)


def _matmul_backward(place: Place, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = saved
    outputs = tuple(range(1, gradient.ndim))
    exact = precision(x.dtype)
    to_x = jax.lax.dot_general(
        gradient, place(kernel.astype(x.dtype)), ((outputs, outputs), ((), ())), precision=exact
    )
    # In the kernel's own order of axes: what autodiff makes of a kernel with three axes is transposed once
    # more.
    to_kernel = functools.partial(
        jax.lax.dot_general,
        dimension_numbers=(((0,), (0,)), ((), ())),
        precision=exact,
        preferred_element_type=kernel.dtype,
    )
    # XLA's CPU backend multiplies in float32 anyway, and refuses bfloat16 operands here.
    wide = lambda x, gradient: to_kernel(x.astype(kernel.dtype), gradient.astype(kernel.dtype))  # noqa: E731
    return to_x, jax.lax.platform_dependent(x, gradient, cpu=wide, default=to_kernel)


matmul.defvjp(_matmul_forward, _matmul_backward)

_MATMULS = {"default": matmul, "fp8": fp8.matmul}


class Linear(nnx.Module):
    """y = x · kernel + bias, [*batch, in] to [*batch, *out]; kernel is [in, *out] in float32, cast where used.

    `fan_out` is one size, or several that y's last axis is made of: axes that a mesh splits one by one.
    `axes`: the logical axes of the kernel while it is used, for the options' `shard`.
    """

    def __init__(
        self,
        fan_in: int,
        fan_out: int | tuple[int, ...],
        kernel_init: Initializer,
        bias_init: Initializer | None,
        *,
        axes: tuple[str | None, ...],
        options: Options,
        rngs: nnx.Rngs,
    ):
        out = fan_out if isinstance(fan_out, tuple) else (fan_out,)
        # Drawn as the matrix that it is: an initialiser takes its spread from the shape.
        self.kernel = nnx.Param(kernel_init(rngs.params(), (fan_in, math.prod(out))).reshape(fan_in, *out))
        self.bias = None if bias_init is None else nnx.Param(bias_init(rngs.params(), out))
        self.axes = axes
        self.options = options

    def __call__(self, x: Float[Array, "*batch fan_in"]) -> Float[Array, "..."]:
        kernel, dtype = self.kernel[...], self.options.dtype
        # Rows flattened by hand: XLA's CPU matrix products take 1.6 times as long to differentiate in 3-D.
        # The output's axes stay apart, because a mesh splits the last one and a flat axis could not say so.
        rows = x.astype(dtype).reshape(-1, kernel.shape[0])
        y = _MATMULS[self.options.matmul](rows, kernel, lambda used: self.options.shard(used, self.axes))
        if self.bias is not None:
            y = y + self.bias[...].astype(dtype)
        return y.reshape(*x.shape[:-1], *kernel.shape[1:])


class LayerScale(nnx.Module):
    """x · scale, one factor a channel (https://arxiv.org/abs/2103.17239)."""

    def __init__(self, width: int, init_value: float, *, dtype: Any):
        self.scale = nnx.Param(jnp.full(width, init_value))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        return x * self.scale[...].astype(self.dtype)


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
