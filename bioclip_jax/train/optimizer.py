"""Optimizers: AdamW in float32 or pure bfloat16, Muon; schedule, decay mask, clipping, frozen towers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jaxtyping import Array, Float32, Int

from bioclip_jax.errors import UserError

# Biases, norms and scalars: in the reference every tensor with fewer than two dimensions. Matched by name,
# because stacking the blocks gives their arrays one more dimension than in the reference.
_NOT_DECAYED = frozenset({"bias", "scale", "logit_scale", "logit_bias", "class_embedding"})


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer settings.

    name: "adamw", as the reference, or "muon": orthogonalized momentum for the blocks' matrices, scaled to a
    root mean square of muon_rms (0.2 is AdamW's, https://arxiv.org/abs/2502.16982), and AdamW for the rest.
    rounding: of parameters stored in bfloat16 (precision pure_bf16), "nearest" or "stochastic".
    clip_norm: largest global gradient norm, None for no clipping. frozen: towers that are not trained, of
    "visual" and "text".
    """

    name: Literal["adamw", "muon"] = "adamw"
    beta1: float = 0.9
    beta2: float = 0.98
    eps: float = 1e-6
    muon_rms: float = 0.2
    rounding: Literal["nearest", "stochastic"] = "nearest"
    clip_norm: float | None = None
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(
                    f"config.optimizer.{name} is {getattr(self, name)}; it must be at least 0 and below 1"
                )
        for name in ("eps", "muon_rms"):
            if getattr(self, name) <= 0:
                raise UserError(f"config.optimizer.{name} is {getattr(self, name)}; it must be above 0")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise UserError(f"config.optimizer.clip_norm is {self.clip_norm}; it must be above 0, or unset")
        for tower in self.frozen:
            if tower not in ("visual", "text"):
                raise UserError(
                    f'config.optimizer.frozen names "{tower}"; the towers are "visual" and "text"'
                )


def cosine_schedule(learning_rate: float, warmup_steps: int, total_steps: int) -> Callable[[Any], Any]:
    """Return the learning rate as a function of the step, from 0: linear warmup, then a half cosine to 0.

        lr (step + 1) / warmup                                      for step < warmup
        lr / 2 (1 + cos(pi (step - warmup) / (total - warmup)))     otherwise

    Source: open_clip's cosine_lr.
    """

    def schedule(step: Any) -> Any:
        warmup = learning_rate * (step + 1) / max(warmup_steps, 1)
        progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
        cosine = 0.5 * learning_rate * (1 + jnp.cos(math.pi * jnp.clip(progress, 0, 1)))
        return jnp.where(step < warmup_steps, warmup, cosine)

    return schedule


def decay_mask(params: Any) -> Any:
    """Return True for every array that weight decay applies to."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key not in _NOT_DECAYED, params)


def make_optimizer(
    config: OptimizerConfig, schedule: Callable[[Any], Any], weight_decay: float, *, pure_bf16: bool = False
) -> optax.GradientTransformation:
    """Return the gradient transformation of the CLIP's parameters; pure_bf16: their arrays are bfloat16."""
    if pure_bf16:
        adamw = bf16_adamw(config, schedule, weight_decay)
    else:
        adamw = optax.adamw(
            schedule,
            b1=config.beta1,
            b2=config.beta2,
            eps=config.eps,
            weight_decay=weight_decay,
            mask=decay_mask,
        )
    update = adamw
    if config.name == "muon":
        muon = optax.contrib.muon(
            schedule,
            weight_decay=weight_decay,
            consistent_rms=config.muon_rms,
            muon_weight_dimension_numbers=_stacked_matrices,
        )
        update = optax.partition({"muon": muon, "adamw": adamw}, _block_kernels)
    # Always a link in the chain, so that a resumed run can enable clipping after it diverged.
    clip = optax.identity() if config.clip_norm is None else optax.clip_by_global_norm(config.clip_norm)
    optimizer = optax.chain(clip, update)
    if not config.frozen:
        return optimizer

    def labels(params: Any) -> Any:
        label = {True: "frozen", False: "trained"}
        return jax.tree_util.tree_map_with_path(lambda path, _: label[path[0].key in config.frozen], params)

    return optax.partition({"trained": optimizer, "frozen": optax.set_to_zero()}, labels)


