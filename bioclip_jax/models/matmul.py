"""Matrix products with explicit gradients: float32 kernels used in a lower precision, and fp8 operands."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .options import Constrain, precision

__all__ = ["fp8_matmul", "matmul"]

Quantized = tuple[Array, Float[Array, ""]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def matmul(
    x: Float[Array, "rows fan_in"], kernel: Float[Array, "fan_in ..."], constrain: Constrain
) -> Float[Array, "rows ..."]:
    """x · constrain(kernel) in the dtype of x; the kernel's gradient is accumulated in the kernel's dtype.

    A float32 kernel's gradient is thus never rounded to bfloat16. `constrain` shards the cast kernel; the
    backward pass casts and constrains it again instead of saving that copy.
    """
    return jnp.tensordot(x, constrain(kernel.astype(x.dtype)), axes=1, precision=precision(x.dtype))


def _matmul_forward(x: Array, kernel: Array, constrain: Constrain) -> tuple[Array, tuple[Array, Array]]:
    return matmul(x, kernel, constrain), (x, kernel)


def _matmul_backward(
    constrain: Constrain, saved: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    outputs = tuple(range(1, gradient.ndim))
    exact = precision(x.dtype)
    to_x = jax.lax.dot_general(
        gradient, constrain(kernel.astype(x.dtype)), ((outputs, outputs), ((), ())), precision=exact
    )
    # In the kernel's own order of axes: autodiff of a kernel with three axes adds a transpose.
    to_kernel = functools.partial(
        jax.lax.dot_general,
        dimension_numbers=(((0,), (0,)), ((), ())),
        precision=exact,
        preferred_element_type=kernel.dtype,
    )

    # XLA's CPU backend multiplies in float32 anyway, and rejects bfloat16 operands in this product.
    def to_kernel_on_cpu(x: Array, gradient: Array) -> Array:
        return to_kernel(x.astype(kernel.dtype), gradient.astype(kernel.dtype))

    return to_x, jax.lax.platform_dependent(x, gradient, cpu=to_kernel_on_cpu, default=to_kernel)


matmul.defvjp(_matmul_forward, _matmul_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def fp8_matmul(
    x: Float[Array, "rows fan_in"], kernel: Float[Array, "fan_in ..."], constrain: Constrain
) -> Float[Array, "rows ..."]:
    """x · constrain(kernel) of operands rounded to fp8, accumulated in float32, in the dtype of x.

    Each array is scaled by the power of two that brings its largest entry closest to the largest of its
    format: e4m3 (448) for x and kernel, e5m2 (57,344) for the incoming gradient. In a shard_map that entry is
    the device's own. `constrain` shards the rounded kernel.
    Source: https://arxiv.org/abs/2209.05433, with scales of the current values.
    """
    return _fp8_forward(x, kernel, constrain)[0]


def _fp8_forward(x: Array, kernel: Array, constrain: Constrain) -> tuple[Array, tuple[Quantized, Array]]:
    rows, (matrix, scale) = _quantize(x, jnp.float8_e4m3fn), _quantize(kernel, jnp.float8_e4m3fn)
    # XLA would widen the kernel outside the loop over micro-batches, and merge products of the same rows; the
    # results are no fp8 GEMMs. The barrier keeps all but the rows within the loop and this product.
    matrix, scale, row_scale = jax.lax.optimization_barrier((constrain(matrix), scale, rows[1]))
    return _fp8_product((rows[0], row_scale), (matrix, scale), ((1,), (0,)), x.dtype), (rows, kernel)


def _fp8_backward(
    constrain: Constrain, saved: tuple[Quantized, Array], gradient: Array
) -> tuple[Array, Array]:
    rows, kernel = saved
    (matrix, scale), incoming = _quantize(kernel, jnp.float8_e4m3fn), _quantize(gradient, jnp.float8_e5m2)
    outputs = tuple(range(1, gradient.ndim))
    to_x = _fp8_product(incoming, (constrain(matrix), scale), (outputs, outputs), gradient.dtype)
    # Not merged with other products of the same rows, as forward.
    row_scale, incoming_scale = jax.lax.optimization_barrier((rows[1], incoming[1]))
    rows, incoming = (rows[0], row_scale), (incoming[0], incoming_scale)
    return to_x, _fp8_product(rows, incoming, ((0,), (0,)), kernel.dtype)


fp8_matmul.defvjp(_fp8_forward, _fp8_backward)


def _quantize(x: Float[Array, "..."], dtype: Any) -> Quantized:
    """x / scale in an fp8 format, and the scale, a power of two."""
    largest = jnp.max(jnp.abs(x)).astype(jnp.float32) / float(jnp.finfo(dtype).max)
    # Not below 2⁻¹²⁰, so that 1 / scale is finite.
    largest = jnp.maximum(largest, 2.0**-120)
    # Rounded up to a power of two, by which scaling rounds nothing, not even in bfloat16.
    scale = jax.lax.reduce_precision(largest, exponent_bits=8, mantissa_bits=0)
    scale = jnp.where(scale < largest, 2 * scale, scale)
    return (x.astype(jnp.float32) / scale).astype(dtype), scale


def _fp8_product(
    left: Quantized, right: Quantized, contracted: tuple[tuple[int, ...], tuple[int, ...]], dtype: Any
) -> Array:
    # The form that XLA turns into an fp8 GEMM on Hopper, scales and an added bias or residual included.
    exact = precision(dtype)
    operands = [matrix.astype(dtype) * scale.astype(dtype) for matrix, scale in (left, right)]
    return jax.lax.dot_general(
        *operands, (contracted, ((), ())), precision=exact, preferred_element_type=dtype
    )
