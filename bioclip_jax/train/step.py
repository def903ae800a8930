"""One update."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from bioclip_jax.models import CLIPConfig, draw_patches, normalize_images
from bioclip_jax.train.losses import contrastive_loss
from bioclip_jax.train.state import TrainState

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
# (params, batch, key of the step's random draws) -> (loss, metrics)
Loss = Callable[[Any, Batch, jax.Array], tuple[jax.Array, Metrics]]

MAX_LOG_SCALE = math.log(100.0)


def make_loss(
    graphdef: nnx.GraphDef,
    config: CLIPConfig,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    patch_dropout: float = 0.0,
) -> Loss:
    """The loss of the model that `graphdef` describes.

    The batch holds "image" uint8 [B, H, W, 3] and "tokens" int32 [T, L]; where "text_index" int32 [B] is
    there too, the texts are the distinct ones of the batch and it says which one belongs to which image.
    `patch_dropout`: the share of the patches that the image tower does not see, drawn for each image.
    """

    def loss(params: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        images = normalize_images(batch["image"], mean, std)
        kept = draw_patches(key, len(images), config.vision, patch_dropout) if patch_dropout else None
        image_features, text_features, scale = nnx.merge(graphdef, params)(images, batch["tokens"], kept)
        if "text_index" in batch:
            text_features = text_features[batch["text_index"]]
        return contrastive_loss(image_features, text_features, scale)

    return loss


def make_train_step(
    loss: Loss, optimizer: optax.GradientTransformation, schedule: Callable[[Any], Any], seed: int
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The pure function (state, batch) -> (state, metrics); its random draws follow from `seed` and the step."""

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        (value, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(state.params, batch, key)
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
