"""Layers of both towers: norms, linear layers and GELU."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from .matmul import fp8_matmul, matmul
from .options import LogicalAxes, Options, gathered

__all__ = ["Initializer", "LayerNorm", "LayerScale", "Linear", "gelu", "uniform_init"]

Initializer = Callable[..., Array]


def uniform_init(bound: float) -> Initializer:
    """Return an initializer of U(-bound, bound); PyTorch's linear layers have bound 1/sqrt(fan_in)."""

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class LayerNorm(nnx.Module):
    """y = (x - mean) / sqrt(var + 1e-5) · scale + bias, computed in float32."""

    def __init__(self, width: int, *, dtype: Any):
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        """Normalize the last axis."""
        return _layer_norm(x, self.scale[...], self.bias[...], self.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _layer_norm(x: Array, scale: Array, bias: Array, dtype: Any) -> Float[Array, "*batch width"]:
    return _layer_norm_forward(x, scale, bias, dtype)[0]


def _layer_norm_forward(x: Array, scale: Array, bias: Array, dtype: Any) -> tuple[Array, tuple[Array, ...]]:
    wide = x.astype(jnp.float32)
    mean = wide.mean(-1, keepdims=True)
    # Two passes: E[x²] - E[x]² loses the digits that parity with open_clip needs.
    variance = jnp.square(wide - mean).mean(-1, keepdims=True)
    rstd = jax.lax.rsqrt(variance + 1e-5)
    return ((wide - mean) * rstd * scale + bias).astype(dtype), (x, mean, rstd, scale)


def _layer_norm_backward(dtype: Any, saved: tuple[Array, ...], gradient: Array) -> tuple[Array, ...]:
    x, mean, rstd, scale = saved
    # Without the barrier, XLA writes the normalized x to memory in float32 for both passes to share.
    mean, rstd = jax.lax.optimization_barrier((mean, rstd))
    gradient = gradient.astype(jnp.float32)
    normalized = (x.astype(jnp.float32) - mean) * rstd
    d_normalized = gradient * scale
    slope = (d_normalized * normalized).mean(-1, keepdims=True)
    d_x = rstd * (d_normalized - d_normalized.mean(-1, keepdims=True) - normalized * slope)
    rows = tuple(range(x.ndim - 1))
    d_scale, d_bias = (gradient * normalized).sum(rows), gradient.sum(rows)
    return d_x.astype(x.dtype), d_scale.astype(scale.dtype), d_bias.astype(scale.dtype)


_layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


_MATMULS = {"default": matmul, "fp8": fp8_matmul}


class Linear(nnx.Module):
    """y = x · kernel + bias, [*batch, in] to [*batch, *out]; the float32 kernel [in, *out] is cast for use.

    fan_out: the size of y's last axis, or the sizes of several that a mesh splits separately.
    axes: logical axes of the kernel, its parameter metadata; the bias has those of the kernel during use.
    """

    def __init__(
        self,
        fan_in: int,
        fan_out: int | tuple[int, ...],
        kernel_init: Initializer,
        bias_init: Initializer | None,
        *,
        axes: LogicalAxes,
        options: Options,
        rngs: nnx.Rngs,
    ):
        out = fan_out if isinstance(fan_out, tuple) else (fan_out,)
        # Drawn as one matrix, because initializers derive the spread from the shape.
        kernel = kernel_init(rngs.params(), (fan_in, math.prod(out))).reshape(fan_in, *out)
        self.used_axes = gathered(axes)
        self.kernel = nnx.Param(kernel, axes=axes)
        self.bias = bias_init and nnx.Param(bias_init(rngs.params(), out), axes=self.used_axes[1:])
        self.options = options

    def __call__(self, x: Float[Array, "*batch fan_in"]) -> Float[Array, "..."]:
        """Apply the layer to the last axis."""
        bias = None if self.bias is None else self.bias[...]
        return self._apply(x, self.kernel[...], bias, self.used_axes)

    def parts(self, x: Float[Array, "*batch fan_in"]) -> list[Float[Array, "*batch fan_out"]]:
        """Apply a layer with a bias and two output axes, in one product for each entry of the first."""
        axes = (self.used_axes[0], *self.used_axes[2:])
        kernels, biases = jnp.unstack(self.kernel[...], axis=1), jnp.unstack(self.bias[...])
        inputs = _copies(x.astype(self.options.dtype), len(kernels))
        return [self._apply(*part, axes) for part in zip(inputs, kernels, biases, strict=True)]

    def _apply(self, x: Array, kernel: Array, bias: Array | None, axes: LogicalAxes) -> Array:
        dtype = self.options.dtype
        # Rows are flattened: XLA's CPU matrix products take 1.6 times as long to differentiate in 3-D.
        # The output's axes are not, because a mesh splits the last of them.
        rows = x.astype(dtype).reshape(-1, kernel.shape[0])
        product = _MATMULS[self.options.matmul]
        y = product(rows, kernel, lambda cast: self.options.shard(cast, axes))
        if bias is not None:
            y = y + bias.astype(dtype)
        return y.reshape(*x.shape[:-1], *kernel.shape[1:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _copies(x: Array, count: int) -> tuple[Array, ...]:
    return (x,) * count


def _sum_of_copies(count: int, _: None, gradients: tuple[Array, ...]) -> tuple[Array]:
    # The new term on the left: XLA adds within a GEMM if its product is the left operand, and not otherwise.
    return (functools.reduce(lambda total, gradient: gradient + total, gradients),)


_copies.defvjp(lambda x, count: ((x,) * count, None), _sum_of_copies)


class LayerScale(nnx.Module):
    """x · scale, one factor per channel (https://arxiv.org/abs/2103.17239)."""

    def __init__(self, width: int, init_value: float, *, dtype: Any):
        self.scale = nnx.Param(jnp.full(width, init_value))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        """Scale the last axis."""
        return x * self.scale[...].astype(self.dtype)


@jax.custom_jvp
def gelu(x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
    """x·Φ(x) with Φ = (1 + erf(x/√2)) / 2, in float32; the tanh approximation is off by up to 5e-4."""
    wide = x.astype(jnp.float32)
    return (wide * _normal_cdf(wide)).astype(x.dtype)


@gelu.defjvp
def _gelu_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # The backward pass then saves one array of the activation, the slope Φ(x) + x·φ(x).
    (x,), (tangent,) = primals, tangents
    wide = x.astype(jnp.float32)
    cdf = _normal_cdf(wide)
    slope = cdf + wide * jnp.exp(-0.5 * wide * wide) * (2 * math.pi) ** -0.5
    return (wide * cdf).astype(x.dtype), slope.astype(x.dtype) * tangent


def _normal_cdf(x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
    return 0.5 * (1 + jax.lax.erf(x * 0.5**0.5))
