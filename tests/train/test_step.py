"""Patch dropout, and updates whose loss or gradient is not finite."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.errors import UserError
from bioclip_jax.models import VisionConfig, draw_patches, get_config, graphdef, init_params, kept_patches
from bioclip_jax.train.config import train_config
from bioclip_jax.train.step import TrainState, apply_gradients


@settings(max_examples=20)
@given(grid=st.integers(1, 6), dropout=st.floats(0, 0.99), batch=st.integers(1, 4))
def test_drawn_patches_are_distinct_and_of_the_requested_number(grid, dropout, batch):
    config = VisionConfig(image_size=8 * grid, patch_size=8, width=64, layers=1)
    kept = np.asarray(draw_patches(jax.random.key(0), batch, config, dropout))
    assert kept.shape == (batch, kept_patches(config, dropout)) and 1 <= kept.shape[1] <= grid**2
    for row in kept:
        assert len(set(row)) == len(row) and row.min() >= 0 and row.max() < grid**2, row


def test_patches_differ_between_images_and_keys():
    config = get_config("ViT-Mini-8").vision
    first, again, other = (np.asarray(draw_patches(jax.random.key(k), 2, config, 0.5)) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() and (first[0] != first[1]).any()


def test_all_patches_in_any_order_give_the_full_image():
    config = get_config("ViT-Test-16")
    model = nnx.merge(graphdef(config), jax.jit(lambda: init_params(config))())
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    kept = jnp.asarray([[3, 1, 0, 2], [0, 1, 2, 3]])
    np.testing.assert_allclose(model.pool_image(images, kept), model.pool_image(images), atol=2e-6)
    half = model.pool_image(images, kept[:, :2])
    changed = images.at[0, :16, :16].set(0)  # patch 0, which the first image does not keep
    np.testing.assert_array_equal(model.pool_image(changed, kept[:, :2]), half)


def test_patch_dropout_ends_at_its_configured_share_of_the_steps():
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


def least_squares_update(state: TrainState, batch: dict[str, jax.Array]):
    """Apply one update of a least-squares loss, which a batch can make infinite."""

    def loss(params):
        return jnp.sum(jnp.square(params["kernel"] - batch["x"])) * jnp.exp(params["logit_scale"])

    value, gradients = jax.value_and_grad(loss)(state.params)
    return apply_gradients(state, value, gradients, *least_squares_optimizer())


def least_squares_optimizer():
    """Return an optimizer and its schedule."""

    def schedule(count):
        return 0.1 / (1 + count)

    return optax.sgd(schedule), schedule


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_nonfinite_update_is_skipped_and_counted(bad):
    step = jax.jit(least_squares_update)
    params = {"kernel": jnp.ones(3), "logit_scale": jnp.zeros(())}
    state = TrainState.init(params, least_squares_optimizer()[0])
    good, poisoned = {"x": jnp.zeros(3)}, {"x": jnp.asarray([0.0, bad, 0.0])}
    before, _ = step(state, good)
    after, metrics = step(before, poisoned)
    after, metrics = step(after, poisoned)
    jax.tree.map(
        np.testing.assert_array_equal, (after.params, after.opt_state), (before.params, before.opt_state)
    )
    assert int(after.step) == 3 and not np.isfinite(metrics["loss"])
    assert (int(metrics["skipped_steps"]), int(metrics["skipped_in_row"])) == (2, 2)

    resumed, metrics = step(after, good)
    assert (int(metrics["skipped_steps"]), int(metrics["skipped_in_row"])) == (2, 0)
    expected, line = step(before, good)
    jax.tree.map(np.testing.assert_array_equal, resumed.params, expected.params)
    assert float(metrics["learning_rate"]) == float(line["learning_rate"]) == pytest.approx(0.05)
    change = float(before.params["kernel"][0] - resumed.params["kernel"][0])
    gradient = 2 * float(before.params["kernel"][0]) * float(jnp.exp(before.params["logit_scale"]))
    assert change == pytest.approx(0.05 * gradient, rel=1e-5), (
        "the logged learning rate is not the applied one"
    )
