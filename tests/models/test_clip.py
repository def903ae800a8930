"""The towers by themselves; test_open_clip_parity.py compares them with open_clip's."""

from __future__ import annotations

import dataclasses
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioclip_jax.models import (
    CLIP,
    CLIPConfig,
    Options,
    TextConfig,
    VisionConfig,
    get_config,
    graphdef,
    init_params,
    normalize_images,
)
from bioclip_jax.models.blocks import apply_blocks
from bioclip_jax.models.layers import gelu

CONFIG = get_config("ViT-Test-16")


@pytest.fixture(scope="module")
def params():
    return init_params(CONFIG, seed=2)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    tokens = np.zeros((5, 77), np.int32)
    for row, length in enumerate([3, 11, 24, 40, 77]):
        tokens[row, :length] = rng.integers(1, 49000, length)
        tokens[row, length - 1] = 49407
    return rng.normal(size=(4, 32, 32, 3)).astype(np.float32), tokens


MODEL = graphdef(CONFIG)


# Compiled once for all tests: on a CPU, compiling takes longer than the tests.
@jax.jit
def _images(params, images):
    return nnx.merge(MODEL, params).encode_image(images)


@jax.jit
def _texts(params, tokens):
    return nnx.merge(MODEL, params).encode_text(tokens)


def test_features_are_unit_vectors_and_the_scale_is_open_clips_initial(params, batch):
    images, texts = _images(params, batch[0]), _texts(params, batch[1])
    chex.assert_shape([images, texts], [(4, 32), (5, 32)])
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, rtol=1e-6)
    both = jax.jit(lambda params, images, tokens: nnx.merge(MODEL, params)(images, tokens))(params, *batch)
    np.testing.assert_allclose(both[0], images, atol=1e-6)
    np.testing.assert_allclose(both[1], texts, atol=1e-6)
    np.testing.assert_allclose(both[2], 1 / 0.07, rtol=1e-6)


@jax.jit
def _looped(blocks, x):
    """Apply the stack without a scan: slice i of every parameter, block by block."""
    for layer in range(CONFIG.vision.layers):
        x = nnx.merge(BLOCK, jax.tree.map(lambda leaf, layer=layer: leaf[layer], blocks))(x)
    return x


BLOCK = nnx.graphdef(nnx.merge(MODEL, jax.eval_shape(lambda: init_params(CONFIG))).visual.blocks)


def test_the_scan_equals_a_loop_over_the_layers(params):
    blocks, x = params["visual"]["blocks"], jax.random.normal(jax.random.key(0), (2, 9, 64))
    looped = _looped(blocks, x)
    # Both towers have the same unroll, which may exceed the layers of one.
    for unroll in (1, CONFIG.vision.layers + 3, True):
        run = jax.jit(
            lambda blocks, x, n=unroll: apply_blocks(nnx.merge(BLOCK, blocks), x, Options(unroll=n))
        )
        np.testing.assert_allclose(run(blocks, x), looped, rtol=1e-5, atol=1e-5)
    reversed_layers = _looped(jax.tree.map(lambda leaf: leaf[::-1], blocks), x)
    assert np.abs(looped - reversed_layers).max() > 1e-3, "the order of layers has no effect"


@pytest.mark.parametrize("length", [12, 41])
def test_texts_may_be_cut_after_their_end(params, batch, length):
    """Tokens after the end-of-text token have no effect, so batches of short texts may be cut."""
    tokens = batch[1].copy()
    long = tokens.argmax(1) >= length
    tokens[long] = tokens[0]
    np.testing.assert_allclose(_texts(params, tokens[:, :length]), _texts(params, tokens), atol=1e-6)


def test_tokens_after_the_end_of_text_have_no_effect(params, batch):
    _, tokens = batch
    noisy = tokens.copy()
    for row, end in enumerate(tokens.argmax(1)):
        noisy[row, end + 1 :] = 17
    np.testing.assert_array_equal(_texts(params, noisy), _texts(params, tokens))
    noisy[:, 0] += 1
    assert np.abs(_texts(params, noisy) - _texts(params, tokens)).max() > 1e-4


def test_bfloat16_towers_return_float32(params, batch):
    half = graphdef(CONFIG, dtype=jnp.bfloat16)
    rough = jax.jit(lambda params, images: nnx.merge(half, params).encode_image(images))(params, batch[0])
    difference = np.abs(rough - _images(params, batch[0])).max()
    assert 1e-5 < difference < 1e-2, f"bfloat16 differs by {difference}"
    outputs = jax.eval_shape(lambda params: nnx.merge(half, params)(*batch), params)
    assert {output.dtype for output in outputs} == {jnp.dtype(jnp.float32)}
    gradients = jax.eval_shape(jax.grad(lambda params: nnx.merge(half, params)(*batch)[0].sum()), params)
    chex.assert_trees_all_equal_shapes_and_dtypes(gradients, params)


def test_gelu_is_the_exact_one():
    x = np.linspace(-6, 6, 4001, dtype=np.float32)
    exact = np.array([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.astype(np.float64)])
    np.testing.assert_allclose(gelu(x), exact, atol=1e-6)
    slope = jax.vmap(jax.grad(lambda v: gelu(v)))(x)
    np.testing.assert_allclose(slope, np.gradient(exact, x.astype(np.float64)), atol=1e-5)


def test_quick_gelu_changes_the_features(params, batch):
    quick = graphdef(dataclasses.replace(CONFIG, quick_gelu=True))
    images = jax.jit(lambda params, images: nnx.merge(quick, params).encode_image(images))(params, batch[0])
    assert np.abs(images - _images(params, batch[0])).max() > 1e-4


