"""Programs for NVIDIA GPUs: the same results on a CPU as other programs, and what XLA compiles them to."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bioclip_jax.errors import UserError
from bioclip_jax.models import attention, draw_patches, get_config, graphdef, init_params

CONFIG = get_config("ViT-Test-16")


@pytest.fixture(scope="module")
def params():
    """Parameters without the zeros and ones of an initialization, whose gradients could not tell errors."""
    leaves, tree = jax.tree.flatten(init_params(CONFIG, seed=1))
    keys = jax.random.split(jax.random.key(0), len(leaves))
    noisy = [x + 0.02 * jax.random.normal(key, x.shape) for x, key in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, noisy)


def _loss_and_gradients(params, dropout: float, **options):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(4, 32, 32, 3)).astype(np.float32)
    tokens = rng.integers(1, 49000, (4, 7)).astype(np.int32)
    kept = draw_patches(jax.random.key(1), 4, CONFIG.vision, dropout) if dropout else None
    model = graphdef(CONFIG, attention="xla", **options)

    def loss(params):
        image, text, scale = nnx.merge(model, params)(images, tokens, kept)
        return -jnp.diag(jax.nn.log_softmax(scale * image @ text.T)).mean()

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.mark.parametrize(
    ("dropout", "options"),
    [(0, {}), (0, {"unroll": True, "remat": "full"}), (0.25, {}), (0.5, {"remat": "dots"})],
    ids=["5 tokens", "5 tokens, unrolled", "4 tokens", "3 tokens"],
)
def test_results_do_not_depend_on_the_device_that_a_program_is_for(params, dropout, options):
    """An odd number of image tokens is padded: the padding has no effect, and no part in any gradient."""
    loss, gradients = _loss_and_gradients(params, dropout, nvidia=False, **options)
    for_nvidia, gradients_for_nvidia = _loss_and_gradients(params, dropout, nvidia=True, **options)
    assert for_nvidia == pytest.approx(float(loss), rel=1e-6)
    largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(gradients))
    ours = dict(jax.tree.leaves_with_path(gradients_for_nvidia))
    for path, expected in jax.tree.leaves_with_path(gradients):
        error = float(np.abs(ours[path] - expected).max()) / largest
        assert error < 2e-6, f"{jax.tree_util.keystr(path)} is off by {error:.1e} of the largest gradient"


def test_image_tokens_are_even_on_nvidia_gpus_only(params):
    images = jnp.zeros((2, 32, 32, 3))

    def traced(nvidia: bool) -> str:
        model = graphdef(CONFIG, attention="xla", nvidia=nvidia)
        return str(jax.make_jaxpr(lambda params: nnx.merge(model, params).encode_image(images))(params))

    assert "[2,6,64]" in traced(True) and "[2,6,64]" not in traced(False)


def test_padding_gets_no_gradient_from_attention():
    """cuDNN does not document what it writes for keys behind the sequence length."""
    x = jnp.ones((2, 6, 4, 8))
    y, pullback = jax.vjp(lambda x: attention._constant_padding(x, 5), x)
    (gradient,) = pullback(jnp.full_like(x, jnp.nan).at[:, :5].set(3))
    assert (y == x).all() and (gradient[:, :5] == 3).all() and (gradient[:, 5:] == 0).all()


def test_all_products_of_the_blocks_are_fp8_calls_on_hopper():
    """In a scan over micro-batches with remat, as in training; compiled for an H100 without one."""
    from bioclip_jax.bench.compile.target import TARGETS

    try:
        (device,) = TARGETS["h100"].devices(1)
    except UserError as error:
        pytest.skip(str(error))
    model = graphdef(CONFIG, dtype=jnp.bfloat16, matmul="fp8", remat="full", attention="xla", nvidia=True)

    def loss(params, images, tokens):
        def features(rows):
            image, text, _ = nnx.merge(model, params)(*rows)
            return image, text

        image, text = jax.lax.map(features, (images, tokens))
        return (image * text).sum()

    sharding = jax.sharding.SingleDeviceSharding(device)
    arguments = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        (
            jax.eval_shape(lambda: init_params(CONFIG)),
            jax.ShapeDtypeStruct((3, 16, 32, 32, 3), jnp.float32),
            jax.ShapeDtypeStruct((3, 16, 8), jnp.int32),
        ),
    )
    lowered = jax.jit(jax.value_and_grad(loss)).trace(*arguments).lower(lowering_platforms=("cuda",))
    program = lowered.compile(compiler_options={"xla_gpu_enable_triton_gemm": False}).as_text()
    calls = program.count('custom_call_target="__cublas$lt$matmul$f8"')
    # In each tower's block: six products forward, five of them again, six for inputs, six for kernels.
    assert calls == 2 * (6 + 5 + 6 + 6), f"{calls} products are fp8 calls, 46 should be"
