"""Lowering of the towers for every platform, on a CPU."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from bioclip_jax.models import get_config, graphdef, init_params

CONFIG = get_config("ViT-Test-16")
PLATFORMS = ("cpu", "cuda", "tpu")


def test_the_towers_and_their_gradients_are_lowered_for_every_platform():
    model = graphdef(CONFIG, dtype=jnp.bfloat16, attention="auto")
    rng = np.random.default_rng(0)
    images, tokens = (
        rng.normal(size=(2, 32, 32, 3)).astype(np.float32),
        rng.integers(1, 49000, (2, 8)).astype(np.int32),
    )

    def loss(params, images, tokens):
        image, text, scale = nnx.merge(model, params)(images, tokens)
        return (image * text).sum() * scale

    params = init_params(CONFIG)
    function = jax.jit(jax.value_and_grad(loss))
    exported = jax.export.export(function, platforms=PLATFORMS)(params, images, tokens)
    assert exported.platforms == PLATFORMS
    actual, expected = exported.call(params, images, tokens), function(params, images, tokens)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3), actual, expected)
