"""What is minimised: the contrastive loss of the tree of life, and that of the replayed pairs added to it."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .accumulate import Metrics, Objective
from .features import Batch, Features
from .losses import PairLoss


def make_objective(pair_loss: PairLoss) -> Objective:
    """The objective (features, temperature, batch) -> (loss, metrics).

    Each image has the text of its own row, or, where the batch has "text_index" int32 [B], of the row that it
    names. With replay the loss is the sum of two losses with one temperature, and the metrics hold each
    stream's own.
    """

    def objective(
        features: Features, temperature: dict[str, jax.Array], batch: Batch
    ) -> tuple[jax.Array, Metrics]:
        scale, bias = jnp.exp(temperature["logit_scale"]), temperature.get("logit_bias")
        text = features["text"]
        if "text_index" in batch:
            text = text[batch["text_index"]]
        loss, metrics = pair_loss(features["image"], text, scale, bias)
        if "replay_image" not in features:
            return loss, metrics
        replay_loss, of_replay = pair_loss(features["replay_image"], features["replay_text"], scale, bias)
        metrics = metrics | {"tree_of_life_loss": loss, "replay": of_replay | {"loss": replay_loss}}
        return loss + replay_loss, metrics

    return objective
