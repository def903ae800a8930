"""One update."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from .accumulate import LossAndGradients, Metrics
from .features import Batch
from .state import TrainState

MAX_LOG_SCALE = math.log(100.0)


def make_train_step(
    loss_and_gradients: LossAndGradients,
    optimizer: optax.GradientTransformation,
    schedule: Callable[[Any], Any],
    *,
    prepare: Callable[[Batch, jax.Array], Batch],
    compute_params: Callable[[Any], Any],
    seed: int,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The pure function (state, batch) -> (state, metrics).

    prepare(batch, key): the step's random draws, which follow from `seed` and the step. compute_params: from
    the state's parameters to those that the loss is differentiated by, which may be their bfloat16 copies.

    An update whose loss or gradient is not finite is skipped: parameters and optimizer, with its place in the
    schedule, stay as they are; the step and `skipped` count on, so that the next batch comes.
    """

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        (loss, metrics), gradients = loss_and_gradients(compute_params(state.params), prepare(batch, key))
        gradients = jax.tree.map(lambda x: x.astype(jnp.float32), gradients)
        gradient_norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(loss) & jnp.isfinite(gradient_norm)

        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        params = {**params, "logit_scale": jnp.clip(params["logit_scale"], 0.0, MAX_LOG_SCALE)}
        params, opt_state = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old), (params, opt_state), (state.params, state.opt_state)
        )
        bad = 1 - finite.astype(jnp.int32)
        skipped = {"total": state.skipped["total"] + bad, "in_row": (state.skipped["in_row"] + bad) * bad}
        metrics = {
            "loss": loss,
            "learning_rate": schedule(state.step - state.skipped["total"]),
            "gradient_norm": gradient_norm,
            "logit_scale": jnp.exp(params["logit_scale"].astype(jnp.float32)),
            "skipped_steps": skipped["total"],
            "skipped_in_row": skipped["in_row"],
            **metrics,
        }
        return TrainState(state.step + 1, params, opt_state, skipped), metrics

    return train_step
