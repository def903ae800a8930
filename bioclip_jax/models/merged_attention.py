"""Attention of a class token and patches: cuDNN's over the patches alone, merged with the class token's."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bioclip_jax.errors import UserError

__all__ = ["CUDNN", "FlashAttention", "merged_attention"]

Heads = Float[Array, "batch tokens heads head_width"]
Projections = tuple[Heads, Heads, Heads]  # query, key and value


class FlashAttention(NamedTuple):
    """Attention without a mask, and its gradient, neither of which stores the weights.

    forward: (query, key, value) to the output and the logits' float32 logsumexp [batch, heads, queries].
    backward: (query, key, value, logsumexp, output, gradient of the output) to the gradients of the first
    three; the weights are exp(logits - logsumexp).
    """

    forward: Callable[..., tuple[Heads, Float[Array, "batch heads tokens"]]]
    backward: Callable[..., Projections]


def _cudnn_forward(query: Heads, key: Heads, value: Heads) -> tuple[Array, Array]:
    # Private, because jax.nn.dot_product_attention (jax 0.10.2) rounds the logsumexp to bfloat16.
    try:
        from jax._src.cudnn.fused_attention_stablehlo import dot_product_attention

        return dot_product_attention(query, key, value, scale=query.shape[-1] ** -0.5, return_residual=True)
    except (ImportError, TypeError) as error:
        raise _unsupported(error) from error


def _cudnn_backward(
    query: Heads, key: Heads, value: Heads, logsumexp: Array, output: Array, gradient: Array
) -> Projections:
    # Private, because JAX's public attention calls it with the forward pass's own logsumexp and output only.
    try:
        from jax._src.cudnn import fused_attention_stablehlo as fused

        absent = (jnp.zeros(0, query.dtype),) * 7  # bias, lengths, offsets and pages
        saved = (query, key, value, *absent, logsumexp, output)
        # Seed and rate of dropout, no bias nor its gradient, mask, layout, window, cuDNN's version, residual.
        settings = (42, 0.0, (False, False), fused.MaskType.NO_MASK, fused.AttentionLayout.BTNH.value)
        rule = fused._dot_product_attention_bwd_rule
        return rule(query.shape[-1] ** -0.5, *settings, None, 0, False, saved, gradient)[:3]
    except (ImportError, AttributeError, TypeError) as error:
        raise _unsupported(error) from error


def _unsupported(error: Exception) -> UserError:
    return UserError(
        f'attention "cudnn_merged" calls parts of JAX that jax {jax.__version__} does not have ({error}); '
        'use "auto"'
    )


CUDNN = FlashAttention(_cudnn_forward, _cudnn_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def merged_attention(
    token: Projections, patches: Projections, flash: FlashAttention = CUDNN
) -> tuple[Heads, Heads]:
    """Attend from one token and from patches to both of them; return the two outputs, in that order.

    `flash` computes the patches' attention to each other. The token's part is plain XLA, element by element,
    whose reads and writes of the patches' arrays take time.
    Source: the merging of partial softmaxes in https://arxiv.org/abs/2205.14135.
    """
    return _forward(token, patches, flash)[0]


def _dot(x: Array, y: Array) -> Float[Array, "batch tokens heads"]:
    # Not einsum, which would transpose the patches for a batched matrix-vector product.
    return (x.astype(jnp.float32) * y).sum(-1)


def _forward(
    token: Projections, patches: Projections, flash: FlashAttention
) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
    query, key, value = patches
    token_query, token_key, token_value = (x.astype(jnp.float32) for x in token)
    scale = query.shape[-1] ** -0.5
    mixed, logsumexp = flash.forward(query, key, value)
    logsumexp = logsumexp.transpose(0, 2, 1)
    logits = _dot(query, token_key) * scale
    merged = jnp.logaddexp(logsumexp, logits)
    mixed = jnp.exp(logsumexp - merged)[..., None] * mixed + jnp.exp(logits - merged)[..., None] * token_value
    mixed = mixed.astype(query.dtype)

    logits = jnp.concatenate([_dot(token_query, token_key), _dot(token_query, key)], axis=1) * scale
    weights = jax.nn.softmax(logits, axis=1)[..., None]
    token_mixed = weights[:, :1] * token_value + (weights[:, 1:] * value).sum(1, keepdims=True)
    token_mixed = token_mixed.astype(query.dtype)
    return (token_mixed, mixed), (token, patches, token_mixed, mixed, merged, weights)


def _backward(
    flash: FlashAttention, saved: tuple[Array, ...], gradients: tuple[Array, Array]
) -> tuple[Projections, Projections]:
    token, (query, key, value), token_mixed, mixed, merged, weights = saved
    token_gradient, gradient = gradients
    token_query, token_key, token_value = (x.astype(jnp.float32) for x in token)
    scale = query.shape[-1] ** -0.5
    # With output and logsumexp of all keys, these are the exact gradients of the patches' weights.
    d_query, d_key, d_value = flash.backward(query, key, value, merged.transpose(0, 2, 1), mixed, gradient)

    # The patches' queries and the token's key.
    weight = jnp.exp(_dot(query, token_key) * scale - merged)
    slope = (weight * (_dot(gradient, token_value) - _dot(gradient, mixed)) * scale)[..., None]
    d_query = d_query + slope * token_key
    d_token_key = (slope * query).sum(1, keepdims=True)
    d_token_value = (weight[..., None] * gradient).sum(1, keepdims=True)

    # The token's query and all keys.
    wide = token_gradient.astype(jnp.float32)
    d_weights = jnp.concatenate([_dot(wide, token_value), _dot(wide, value)], axis=1)
    slopes = weights * (d_weights - _dot(wide, token_mixed))[..., None] * scale
    d_token_query = slopes[:, :1] * token_key + (slopes[:, 1:] * key).sum(1, keepdims=True)
    d_token_key, d_key = d_token_key + slopes[:, :1] * token_query, d_key + slopes[:, 1:] * token_query
    d_token_value, d_value = d_token_value + weights[:, :1] * wide, d_value + weights[:, 1:] * wide
    return jax.tree.map(
        lambda x: x.astype(query.dtype),
        ((d_token_query, d_token_key, d_token_value), (d_query, d_key, d_value)),
    )


merged_attention.defvjp(_forward, _backward)
