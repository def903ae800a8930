"""Patch dropout and Muon."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.errors import UserError
from bioclip_jax.models import VisionConfig, draw_patches, get_config, graphdef, init_params, kept_patches
from bioclip_jax.train.config import train_config
from bioclip_jax.train.optimizer import OptimizerConfig, make_optimizer


@settings(deadline=None, max_examples=20)
@given(grid=st.integers(1, 6), dropout=st.floats(0, 0.99), batch=st.integers(1, 4))
def test_drawn_patches_are_distinct_and_as_many_as_asked(grid, dropout, batch):
    config = VisionConfig(image_size=8 * grid, patch_size=8, width=64, layers=1)
    kept = np.asarray(draw_patches(jax.random.key(0), batch, config, dropout))
    assert kept.shape == (batch, kept_patches(config, dropout)) and 1 <= kept.shape[1] <= grid**2
    for row in kept:
        assert len(set(row)) == len(row) and row.min() >= 0 and row.max() < grid**2, row


def test_each_image_and_each_key_draws_its_own():
    config = get_config("ViT-Mini-8").vision
    first, again, other = (np.asarray(draw_patches(jax.random.key(k), 2, config, 0.5)) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() and (first[0] != first[1]).any()


def test_all_patches_in_any_order_are_the_whole_image():
    config = get_config("ViT-Test-16")
    model = nnx.merge(graphdef(config), init_params(config))
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    kept = jnp.asarray([[3, 1, 0, 2], [0, 1, 2, 3]])
    np.testing.assert_allclose(model.pool_image(images, kept), model.pool_image(images), atol=2e-6)
    half = model.pool_image(images, kept[:, :2])
    changed = images.at[0, :16, :16].set(0)  # patch 0, which the first image does not keep
    np.testing.assert_array_equal(model.pool_image(changed, kept[:, :2]), half)


def test_patch_dropout_ends_when_the_config_says():
    values = {
        "data": {},
        "model": "ViT-Test-16",
        "global_batch_size": 8,
        "learning_rate": 1e-3,
        "total_steps": 10,
    }
    config = train_config(values | {"patch_dropout": 0.5, "patch_dropout_until": 0.8})
    assert [config.patch_dropout_at(step) for step in (1, 8, 9, 10)] == [0.5, 0.5, 0.0, 0.0]
    with pytest.raises(UserError, match="config.patch_dropout is 1.0"):
        train_config(values | {"patch_dropout": 1.0})


def test_muon_moves_the_blocks_along_orthogonal_matrices_and_the_rest_by_adamw():
    rng = np.random.default_rng(0)
    shapes = {"blocks": {"kernel": (3, 16, 48), "bias": (3, 48)}, "proj": (16, 8)}
    make = lambda: jax.tree.map(  # noqa: E731
        lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32),
        {"visual": shapes},
        is_leaf=lambda x: isinstance(x, tuple),
    )
    params, gradient = make(), make()

    def update(name: str):
        optimizer = make_optimizer(
            OptimizerConfig(name=name, muon_rms=0.3), lambda step: 0.1, weight_decay=0.0
        )
        return optimizer.update(gradient, optimizer.init(params), params)[0]["visual"]

    muon, adamw = update("muon"), update("adamw")
    np.testing.assert_allclose(muon["proj"], adamw["proj"])
    np.testing.assert_allclose(muon["blocks"]["bias"], adamw["blocks"]["bias"])
    for matrix in np.asarray(muon["blocks"]["kernel"]):
        singular = np.linalg.svd(matrix, compute_uv=False)
        # Five Newton-Schulz steps bring the singular values to around one, between 0.7 and 1.2 of it.
        assert singular.max() / singular.min() < 1.8, singular
        assert np.sqrt(np.mean(matrix**2)) == pytest.approx(0.1 * 0.3, rel=0.25)


def test_muon_sees_query_key_and_value_as_one_matrix():
    """The kernel [layers, in, 3, out] moves as the [layers, in, 3 · out] that it is in the reference."""
    rng = np.random.default_rng(0)
    params, gradient = rng.normal(size=(2, 2, 16, 48)).astype(np.float32)
    optimizer = make_optimizer(OptimizerConfig(name="muon"), lambda step: 0.1, weight_decay=0.2)

    def update(shape: tuple[int, ...]) -> np.ndarray:
        tree, step = (
            {"visual": {"blocks": {"kernel": jnp.asarray(x.reshape(shape))}}} for x in (params, gradient)
        )
        return np.asarray(optimizer.update(step, optimizer.init(tree), tree)[0]["visual"]["blocks"]["kernel"])

    np.testing.assert_allclose(
        update((2, 16, 3, 16)).reshape(2, 16, 48), update((2, 16, 48)), rtol=1e-5, atol=1e-7
    )
