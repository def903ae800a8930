"""Probe of FishNet and AwA2: two linear layers on frozen embeddings, vectorized over seeds.

Linear, dropout, linear, without an activation, on unnormalized embeddings; binary cross-entropy on every
output; Adam, with a learning rate halved every 20 epochs (BioCLIP 2, https://arxiv.org/abs/2505.23883).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Float32, Int32

from bioclip_jax.predict import track

BATCH_SIZE = 256
HIDDEN = 512
DROPOUT = 0.5
_HALVED_EVERY = 20
# Rows whose hidden layer is held in memory at a time.
_CHUNK = 4096
# torch's defaults, as for the published figures.
_ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)
# GPUs would otherwise multiply in TF32.
_matmul = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class ProbeParams(NamedTuple):
    """Layers of one probe per seed: logits = (x @ weight_1 + bias_1) @ weight_2 + bias_2."""

    weight_1: Float32[Array, "seeds dim hidden"]
    bias_1: Float32[Array, "seeds hidden"]
    weight_2: Float32[Array, "seeds hidden out"]
    bias_2: Float32[Array, "seeds out"]


def fit_probe(
    features: Float32[np.ndarray, "n dim"],
    targets: Float[np.ndarray, "n out"],
    *,
    seeds: Sequence[int],
    learning_rate: float,
    epochs: int = 50,
    batch_size: int = BATCH_SIZE,
    hidden: int = HIDDEN,
    dropout: float = DROPOUT,
) -> ProbeParams:
    """Train one probe per seed on binary `targets`; each depends only on its own seed.

    Every epoch shuffles the rows; its last batch may be smaller. Runs on a single device. dropout: share of
    the hidden layer set to zero.
    """
    n, dim = features.shape
    batch_size = min(batch_size, n)
    steps = -(-n // batch_size)
    weights = np.zeros(steps * batch_size, np.float32)
    weights[:n] = 1
    weights = jnp.asarray(weights.reshape(steps, batch_size))
    data = jnp.asarray(features, jnp.float32), jnp.asarray(targets, jnp.float32)
    layers = [initial_params(seed, dim, hidden, targets.shape[1]) for seed in seeds]
    params = ProbeParams(*(jnp.stack(parts) for parts in zip(*layers)))
    state = params, jax.vmap(_ADAM.init)(params)
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
    for epoch in track(range(epochs), "training the probe", epochs):
        orders = np.zeros((len(seeds), steps * batch_size), np.int32)
        for order, seed in zip(orders, seeds):
            order[:n] = epoch_order(seed, epoch, n)
        orders = orders.reshape(len(seeds), steps, batch_size).swapaxes(0, 1)
        rate = learning_rate * 0.5 ** (epoch // _HALVED_EVERY)
        state = _epoch(state, data, jnp.asarray(orders), weights, keys, rate, epoch * steps, dropout=dropout)
    return jax.device_get(state[0])


def logits(params: ProbeParams, features: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "seeds n out"]:
    """Return each probe's logits, without dropout."""
    weight_1, bias_1, weight_2, bias_2 = (np.asarray(part, np.float64) for part in params)
    # Without an activation both layers are one matrix, hundreds of times smaller than the first.
    weight = np.matmul(weight_1, weight_2)
    bias = np.matmul(bias_1[:, None], weight_2) + bias_2[:, None]
    return (np.matmul(features, weight.astype(np.float32)) + bias).astype(np.float32)


def dropout_logits(
    params: ProbeParams,
    features: Float32[np.ndarray, "n dim"],
    seeds: Sequence[int],
    dropout: float = DROPOUT,
) -> Float32[np.ndarray, "seeds n out"]:
    """Return each probe's logits with dropout on, as the reference scores them."""
    params = jax.device_put(params)
    keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), 1))(jnp.asarray(seeds, jnp.uint32))
    result = np.empty((len(seeds), len(features), params.bias_2.shape[-1]), np.float32)
    for start in range(0, len(features), _CHUNK):
        rows = slice(start, start + _CHUNK)
        result[:, rows] = _forward_seeds(params, jnp.asarray(features[rows]), keys, start, dropout=dropout)
    return result


def initial_params(seed: int, dim: int, hidden: int, out: int) -> ProbeParams:
    """Initialize one seed's layers as torch.nn.Linear: uniform within 1 / sqrt(inputs)."""
    random = np.random.default_rng(seed)

    def uniform(inputs: int, *shape: int) -> np.ndarray:
        return random.uniform(-(inputs**-0.5), inputs**-0.5, shape).astype(np.float32)

    return ProbeParams(
        uniform(dim, dim, hidden), uniform(dim, hidden), uniform(hidden, hidden, out), uniform(hidden, out)
    )


def epoch_order(seed: int, epoch: int, n: int) -> Int32[np.ndarray, " n"]:
    """Return the permutation of rows for a seed and an epoch, counted from 0."""
    # The second number is never 0, because [seed, 0] would repeat the stream of the initial values.
    return np.random.default_rng([seed, epoch + 1]).permutation(n).astype(np.int32)


@partial(jax.jit, static_argnames="dropout", donate_argnums=0)
def _epoch(
    state: Any,
    data: tuple[Float32[Array, "n dim"], Float32[Array, "n out"]],
    orders: Int32[Array, "steps seeds batch"],
    weights: Float32[Array, "steps batch"],
    keys: Array,
    rate: float,
    first: int,
    *,
    dropout: float,
) -> Any:
    """Train for one epoch. weights: 1 for a row, 0 for padding. first: number of steps before this epoch."""

    def step(state: Any, batch: Any) -> tuple[Any, None]:
        number, orders, weights = batch

        def update(state: Any, order: Int32[Array, " batch"], key: Array) -> Any:
            params, moments = state
            x, y = data[0][order], data[1][order]
            gradient = jax.grad(_loss)(params, x, y, weights, jax.random.fold_in(key, number), dropout)
            change, moments = _ADAM.update(gradient, moments)
            return jax.tree.map(lambda part, by: part - rate * by, params, change), moments

        return jax.vmap(update)(state, orders, keys), None

    numbers = first + jnp.arange(len(orders))
    return jax.lax.scan(step, state, (numbers, orders, weights))[0]


def _loss(
    params: ProbeParams,
    x: Float32[Array, "batch dim"],
    y: Float32[Array, "batch out"],
    weights: Float32[Array, " batch"],
    key: Array,
    dropout: float,
) -> Float32[Array, ""]:
    losses = optax.sigmoid_binary_cross_entropy(_forward(params, x, key, dropout), y)
    return (losses.mean(axis=1) * weights).sum() / weights.sum()


def _forward(
    params: ProbeParams, x: Float32[Array, "batch dim"], key: Array, dropout: float
) -> Float32[Array, "batch out"]:
    hidden = _matmul(x, params.weight_1) + params.bias_1
    if dropout:
        hidden = jnp.where(jax.random.bernoulli(key, 1 - dropout, hidden.shape), hidden / (1 - dropout), 0)
    return _matmul(hidden, params.weight_2) + params.bias_2


@partial(jax.jit, static_argnames="dropout")
def _forward_seeds(
    params: ProbeParams, x: Float32[Array, "n dim"], keys: Array, start: int, *, dropout: float
) -> Float32[Array, "seeds n out"]:
    return jax.vmap(lambda params, key: _forward(params, x, jax.random.fold_in(key, start), dropout))(
        params, keys
    )
