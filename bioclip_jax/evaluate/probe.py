"""The probe of FishNet and AwA2: two linear layers on frozen vectors, several seeds trained side by side.

Linear, dropout, linear, with no activation between, on vectors of any length; binary cross-entropy on every
output; Adam, whose learning rate halves every 20 epochs (BioCLIP 2, https://arxiv.org/abs/2505.23883).
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
# Rows whose hidden layer is held at a time.
_CHUNK = 4096
# torch's defaults, which the published figures were reached with.
_ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)
# A GPU would round factors to 10 bits.
_matmul = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class ProbeParams(NamedTuple):
    """The layers, one probe a seed: logits = (x @ weight_1 + bias_1) @ weight_2 + bias_2."""

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
    """Train one probe a seed on `targets`, which are 0 or 1; each depends on its own seed alone.

    Every epoch takes the rows in another order, in batches whose last one is smaller. Runs on one device,
    whatever their number. `dropout`: the share of the hidden layer that is set to zero.
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
    """What each seed's probe answers, without dropout."""
    weight_1, bias_1, weight_2, bias_2 = (np.asarray(part, np.float64) for part in params)
    # With no activation between them, both layers are one matrix, hundreds of times smaller than the first.
    weight = np.matmul(weight_1, weight_2)
    bias = np.matmul(bias_1[:, None], weight_2) + bias_2[:, None]
    return (np.matmul(features, weight.astype(np.float32)) + bias).astype(np.float32)


def dropout_logits(
    params: ProbeParams,
    features: Float32[np.ndarray, "n dim"],
    seeds: Sequence[int],
    dropout: float = DROPOUT,
) -> Float32[np.ndarray, "seeds n out"]:
    """What each seed's probe answers while dropout is still at work, as in the reference's code, whose probe is never
    put into evaluation mode before it is scored.
    """
    params = jax.device_put(params)
    keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), 1))(jnp.asarray(seeds, jnp.uint32))
    found = np.empty((len(seeds), len(features), params.bias_2.shape[-1]), np.float32)
    for start in range(0, len(features), _CHUNK):
        rows = slice(start, start + _CHUNK)
        found[:, rows] = _answer_all(params, jnp.asarray(features[rows]), keys, start, dropout=dropout)
    return found


def initial_params(seed: int, dim: int, hidden: int, out: int) -> ProbeParams:
    """One seed's layers before training: weights and biases uniform within 1 / sqrt(inputs), as torch.nn.Linear's."""
    random = np.random.default_rng(seed)

    def uniform(inputs: int, *shape: int) -> np.ndarray:
        return random.uniform(-(inputs**-0.5), inputs**-0.5, shape).astype(np.float32)

    return ProbeParams(
        uniform(dim, dim, hidden), uniform(dim, hidden), uniform(hidden, hidden, out), uniform(hidden, out)
    )


def epoch_order(seed: int, epoch: int, n: int) -> Int32[np.ndarray, " n"]:
    """The order in which a seed's probe sees the rows in an epoch, counted from 0."""
    # One of the two numbers is never 0: [seed, 0] would be the stream of the initial values.
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
    """`weights`: 1 for a row of a batch, 0 for one that only fills it up. `first`: steps in the epochs before."""

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
    losses = optax.sigmoid_binary_cross_entropy(_answer(params, x, key, dropout), y)
    return (losses.mean(axis=1) * weights).sum() / weights.sum()


def _answer(
    params: ProbeParams, x: Float32[Array, "batch dim"], key: Array, dropout: float
) -> Float32[Array, "batch out"]:
    hidden = _matmul(x, params.weight_1) + params.bias_1
    if dropout:
        hidden = jnp.where(jax.random.bernoulli(key, 1 - dropout, hidden.shape), hidden / (1 - dropout), 0)
    return _matmul(hidden, params.weight_2) + params.bias_2


@partial(jax.jit, static_argnames="dropout")
def _answer_all(
    params: ProbeParams, x: Float32[Array, "n dim"], keys: Array, start: int, *, dropout: float
) -> Float32[Array, "seeds n out"]:
    return jax.vmap(lambda params, key: _answer(params, x, jax.random.fold_in(key, start), dropout))(
        params, keys
    )
