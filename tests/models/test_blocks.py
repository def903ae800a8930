"""Rematerialization: saved bytes and gradients under each policy."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioclip_jax.models import Options, get_config, graphdef, init_params
from bioclip_jax.models.blocks import apply_blocks
from bioclip_jax.models.layers import LayerNorm

CONFIG = get_config("ViT-Test-16")
WIDTH, HEADS = CONFIG.vision.width, CONFIG.vision.heads
# Entries a token and block in units of width, as Options documents them.
SAVED = {"none": 16, "dots_attention": 10, "dots": 9, "attention": 5, "full": 1}


@pytest.fixture(scope="module")
def blocks():
    """Six layers."""
    layers = init_params(CONFIG, seed=2)["visual"]["blocks"]
    return jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf[::-1], leaf]), layers)


def _forward(**options):
    model = graphdef(CONFIG, **options)
    block = nnx.graphdef(nnx.merge(model, jax.eval_shape(lambda: init_params(CONFIG))).visual.blocks)
    return lambda blocks, x: apply_blocks(nnx.merge(block, blocks), x, Options(**options))


def _saved_bytes(blocks, rows: int, tokens: int, **options) -> int:
    """Bytes saved for the backward pass, without those that do not grow with the batch."""
    forward = _forward(**options)

    def total(rows: int) -> int:
        x = jnp.zeros((rows, tokens, WIDTH), options["dtype"])
        pullback = jax.eval_shape(lambda blocks, x: jax.vjp(forward, blocks, x)[1], blocks, x)
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(pullback))

    return total(2 * rows) - total(rows)


@pytest.mark.parametrize("remat", SAVED)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_saved_bytes_are_as_documented(blocks, remat, dtype):
    rows, tokens, layers, size = 3, 10, 6, jnp.dtype(dtype).itemsize
    kept = _saved_bytes(blocks, rows, tokens, remat=remat, dtype=dtype, attention="xla") / (
        layers * rows * tokens
    )
    expected = SAVED[remat] * WIDTH * size
    if remat == "none":
        # Mean and 1/std of two norms in float32. The softmax's exponentials in float32, its weights in the
        # dtype of the values, its rows' largest and sum.
        expected += 2 * 2 * 4 + HEADS * (tokens * (4 + size) + 2 * 4)
    assert kept == expected, (
        f"{remat}: {kept / size / WIDTH:.2f} widths a token, documented are {expected / size / WIDTH:.2f}"
    )


def _compiled(blocks, x, **options):
    forward = _forward(**options)
    loss = jax.value_and_grad(lambda blocks, x: jnp.square(forward(blocks, x)).mean())
    return jax.jit(loss).lower(blocks, x).compile()


def test_remat_changes_memory_but_no_gradient(blocks):
    x = jax.random.normal(jax.random.key(0), (32, 5, WIDTH))
    programs = {remat: _compiled(blocks, x, remat=remat) for remat in SAVED}
    temporary_bytes = {
        remat: program.memory_analysis().temp_size_in_bytes for remat, program in programs.items()
    }
    by_memory = sorted(temporary_bytes, key=temporary_bytes.get, reverse=True)
    assert by_memory == list(SAVED), f"the policies are not in their documented order: {temporary_bytes}"
    values = {remat: program(blocks, x) for remat, program in programs.items()}
    for remat in SAVED:
        chex.assert_trees_all_close(values[remat], values["none"], rtol=1e-4, atol=1e-6)


def test_the_compiler_does_not_undo_remat_of_unrolled_layers(blocks):
    """Forward and backward then are one program, whose common subexpressions could be eliminated."""
    x = jnp.ones((32, 5, WIDTH))
    none, full = (
        _compiled(blocks, x, remat=remat, unroll=True).cost_analysis()["flops"] for remat in ("none", "full")
    )
    # Recomputes all but c_proj: 8 of 12 matrices, beside 36 in forward and backward.
    assert 1.15 < full / none < 1.35, f"remat costs {full / none - 1:.0%} of the work"


def test_gradients_of_float32_kernels_are_not_rounded(blocks):
    """In bfloat16 the gradient of a float32 kernel has more digits than bfloat16 holds."""
    x = jax.random.normal(jax.random.key(0), (8, 5, WIDTH), jnp.bfloat16)
    forward = _forward(dtype=jnp.bfloat16)
    gradient = jax.jit(jax.grad(lambda blocks: jnp.square(forward(blocks, x).astype(jnp.float32)).mean()))(
        blocks
    )
    for name in ("in_proj", "out_proj"):
        kernel = np.asarray(gradient["attn"][name]["kernel"])
        rounded = kernel.astype(jnp.bfloat16).astype(np.float32)
        assert (kernel != rounded).mean() > 0.9, f"the gradient of {name} was rounded to bfloat16"


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_of_layer_norm_are_those_of_its_definition(dtype):
    """The backward pass is written by hand; a residual stream's rows are not centered."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = (2 + 3 * jax.random.normal(keys[0], (4, 5, WIDTH))).astype(dtype)
    scale, bias = 1 + 0.1 * jax.random.normal(keys[1], (2, WIDTH))
    direction = jax.random.normal(keys[2], x.shape).astype(dtype)

    def norm(x, scale, bias):
        layer = LayerNorm(WIDTH, dtype=dtype)
        layer.scale[...], layer.bias[...] = scale, bias
        return layer(x)

    def definition(x, scale, bias):
        wide = x.astype(jnp.float32)
        centered = wide - wide.mean(-1, keepdims=True)
        deviation = jnp.sqrt(jnp.square(centered).mean(-1, keepdims=True) + 1e-5)
        return (centered / deviation * scale + bias).astype(dtype)

    (y, pullback), (expected, exact) = (jax.vjp(function, x, scale, bias) for function in (norm, definition))
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(y.astype(float), expected.astype(float), rtol=eps, atol=2e-6)
    for name, ours, theirs in zip(("x", "scale", "bias"), pullback(direction), exact(direction), strict=True):
        ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
        np.testing.assert_allclose(
            ours, theirs, rtol=2 * eps, atol=2e-6 * np.abs(theirs).max(), err_msg=f"gradient of {name}"
        )
