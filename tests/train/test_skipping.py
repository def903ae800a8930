"""Updates that are not finite."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bioclip_jax.train.state import init_state
from bioclip_jax.train.step import make_train_step


@pytest.fixture
def step_and_state():
    """The update of a least-squares loss, which a batch can make infinite."""

    def loss_and_gradients(params, batch):
        def loss(params):
            return jnp.sum(jnp.square(params["kernel"] - batch["x"])) * jnp.exp(params["logit_scale"]), {}

        return jax.value_and_grad(loss, has_aux=True)(params)

    def schedule(count):
        return 0.1 / (1 + count)

    optimizer = optax.sgd(schedule)
    step = make_train_step(
        loss_and_gradients,
        optimizer,
        schedule,
        prepare=lambda batch, key: batch,
        compute_params=lambda params: params,
        seed=0,
    )
    params = {"kernel": jnp.ones(3), "logit_scale": jnp.zeros(())}
    return jax.jit(step), init_state(params, optimizer)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_update_that_is_not_finite_changes_nothing_and_is_counted(step_and_state, bad):
    step, state = step_and_state
    good, poisoned = {"x": jnp.zeros(3)}, {"x": jnp.asarray([0.0, bad, 0.0])}
    before, _ = step(state, good)
    after, metrics = step(before, poisoned)
    after, metrics = step(after, poisoned)
    jax.tree.map(
        np.testing.assert_array_equal, (after.params, after.opt_state), (before.params, before.opt_state)
    )
    assert int(after.step) == 3 and not np.isfinite(metrics["loss"])
    assert (int(metrics["skipped_steps"]), int(metrics["skipped_in_row"])) == (2, 2)

    on, metrics = step(after, good)
    assert (int(metrics["skipped_steps"]), int(metrics["skipped_in_row"])) == (2, 0)
    expected, line = step(before, good)
    jax.tree.map(np.testing.assert_array_equal, on.params, expected.params)
    assert float(metrics["learning_rate"]) == float(line["learning_rate"]) == pytest.approx(0.05)
    moved = float(before.params["kernel"][0] - on.params["kernel"][0])
    gradient = 2 * float(before.params["kernel"][0]) * float(jnp.exp(before.params["logit_scale"]))
    assert moved == pytest.approx(0.05 * gradient, rel=1e-5), (
        "the rate that is logged is not the one that was used"
    )
