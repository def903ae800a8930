"""The optimizers, AdamW as the reference runs it: schedule, decay mask, clipping, frozen towers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from bioclip_jax.errors import UserError

# Biases, norms and scalars: in the reference every tensor with fewer than two dimensions. Told by name,
# because the arrays of the blocks are stacked and have one dimension more than in the reference.
_NOT_DECAYED = frozenset({"bias", "scale", "logit_scale", "logit_bias", "class_embedding"})


@dataclass(frozen=True)
class OptimizerConfig:
    """How gradients become updates.

    name: "adamw", as the reference, or "muon": the blocks' matrices move along orthogonalised momentum, with a root
    mean square of muon_rms (0.2 is AdamW's, https://arxiv.org/abs/2502.16982), everything else by AdamW.
    clip_norm: largest global gradient norm, None for no clipping. frozen: towers that stay as they are, of "visual"
    and "text".
    """

    name: Literal["adamw", "muon"] = "adamw"
    beta1: float = 0.9
    beta2: float = 0.98
    eps: float = 1e-6
    muon_rms: float = 0.2
    clip_norm: float | None = None
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise UserError(f"config.optimizer.clip_norm is {self.clip_norm}; it must be above 0, or unset")
        for tower in self.frozen:
            if tower not in ("visual", "text"):
                raise UserError(f'config.optimizer.frozen names "{tower}"; the towers are "visual" and "text"')


def cosine_schedule(learning_rate: float, warmup_steps: int, total_steps: int) -> Callable[[Any], Any]:
    """Learning rate at a step (counted from 0): linear warm-up, then a half cosine to 0.

    lr * (step + 1) / warmup below `warmup_steps`, then lr / 2 * (1 + cos(pi * (step - warmup) / (total - warmup))).
    Source: open_clip's cosine_lr.
    """

    def schedule(step: Any) -> Any:
        warm = learning_rate * (step + 1) / max(warmup_steps, 1)
        progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
        cosine = 0.5 * learning_rate * (1 + jnp.cos(math.pi * jnp.clip(progress, 0, 1)))
        return jnp.where(step < warmup_steps, warm, cosine)

    return schedule


def decay_mask(params: Any) -> Any:
    """True for every array that weight decay pulls on."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key not in _NOT_DECAYED, params)


def make_optimizer(
    config: OptimizerConfig, schedule: Callable[[Any], Any], weight_decay: float
) -> optax.GradientTransformation:
    """The gradient transformation over the CLIP's parameter dict."""
    adamw = optax.adamw(
        schedule, b1=config.beta1, b2=config.beta2, eps=config.eps, weight_decay=weight_decay, mask=decay_mask
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
    # A place in the chain with or without clipping, so that a run can take it up where it went wrong.
    clip = optax.identity() if config.clip_norm is None else optax.clip_by_global_norm(config.clip_norm)
    optimizer = optax.chain(clip, update)
    if not config.frozen:
        return optimizer

    def labels(params: Any) -> Any:
        return {
            name: jax.tree.map(lambda _: "frozen" if name in config.frozen else "trained", tree)
            for name, tree in params.items()
        }

    return optax.partition({"trained": optimizer, "frozen": optax.set_to_zero()}, labels)


def _block_kernels(params: Any) -> Any:
    """ "muon" for the matrices of the blocks, "adamw" for the rest."""

    def label(path: tuple[Any, ...], _: Any) -> str:
        names = {entry.key for entry in path}
        return "muon" if {"blocks", "kernel"} <= names else "adamw"

    return jax.tree_util.tree_map_with_path(label, params)


def _stacked_matrices(params: Any) -> Any:
    """Each array is a stack [layers, in, *out], whose layers are orthogonalised one by one as matrices [in, out]."""
    return jax.tree.map(lambda x: optax.contrib.MuonDimensionNumbers(1, tuple(range(2, x.ndim))), params)
