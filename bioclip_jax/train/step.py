"""One update."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bioclip_jax.models import normalize_images
from bioclip_jax.train.losses import contrastive_loss
from bioclip_jax.train.state import TrainState

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]

MAX_LOG_SCALE = math.log(100.0)


def make_train_step(
    apply: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    schedule: Callable[[Any], Any],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The pure function (state, batch) -> (state, metrics); the loop jits it.

    `apply(params, images, tokens)` gives image features [B, D], text features [T, D] and the scale.
    The batch holds "image" uint8 [B, H, W, 3] and "tokens" int32 [T, L]; where "text_index" int32 [B] is
    there too, the texts are the distinct ones of the batch and it says which one belongs to which image.
    """

    def loss_of(params: Any, batch: Batch) -> tuple[jax.Array, Metrics]:
        images = normalize_images(batch["image"], mean, std)
        image_features, text_features, scale = apply(params, images, batch["tokens"])
        if "text_index" in batch:
            text_features = text_features[batch["text_index"]]
        return contrastive_loss(image_features, text_features, scale)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        (loss, metrics), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params, batch)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        params = {**params, "logit_scale": jnp.clip(params["logit_scale"], 0.0, MAX_LOG_SCALE)}
        metrics = {
            "loss": loss,
            "learning_rate": schedule(state.step),
            "gradient_norm": optax.global_norm(gradients),
            "logit_scale": jnp.exp(params["logit_scale"]),
            **metrics,
        }
        if "bad" in batch:
            metrics["bad"] = batch["bad"]
        return TrainState(state.step + 1, params, opt_state), metrics

    return train_step