class Bf16AdamWState(NamedTuple):
    """Number of updates, and the moments in the parameters' bfloat16."""

    count: Int[Array, ""]
    mu: Any
    nu: Any


def bf16_adamw(
    config: OptimizerConfig, schedule: Callable[[Any], Any], weight_decay: float
) -> optax.GradientTransformation:
    """AdamW with bfloat16 parameters and moments, rounded after each of PyTorch's operations.

    Each operation computes in float32 and rounds its result, as torch.optim.AdamW does on bfloat16 tensors:
    a decay by 1 - lr * weight_decay = 0.99998 thus rounds back to the original value. With config.rounding
    "stochastic" the parameters take one float32 step that is rounded up or down at random, with the exact
    step as its expectation (https://arxiv.org/abs/2010.06192); the moments round to nearest. Updates are
    float32 differences, which optax.apply_updates adds exactly.
    """

    def init(params: Any) -> Bf16AdamWState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return Bf16AdamWState(jnp.zeros((), jnp.int32), zeros, zeros)

    def update(gradients: Any, state: Bf16AdamWState, params: Any) -> tuple[Any, Bf16AdamWState]:
        count = state.count + 1
        rate = jnp.asarray(schedule(state.count), jnp.float32)
        correction1, correction2 = (
            1 - beta ** count.astype(jnp.float32) for beta in (config.beta1, config.beta2)
        )

        def first_moment(m: Array, g: Array) -> Array:
            m = m.astype(jnp.float32)
            return _rounded(m + (1 - config.beta1) * (_rounded(g) - m))

        def second_moment(v: Array, g: Array) -> Array:
            return _rounded(
                _rounded(config.beta2 * v.astype(jnp.float32)) + (1 - config.beta2) * _rounded(g) ** 2
            )

        def difference(param: Array, decays: bool, m: Array, v: Array, key: Array) -> Array:
            param = param.astype(jnp.float32)
            decayed = param * (1 - rate * weight_decay) if decays else param
            denominator = _rounded(_rounded(_rounded(jnp.sqrt(v)) / jnp.sqrt(correction2)) + config.eps)
            step = -rate / correction1 * (m / denominator)
            if config.rounding == "stochastic":
                return stochastic_bf16(decayed + step, key) - param
            return _rounded(_rounded(decayed) + step) - param

        mu = jax.tree.map(first_moment, state.mu, gradients)
        nu = jax.tree.map(second_moment, state.nu, gradients)
        leaves, structure = jax.tree.flatten(params)
        # Keys depend on the count alone, so that a resumed run repeats them.
        keys = structure.unflatten(
            jax.random.split(jax.random.fold_in(jax.random.key(0), count), len(leaves))
        )
        updates = jax.tree.map(difference, params, decay_mask(params), mu, nu, keys)
        mu, nu = (jax.tree.map(lambda x: x.astype(jnp.bfloat16), moments) for moments in (mu, nu))
        return updates, Bf16AdamWState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def stochastic_bf16(x: Float32[Array, "*shape"], key: Array) -> Float32[Array, "*shape"]:
    """Round at random to one of the two neighboring bfloat16 values, with expectation `x`."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    rounded = jax.lax.bitcast_convert_type((bits + noise) >> 16 << 16, jnp.float32)
    # The addition could change infinity and NaN into other values.
    return jnp.where(jnp.isfinite(x), rounded, x)


def _rounded(x: Array) -> Float32[Array, "..."]:
    """Round float32 to the nearest bfloat16 value; unlike a pair of casts, XLA may not remove it."""
    return jax.lax.reduce_precision(x.astype(jnp.float32), exponent_bits=8, mantissa_bits=7)


def _block_kernels(params: Any) -> Any:
    """Label the matrices of the blocks "muon" and all other arrays "adamw"."""

    def label(path: tuple[Any, ...], _: Any) -> str:
        names = {entry.key for entry in path}
        return "muon" if {"blocks", "kernel"} <= names else "adamw"

    return jax.tree_util.tree_map_with_path(label, params)


def _stacked_matrices(params: Any) -> Any:
    """Declare each array a stack [layers, in, *out] of matrices [in, out], orthogonalized one by one."""
    return jax.tree.map(lambda x: optax.contrib.MuonDimensionNumbers(1, tuple(range(2, x.ndim))), params)
