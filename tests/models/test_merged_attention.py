"""Attention merged from cuDNN's over the patches and the class token's: exact, and compiled for an H100."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioclip_jax.errors import UserError
from bioclip_jax.models import CLIPConfig, TextConfig, VisionConfig, attention, graphdef, init_params, options
from bioclip_jax.models.merged_attention import FlashAttention, merged_attention

# 256 patches and a class token, as in ViT-L-14.
CONFIG = CLIPConfig(
    embed_dim=16,
    vision=VisionConfig(image_size=32, patch_size=2, width=128, layers=2, head_width=64),
    text=TextConfig(width=64, heads=1, layers=1, context_length=8, vocab_size=50),
)


def _logits(query, key):
    return jnp.einsum("bqhd,bkhd->bhqk", query, key, precision="highest") * query.shape[-1] ** -0.5


def _forward(query, key, value):
    logsumexp = jax.nn.logsumexp(_logits(query, key), axis=-1)
    weights = jnp.exp(_logits(query, key) - logsumexp[..., None])
    return jnp.einsum("bhqk,bkhd->bqhd", weights, value, precision="highest"), logsumexp


def _backward(query, key, value, logsumexp, output, gradient):
    """FlashAttention-2's, from the given logsumexp and output."""
    product = lambda form, *arrays: jnp.einsum(form, *arrays, precision="highest")  # noqa: E731
    weights = jnp.exp(_logits(query, key) - logsumexp[..., None])
    mean = product("bqhd,bqhd->bhq", gradient, output)
    slope = (
        weights * (product("bqhd,bkhd->bhqk", gradient, value) - mean[..., None]) * query.shape[-1] ** -0.5
    )
    d_query, d_key = product("bhqk,bkhd->bqhd", slope, key), product("bhqk,bqhd->bkhd", slope, query)
    return d_query, d_key, product("bhqk,bqhd->bkhd", weights, gradient)


PLAIN = FlashAttention(_forward, _backward)


def test_merging_is_exact():
    """Outputs and gradients of all tokens equal those of attention over all of them."""
    qkv = jax.random.normal(jax.random.key(0), (3, 2, 257, 2, 64))
    probe = jax.random.normal(jax.random.key(1), qkv.shape[1:])

    def merged(qkv):
        return jnp.concatenate(merged_attention(tuple(qkv[:, :, :1]), tuple(qkv[:, :, 1:]), PLAIN), axis=1)

    ours, pullback = jax.vjp(jax.jit(merged), qkv)
    expected, expected_pullback = jax.vjp(jax.jit(lambda qkv: attention._attend_xla(*qkv, None)), qkv)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)
    (gradient,), (expected,) = pullback(probe), expected_pullback(probe)
    for name, ours, theirs in zip("qkv", gradient, expected, strict=True):
        for part, tokens in (("class token", slice(0, 1)), ("patches", slice(1, None))):
            error = jnp.abs(ours - theirs)[:, tokens].max() / jnp.abs(expected).max()
            assert error < 2e-6, f"{name} of the {part}: the gradient is off by {error:.1e} of the largest"


@pytest.fixture
def exact(monkeypatch):
    """Let cuDNN's two calls be the plain ones, in any type and on any device."""
    monkeypatch.setattr(attention, "_uses_cudnn", lambda options, head_width: False)
    monkeypatch.setattr(attention, "merged_attention", lambda *parts: merged_attention(*parts, PLAIN))


@pytest.mark.parametrize("remat", ["none", "full", "attention"])
def test_a_tower_equals_the_plain_one(exact, remat):
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    params = init_params(CONFIG)

    def value_and_gradients(**options):
        model = graphdef(CONFIG, **options)
        loss = lambda params: nnx.merge(model, params).encode_image(images)[:, 0].sum()  # noqa: E731
        return jax.jit(jax.value_and_grad(loss))(params)

    value, gradients = value_and_gradients(attention="xla")
    ours, our_gradients = value_and_gradients(attention="cudnn_merged", remat=remat, nvidia=True)
    assert ours == pytest.approx(float(value), abs=1e-6)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradients))
    pairs = zip(jax.tree.leaves_with_path(gradients), jax.tree.leaves(our_gradients), strict=True)
    for (path, expected), leaf in pairs:
        error = float(jnp.abs(leaf - expected).max()) / largest
        assert error < 2e-6, f"{jax.tree_util.keystr(path)} is off by {error:.1e} of the largest gradient"


def test_a_jax_without_the_private_calls_is_refused(monkeypatch):
    from jax._src.cudnn import fused_attention_stablehlo as fused

    monkeypatch.setattr(options, "on_nvidia", lambda: True)
    monkeypatch.delattr(fused, "dot_product_attention")
    model = graphdef(CONFIG, dtype=jnp.bfloat16, attention="cudnn_merged")
    images = jnp.zeros((2, 32, 32, 3))
    with pytest.raises(UserError, match='attention "cudnn_merged" calls parts of JAX.*use "auto"'):
        jax.eval_shape(lambda params: nnx.merge(model, params).encode_image(images), init_params(CONFIG))


def test_cudnn_is_called_over_256_tokens():
    """Forward, again for the backward pass, and backward; compiled for an H100 without one."""
    from bioclip_jax.bench.compile.target import TARGETS

    try:
        (device,) = TARGETS["h100"].devices(1)
    except UserError as error:
        pytest.skip(str(error))
    model = graphdef(CONFIG, dtype=jnp.bfloat16, remat="full", attention="cudnn_merged", nvidia=True)
    sharding = jax.sharding.SingleDeviceSharding(device)
    arguments = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        (jax.eval_shape(lambda: init_params(CONFIG)), jax.ShapeDtypeStruct((4, 32, 32, 3), jnp.float32)),
    )
    loss = lambda params, images: nnx.merge(model, params).encode_image(images).sum()  # noqa: E731
    lowered = jax.jit(jax.value_and_grad(loss)).trace(*arguments).lower(lowering_platforms=("cuda",))
    calls = re.findall(r".*__cudnn\$fmhaSoftmax.*", lowered.compile().as_text())
    backward = sum("fmhaSoftmaxBackward" in call for call in calls)
    assert (len(calls) - backward, backward) == (2, 1), f"cuDNN is called {len(calls)} times"
    for call in calls:
        assert "[4,2,256,64]" in call and "[4,2,257" not in call and "[4,2,258" not in call, call
