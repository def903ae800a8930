"""An experiment, resolved and checked."""

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
    """Evaluation while training: zero-shot on `data.val`, and what is asked for beside it.

    text_type: how a class is named (asis, sci, taxon, com, sci_com, taxon_com). templates: "openai" averages
    the 81 prompts of the reference's evaluation, "one" uses "a photo of {}." alone.
    few_shot: so many images a class, for few-shot classification of `data.val`; classes with fewer are left
    out.
    suite: a YAML file as in `bioclip-jax eval SUITE.yaml`, all of it scored at the same steps.
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
                f"config.evaluate.few_shot is {self.few_shot}; each must be at least 1 image a class"
            )


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run; `config.json` of the training directory is this as JSON.

    Steps count updates; total_steps overrides epochs, and 0 leaves it to them. `checkpoint_every` and
    `evaluate_every` are in steps, 0 is off (the last step is still saved). `keep_checkpoints`: how many of
    the newest stay, None keeps all. `save_attempts`: how often a checkpoint is tried that cannot be written.
    `loss`: "infonce" (CLIP's softmax over the batch) or "siglip" (a sigmoid for each pair).
    `micro_batches`: parts of the batch that go through the towers one after another; the gradient is that of
    the full batch, for the time of a forward pass more.
    `precision`: of the towers' arithmetic: "fp32"; "bf16"; "bf16_params", which also differentiates by and
    sends bfloat16 copies of the parameters; "fp8", an experiment, whose blocks multiply in 8 bits and do the
    rest in bfloat16. In each of them the parameters that the optimizer holds and the loss are float32.
    "pure_bf16": parameters, gradients and AdamW's moments are bfloat16, without float32 master weights, as in
    open_clip's pure_bf16; the loss is float32.
    `remat`: what the backward pass computes again instead of keeping it, see models.options.Options.
    `attention`: "auto" takes cuDNN's where it fits. `unroll`: how many blocks of a tower stand side by side
    in the compiled program (1: a scan over them).
    `patch_dropout`: the share of patches that the image tower does not see, until the share
    `patch_dropout_until` of the steps is done; None takes that of init_from's configuration, or 0.
    `deterministic`: on a GPU, whether XLA is told to repeat every bit, for some speed; a CPU always does.
    `compiler_options`: of XLA, NAME=VALUE, on NVIDIA's GPUs; what this version does not know is left out, and
    told.
    `max_skipped_steps`: a run ends after so many updates in a row that were skipped because loss or gradient
    was not finite. `profile`: the first and the last step of a trace, in WORKDIR/profile; () for none.
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
                f"config.precision is pure_bf16, which {self.optimizer.name} does not have; "
                'set config.optimizer.name to "adamw"'
            )
        if self.optimizer.rounding == "stochastic" and self.precision != "pure_bf16":
            raise UserError(
                f"config.optimizer.rounding is stochastic, and with precision {self.precision} the "
                f"parameters are "
                'float32; set config.precision to "pure_bf16" too'
            )
        if self.deterministic and self.attention == "cudnn":
            raise UserError(
                "config.deterministic is set, and the backward pass of cuDNN's attention is not; "
                'set config.attention to "auto" or "xla"'
            )
        if self.profile and not (len(self.profile) == 2 and 1 <= self.profile[0] <= self.profile[1]):
            raise UserError(
                f"config.profile is {self.profile}; give the first and the last step to trace, as (20, 22)"
            )
        for option in self.compiler_options:
            if "=" not in option:
                raise UserError(f"config.compiler_options holds {option!r}; options are given as NAME=VALUE")
        if self.evaluate_every and not self.data.val:
            raise UserError(
                "config.evaluate_every asks for an evaluation, but config.data.val is not set; set it too"
            )
        for name in ("total_steps", "epochs"):
            if (getattr(self, name) or 0) < 0:
                raise UserError(f"config.{name} is {getattr(self, name)}; it must not be negative")
        if not self.total_steps and not self.epochs:
            raise UserError("the config trains for no step; set total_steps or epochs above 0")

    @property
    def dtype(self) -> Any:
        """What the towers compute in."""
        return jnp.float32 if self.precision == "fp32" else jnp.bfloat16

    @property
    def model_options(self) -> dict[str, Any]:
        """The options of models.CLIP that follow from the config."""
        attention = self.attention
        if self.deterministic and attention == "auto":
            # The backward pass of cuDNN's attention adds in an order that changes from run to run.
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
        """The patch dropout of the update that makes `step` updates complete; needs total_steps."""
        return self.patch_dropout or 0.0 if step <= self.patch_dropout_until * self.total_steps else 0.0

    def with_steps(self, samples: int) -> TrainConfig:
        """The config with `total_steps` filled in from `epochs` over `samples` samples."""
        if self.total_steps:
            return self
        return replace(self, total_steps=max(1, math.floor(self.epochs * samples / self.global_batch_size)))


def train_config(values: Mapping[str, Any]) -> TrainConfig:
    """Check an experiment's mapping (a ConfigDict's `to_dict()`, or config.json). UserError if it is wrong."""
    return build(TrainConfig, values)
