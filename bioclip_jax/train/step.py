"""One update."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from bioclip_jax.models import normalize_images
from bioclip_jax.train.losses import contrastive_loss
from bioclip_jax.train.state import TrainState

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
Loss = Callable[[Any, Batch], tuple[jax.Array, Metrics]]

MAX_LOG_SCALE = math.log(100.0)


def make_loss(
    graphdef: nnx.GraphDef, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Loss:
    """The function (params, batch) -> (loss, metrics) of the model that `graphdef` describes.

    The batch holds "image" uint8 [B, H, W, 3] and "tokens" int32 [T, L]; where "text_index" int32 [B] is
    there too, the texts are the distinct ones of the batch and it says which one belongs to which image.
    """

    def loss(params: Any, batch: Batch) -> tuple[jax.Array, Metrics]:
        images = normalize_images(batch["image"], mean, std)
        image_features, text_features, scale = nnx.merge(graphdef, params)(images, batch["tokens"])
        if "text_index" in batch:
            text_features = text_features[batch["text_index"]]
        return contrastive_loss(image_features, text_features, scale)

    return loss


def make_train_step(
    loss: Loss, optimizer: optax.GradientTransformation, schedule: Callable[[Any], Any]
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The pure function (state, batch) -> (state, metrics)."""

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        (value, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(state.params, batch)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        params = {**params, "logit_scale": jnp.clip(params["logit_scale"], 0.0, MAX_LOG_SCALE)}
        metrics = {
            "loss": value,
            "learning_rate": schedule(state.step),
            "gradient_norm": optax.tree.norm(gradients),
            "logit_scale": jnp.exp(params["logit_scale"]),
            **metrics,
        }
        return TrainState(state.step + 1, params, opt_state), metrics

    return train_step
