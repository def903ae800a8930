"""Configuration of an experiment, validated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax.numpy as jnp

from bioclip_jax.checkpoint import build
from bioclip_jax.distributed import MeshConfig
from bioclip_jax.errors import UserError
from bioclip_jax.models import Implementation, Remat
from bioclip_jax.pipeline import DataConfig, ReplayConfig
from bioclip_jax.pipeline.images import ImageConfig
from bioclip_jax.text import CaptionConfig

from .optimizer import OptimizerConfig


@dataclass(frozen=True)
class EvaluateConfig:
    """Evaluation while training: zero-shot on `data.val`, optionally few-shot and a suite.

    text_type: class names in prompts: asis, sci, taxon, com, sci_com or taxon_com. templates: "openai"
    averages the 81 prompts of the reference's evaluation, "one" uses "a photo of {}." alone.
    few_shot: numbers of images per class for few-shot classification of `data.val`; classes with fewer images
    are skipped. suite: a YAML file as in `bioclip-jax eval SUITE.yaml`, scored at the same steps.
    """

    text_type: str = "taxon_com"
    templates: Literal["openai", "one"] = "openai"
    batch_size: int = 256
    few_shot: tuple[int, ...] = ()
    suite: str | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"config.evaluate.batch_size is {self.batch_size}; it must be at least 1")
        if any(shots < 1 for shots in self.few_shot):
            raise UserError(
                f"config.evaluate.few_shot is {self.few_shot}; each must be at least 1 image per class"
            )


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a run; `config.json` of the training directory is this as JSON.

    Training: total_steps counts updates and overrides epochs unless it is 0 or None. init_from: MODEL to
    start from. loss: "infonce" (CLIP's softmax over the batch) or "siglip" (a sigmoid per pair).

    Model: patch_dropout is the share of patches dropped from the image tower's input, until the share
    patch_dropout_until of the steps; None takes that of init_from's configuration, or 0.

    Precision of the towers' arithmetic, with float32 loss, parameters and optimizer unless noted: "fp32";
    "bf16"; "bf16_params", which also differentiates by, and communicates, bfloat16 copies of the parameters;
    "fp8", experimental, whose blocks multiply in 8 bits and compute the rest in bfloat16; "pure_bf16", with
    bfloat16 parameters, gradients and AdamW moments, as in open_clip's pure_bf16.

    Time and memory: micro_batches splits the batch to save memory, with the same gradient. gradient_cache:
    what is kept of all micro-batches between forward and backward pass. "features" encodes each micro-batch
    again before its backward pass, which costs one more forward pass and holds the activations of one;
    "residuals" holds what remat saves of all of them, with remat "full" the inputs of the blocks, and
    recomputes only what remat does. remat: activations recomputed by the backward pass, see
    models.options.Options, as for attention: "auto" uses cuDNN's if supported. unroll: number of blocks per
    iteration of the scan over a tower. deterministic: bit-reproducible on a GPU, at some cost; a CPU always
    is. compiler_options: XLA options NAME=VALUE on NVIDIA's GPUs; unknown ones are reported and ignored.
    mesh: fsdp splits parameters, gradients and optimizer state between updates. During one a device holds
    all parameters and their gradients, in float32 with micro-batches, else in the towers' type.

    Bookkeeping, in steps: log_every; checkpoint_every and evaluate_every, 0 is off (the last step is still
    saved). keep_checkpoints: number of newest checkpoints to keep, None for all. save_attempts: failed saves
    in a row that end the run. max_skipped_steps: updates skipped in a row, because loss or gradient was not
    finite, that end the run. profile: first and last step of a trace in WORKDIR/profile, () for none.
    """

    data: DataConfig
    model: str
    global_batch_size: int
    learning_rate: float
    total_steps: int | None = None
    epochs: float | None = None
    init_from: str | None = None
    weight_decay: float = 0.2
    warmup_steps: int = 0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loss: Literal["infonce", "siglip"] = "infonce"
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    caption: CaptionConfig = field(default_factory=CaptionConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    micro_batches: int = 1
    gradient_cache: Literal["features", "residuals"] = "features"
    precision: Literal["fp32", "bf16", "bf16_params", "pure_bf16", "fp8"] = "fp32"
    remat: Remat = "none"
    attention: Implementation = "auto"
    unroll: int = 1
    patch_dropout: float | None = None
    patch_dropout_until: float = 1.0
    mesh: MeshConfig = field(default_factory=MeshConfig)
    deterministic: bool = False
    compiler_options: tuple[str, ...] = ()
    seed: int = 0
    log_every: int = 10
    checkpoint_every: int = 0
    keep_checkpoints: int | None = 3
    save_attempts: int = 3
    max_skipped_steps: int = 10
    profile: tuple[int, ...] = ()
    evaluate_every: int = 0
    wandb_project: str | None = None

    def __post_init__(self) -> None:
        at_least_one = (
            "global_batch_size",
            "log_every",
            "micro_batches",
            "save_attempts",
            "max_skipped_steps",
            "unroll",
        )
        for name in at_least_one:
            if getattr(self, name) < 1:
                raise UserError(f"config.{name} is {getattr(self, name)}; it must be at least 1")
        for name in (
            "learning_rate",
            "weight_decay",
            "warmup_steps",
            "checkpoint_every",
            "evaluate_every",
            "seed",
        ):
            if getattr(self, name) < 0:
                raise UserError(f"config.{name} is {getattr(self, name)}; it must not be negative")
        if not 0 <= (self.patch_dropout or 0) < 1:
            raise UserError(
                f"config.patch_dropout is {self.patch_dropout}; it must be at least 0 and below 1"
            )
        if not 0 <= self.patch_dropout_until <= 1:
            raise UserError(
                f"config.patch_dropout_until is {self.patch_dropout_until}; it is a share, from 0 to 1"
            )
        if self.keep_checkpoints is not None and self.keep_checkpoints < 1:
            raise UserError(
                f"config.keep_checkpoints is {self.keep_checkpoints}; keep at least 1, or unset it for all"
            )
        if self.precision == "pure_bf16" and self.optimizer.name != "adamw":
            raise UserError(
                f"config.precision is pure_bf16, which {self.optimizer.name} does not support; "
                'set config.optimizer.name to "adamw"'
            )
        if self.optimizer.rounding == "stochastic" and self.precision != "pure_bf16":
            raise UserError(
                f"config.optimizer.rounding is stochastic, and with precision {self.precision} the "
                'parameters are float32; set config.precision to "pure_bf16" too'
            )
        if self.deterministic and self.attention.startswith("cudnn"):
            raise UserError(
                "config.deterministic is set, but cuDNN's attention has a nondeterministic backward pass; "
                'set config.attention to "auto" or "xla"'
            )
        if self.profile and not (len(self.profile) == 2 and 1 <= self.profile[0] <= self.profile[1]):
            raise UserError(
                f"config.profile is {self.profile}; give the first and the last step to trace, as (20, 22)"
            )
        for option in self.compiler_options:
            if "=" not in option:
                raise UserError(
                    f"config.compiler_options contains {option!r}; options are given as NAME=VALUE"
                )
        if self.evaluate_every and not self.data.val:
            raise UserError(
                "config.evaluate_every is set, but config.data.val is not; set it with --config.data.val=PATH"
            )
        for name in ("total_steps", "epochs"):
            if (getattr(self, name) or 0) < 0:
                raise UserError(f"config.{name} is {getattr(self, name)}; it must not be negative")
        if not self.total_steps and not self.epochs:
            raise UserError(
                "config.total_steps and config.epochs are both 0 or not set; set one of them above 0"
            )

    @property
    def dtype(self) -> Any:
        """The towers' compute type."""
        return jnp.float32 if self.precision == "fp32" else jnp.bfloat16

    @property
    def model_options(self) -> dict[str, Any]:
        """The config's options of models.CLIP."""
        attention = self.attention
        if self.deterministic and attention == "auto":
            # The backward pass of cuDNN's attention sums in a nondeterministic order.
            attention = "xla"
        return {
            "dtype": self.dtype,
            "remat": self.remat,
            "unroll": self.unroll,
            "attention": attention,
            "matmul": "fp8" if self.precision == "fp8" else "default",
            "replay_projector": self.replay.batch_size > 0,
            "logit_bias": self.loss == "siglip",
        }

    def patch_dropout_at(self, step: int) -> float:
        """Return the patch dropout of update number `step`, from 1; needs total_steps."""
        return self.patch_dropout or 0.0 if step <= self.patch_dropout_until * self.total_steps else 0.0

    def with_steps(self, samples: int) -> TrainConfig:
        """Return the config with `total_steps` computed from `epochs` over `samples` samples."""
        if self.total_steps:
            return self
        return replace(self, total_steps=max(1, math.floor(self.epochs * samples / self.global_batch_size)))


def train_config(values: Mapping[str, Any]) -> TrainConfig:
    """Build and validate a TrainConfig from a ConfigDict's `to_dict()` or config.json.

    Raises UserError if a key is unknown or a value invalid.
    """
    return build(TrainConfig, values)
