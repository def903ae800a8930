"""Matrix products of 8-bit floating-point numbers, forward and backward."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .options import Place

__all__ = ["matmul"]

Quantized = tuple[Array, Float[Array, ""]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def matmul(
    x: Float[Array, "rows fan_in"], kernel: Float[Array, "fan_in *fan_out"], place: Place
) -> Float[Array, "rows *fan_out"]:
    """x · place(kernel) of operands rounded to fp8, accumulated in float32, in the dtype of x.

    Each array is scaled so that its largest entry is the format's: x and kernel to e4m3 (448), the gradient
    that comes back to e5m2 (57,344). `place` says where on a mesh the rounded kernel lies while it is used.
    Source: https://arxiv.org/abs/2209.05433, with scales of the current values.
    """
    return _forward(x, kernel, place)[0]


def _forward(x: Array, kernel: Array, place: Place) -> tuple[Array, tuple[Quantized, Array]]:
    rows, matrix = _quantize(x, jnp.float8_e4m3fn), _quantize(kernel, jnp.float8_e4m3fn)
    return _product(rows, _placed(matrix, place), ((1,), (0,))).astype(x.dtype), (rows, kernel)


def _backward(place: Place, saved: tuple[Quantized, Array], gradient: Array) -> tuple[Array, Array]:
    rows, kernel = saved
    matrix, incoming = _quantize(kernel, jnp.float8_e4m3fn), _quantize(gradient, jnp.float8_e5m2)
    outputs = tuple(range(1, gradient.ndim))
    to_x = _product(incoming, _placed(matrix, place), (outputs, outputs)).astype(gradient.dtype)
    return to_x, _product(rows, incoming, ((0,), (0,))).astype(kernel.dtype)


matmul.defvjp(_forward, _backward)


def _quantize(x: Float[Array, "..."], dtype: Any) -> Quantized:
    """x / scale in an fp8 format, and the scale."""
    scale = jnp.max(jnp.abs(x)).astype(jnp.float32) / float(jnp.finfo(dtype).max)
    scale = jnp.where(scale > 0, scale, 1.0)
    return (x.astype(jnp.float32) / scale).astype(dtype), scale


def _placed(matrix: Quantized, place: Place) -> Quantized:
    return place(matrix[0]), matrix[1]


def _product(left: Quantized, right: Quantized, contracted: tuple[tuple[int, ...], tuple[int, ...]]) -> Array:
    # The operands stay fp8 up to the product, the form that XLA is said to turn into an fp8 GEMM on Hopper.
    dimensions = (contracted, ((), ()))
    product = jax.lax.dot_general(left[0], right[0], dimensions, preferred_element_type=jnp.float32)
    return product * (left[1] * right[1])