def test_the_replay_projector_starts_as_an_independent_copy(params, batch):
    fresh = init_params(CONFIG, seed=2, replay_projector=True)
    np.testing.assert_array_equal(fresh["visual"]["continual_proj"], fresh["visual"]["proj"])
    fresh["visual"]["continual_proj"] = fresh["visual"]["continual_proj"][::-1]
    model = graphdef(CONFIG, replay_projector=True)

    @jax.jit
    def both(params, images):
        clip = nnx.merge(model, params)
        return clip.encode_image(images), clip.encode_image(images, projector="continual_proj")

    first, second = both(fresh, batch[0])
    np.testing.assert_allclose(first, _images(params, batch[0]), atol=1e-6)
    assert np.abs(second - first).max() > 1e-2
    with pytest.raises(ValueError, match="replay_projector"):
        jax.eval_shape(lambda: nnx.merge(MODEL, params).encode_image(batch[0], projector="continual_proj"))


def test_the_logit_bias_starts_as_siglips():
    fresh = init_params(CONFIG, seed=2, logit_bias=True)
    assert fresh["logit_bias"] == -10 and fresh["logit_bias"].dtype == jnp.float32
    assert fresh["logit_scale"] == pytest.approx(math.log(10))
    model = nnx.eval_shape(lambda: CLIP(CONFIG, rngs=nnx.Rngs(0), logit_bias=True))
    chex.assert_trees_all_equal_shapes_and_dtypes(nnx.to_pure_dict(nnx.state(model, nnx.Param)), fresh)
    del fresh["logit_bias"]
    chex.assert_trees_all_equal_shapes_and_dtypes(fresh, init_params(CONFIG))


def test_wrong_sizes_are_errors_with_the_numbers(params):
    with pytest.raises(ValueError, match="48x32.*32x32"):
        _images(params, np.zeros((1, 48, 32, 3), np.float32))
    with pytest.raises(ValueError, match="78 tokens.*77"):
        _texts(params, np.ones((1, 78), np.int32))


def test_normalize_images():
    images = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    exact = (images / 255 - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(normalize_images(images, mean, std), exact, atol=1e-6)


def test_parameters_do_not_depend_on_options(params):
    """One checkpoint serves training in bfloat16 with remat and inference in float32 without."""
    for options in ({"dtype": jnp.bfloat16}, {"remat": "full"}, {"unroll": True}, {"matmul": "fp8"}):
        model = nnx.eval_shape(lambda options=options: CLIP(CONFIG, rngs=nnx.Rngs(0), **options))
        chex.assert_trees_all_equal_shapes_and_dtypes(nnx.to_pure_dict(nnx.state(model, nnx.Param)), params)


def test_fresh_weights_have_open_clips_distributions():
    """Mean, spread and range of every tensor, against open_clip's own initialization."""
    import torch
    from open_clip.model import CLIP as OpenCLIP

    from bioclip_jax.convert.open_clip import to_state_dict

    config = CLIPConfig(
        embed_dim=96,
        vision=VisionConfig(image_size=64, patch_size=8, width=256, layers=3),
        text=TextConfig(width=192, heads=3, layers=3, vocab_size=4000),
    )
    torch.manual_seed(0)
    theirs = {name: tensor.numpy() for name, tensor in OpenCLIP(**config.to_open_clip()).state_dict().items()}
    ours = to_state_dict(init_params(config, seed=0), config)
    wrong = []
    for name, tensor in theirs.items():
        mine, spread = ours[name], tensor.std()
        if spread < 1e-6:
            fits = np.allclose(mine, tensor)
        else:
            # The spread of the spread of n draws is below spread / sqrt(n).
            fits = abs(mine.std() - spread) < 5 * spread / math.sqrt(tensor.size)
            fits &= abs(mine.mean() - tensor.mean()) < 7 * spread / math.sqrt(tensor.size)
            # A uniform distribution is bounded, a normal one is not.
            fits &= (
                tensor.size < 4000
                or abs(np.abs(mine).max() - np.abs(tensor).max()) < 0.35 * np.abs(tensor).max()
            )
        if not fits:
            wrong.append(
                f"{name}: {mine.mean():.4f} ± {mine.std():.4f}, open_clip {tensor.mean():.4f} ± {spread:.4f}"
            )
    assert not wrong, wrong


def test_query_key_and_value_are_drawn_as_one_matrix():
    """The spread of a fresh in_proj follows from [width, 3 · width], not from its three axes."""
    width = CONFIG.vision.width
    kernel = init_params(CONFIG)["visual"]["blocks"]["attn"]["in_proj"]["kernel"]
    assert kernel.shape == (CONFIG.vision.layers, width, 3, width)
    assert np.abs(kernel).max() == pytest.approx(math.sqrt(6 / (4 * width)), rel=1e-3)


def test_layers_of_a_stack_are_drawn_independently():
    kernels = init_params(CONFIG)["visual"]["blocks"]["mlp"]["c_fc"]["kernel"]
    assert np.abs(kernels[0] - kernels[1]).mean() > 0.01


def test_parameter_counts():
    for name, millions in (
        ("ViT-B-16", 149.6),
        ("ViT-L-14", 427.6),
        ("ViT-H-14", 986.1),
        ("ViT-bigG-14", 2539.6),
    ):
        params = jax.eval_shape(lambda name=name: init_params(get_config(name)))
        total = sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6
        assert total == pytest.approx(millions, abs=0.1), f"{name} has {total:.1f} M parameters"
