"""Loss and gradients of a batch, at once or in micro-batches: the same numbers, in less memory.

A contrastive loss does not fall apart into the losses of micro-batches, since every pair is compared with all
others. Its gradient does, given the gradient of the loss with respect to the features (Gao et al. 2021,
"Scaling deep contrastive learning batch size under memory limited setup", https://arxiv.org/abs/2101.06983):

1. every micro-batch forward, of which only the features are kept;
2. the loss of all features, and its gradient with respect to each of them;
3. every micro-batch forward once more, and backward from the gradient of its features; these sums are the
gradient.

It costs one forward pass more, four thirds of the time, as rematerialisation does, and needs none of the
latter's memory for the rest of the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bioclip_jax.distributed import rows

from .features import Batch, Encode, Features

Metrics = dict[str, Any]
# (features, temperature, batch) -> (loss, metrics); temperature: the parameters outside the towers.
Objective = Callable[[Features, dict[str, jax.Array], Batch], tuple[jax.Array, Metrics]]
# (params, batch) -> ((loss, metrics), gradients)
LossAndGradients = Callable[[Any, Batch], tuple[tuple[jax.Array, Metrics], Any]]

TEMPERATURE = ("logit_scale", "logit_bias")
# What goes through the towers; an array of another name belongs to the batch as a whole.
_ENCODED = tuple(prefix + name for prefix in ("", "replay_") for name in ("image", "crop", "tokens", "kept"))


def loss_and_gradients(
    encode: Encode, objective: Objective, *, micro_batches: int, shards: int, shardings: Any
) -> LossAndGradients:
    """The function (params, batch) -> ((loss, metrics), gradients) of `objective` over `encode`'s features.

    shardings: of the parameters, by which their gradients are added up too. Gradients are float32 where
    `micro_batches` > 1, in the parameters' types otherwise. Every array of the batch must have a multiple of
    micro_batches * shards rows, where `shards` is the parts the mesh splits them into.
    """

    def temperature_of(params: Any) -> dict[str, jax.Array]:
        return {name: params[name] for name in TEMPERATURE if name in params}

    def at_once(params: Any, batch: Batch) -> tuple[tuple[jax.Array, Metrics], Any]:
        def loss(params: Any) -> tuple[jax.Array, Metrics]:
            return objective(encode(params, batch), temperature_of(params), batch)

        return jax.value_and_grad(loss, has_aux=True)(params)

    def in_parts(params: Any, batch: Batch) -> tuple[tuple[jax.Array, Metrics], Any]:
        parts = {
            name: rows.to_micro_batches(batch[name], micro_batches, shards)
            for name in _ENCODED
            if name in batch
        }
        _, features = jax.lax.scan(lambda _, part: (None, encode(params, part)), None, parts)
        features = {name: rows.from_micro_batches(x, shards) for name, x in features.items()}

        results, (of_features, of_temperature) = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)(
            features, temperature_of(params), batch
        )
        of_features = {
            name: rows.to_micro_batches(x, micro_batches, shards) for name, x in of_features.items()
        }

        def add(total: Any, part_and_gradient: tuple[Batch, Features]) -> tuple[Any, None]:
            part, gradient = part_and_gradient
            # Made anew inside the loop: a vjp kept from the first pass would hold every activation.
            _, backward = jax.vjp(lambda params: encode(params, part), params)
            (of_part,) = backward(gradient)
            total = jax.tree.map(lambda so_far, x: so_far + x.astype(jnp.float32), total, of_part)
            return jax.lax.with_sharding_constraint(total, shardings), None

        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), params)
        zeros = jax.lax.with_sharding_constraint(zeros, shardings)
        gradients, _ = jax.lax.scan(add, zeros, (parts, of_features))
        return results, gradients | of_temperature

    return at_once if micro_batches == 1 else in_parts
