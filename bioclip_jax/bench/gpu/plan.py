"""The measurements of bench gpu, in the order of their worth, with a first guess of their duration."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bioclip_jax.checkpoint import to_dict
from bioclip_jax.models import get_config
from bioclip_jax.train import TrainConfig

# The settings before the defaults were tuned for Hopper, for a comparison in the same call.
BEFORE = {
    "gradient_cache": "features",
    "remat": "none",
    "micro_batches": 16,
    "unroll": 1,
    "attention": "auto",
    "compiler_options": [],
}
# gradient_cache, remat and micro_batches; those that do not fit into memory are recorded as such.
_MEMORY = (
    ("features", "none", 16),
    ("features", "dots", 8),
    ("features", "attention", 8),
    ("features", "full", 4),
    ("residuals", "full", 4),
    ("residuals", "full", 8),
    ("residuals", "full", 16),
)
_TEXT_LENGTHS = ((), (40,), (24, 32, 48))
_FLAGS = (
    "xla_gpu_enable_triton_gemm=false",
    "xla_gpu_enable_command_buffer=",
    "xla_gpu_enable_latency_hiding_scheduler=true",
)


@dataclass(frozen=True)
class Sizes:
    """Sizes of the measurements.

    pairs, replay_pairs: of a device and a step. steps: of a turn. turns: of the comparison. images:
    photographs to embed. quick: True if the figures mean nothing, so that a CPU will do.
    """

    pairs: int
    replay_pairs: int
    steps: int = 2
    turns: int = 3
    images: int = 2048
    quick: bool = False

    @classmethod
    def smallest(cls, pairs: int, replay_pairs: int) -> Sizes:
        """Return the fewest steps and images, to try the command."""
        return cls(pairs, replay_pairs, steps=1, turns=1, images=8, quick=True)


@dataclass(frozen=True)
class Measurement:
    """One subprocess: `task` is a method of tasks.Tasks, called with `arguments`.

    group: section of the report. title: its row. minutes: a conservative guess for an H100 with an empty
    compilation cache.
    """

    name: str
    task: str
    group: str
    title: str
    minutes: float
    arguments: dict[str, Any]


def plan_measurements(config: TrainConfig, sizes: Sizes) -> list[Measurement]:
    """Return all measurements of a config, whose arguments hold configs as JSON with one device's batch."""
    default = _one_device(config, sizes)
    before = _changed(default, BEFORE)
    steps = {"steps": sizes.steps}
    listed = [
        Measurement("ceiling", "ceiling", "ceiling", "matrix products", 1, {"config": default}),
        Measurement(
            "step",
            "compare",
            "step",
            "the training step",
            6,
            {"configs": {"before": before, "default": default}, "turns": sizes.turns, **steps},
        ),
        Measurement("peer", "peer", "peer", "open_clip", 7, {"config": default, "theirs": before, **steps}),
    ]
    for name, group, title, changes in _choices(config, default):
        arguments = {"config": _changed(default, changes), **steps}
        listed.append(Measurement(name, "train", group, title, 3, arguments))
    listed.append(
        Measurement("checkpoint", "checkpoint", "checkpoint", "a checkpoint", 3, {"config": default})
    )
    for precision in ("bf16", "fp32"):
        arguments = {"architecture": config.model, "precision": precision, "images": sizes.images}
        name = f"inference-{precision}"
        listed.append(Measurement(name, "inference", "inference", f"inference, {precision}", 3, arguments))
    return [
        *listed,
        Measurement("profile", "profile", "profile", "costliest kernels", 2, {"config": default}),
    ]


def _choices(
    config: TrainConfig, default: Mapping[str, Any]
) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield (name, group, title, changes), one factor at a time, without those that change nothing."""
    for name, title, changes in _every_choice(config):
        if any(_value(default, key) != value for key, value in changes.items()):
            yield name, "choices", title, changes
    deterministic = {"deterministic": True}
    if config.attention.startswith("cudnn"):
        deterministic["attention"] = "auto"
    yield "deterministic", "deterministic", "deterministic operations", deterministic


def _every_choice(config: TrainConfig) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for attention in _values_of("attention"):
        # "auto" is cuDNN's on the GPUs that this compares.
        if {attention, config.attention} != {"auto", "cudnn"}:
            yield f"attention-{attention}", f"attention={attention}", {"attention": attention}
    for cache, remat, parts in _MEMORY:
        changes = {"gradient_cache": cache, "remat": remat, "micro_batches": parts}
        title = ", ".join(f"{key}={value}" for key, value in changes.items())
        yield f"{cache}-{remat}-{parts}", title, changes
    for unroll in (1, 4, get_config(config.model).vision.layers):
        yield f"unroll-{unroll}", f"unroll={unroll}", {"unroll": unroll}
    for lengths in _TEXT_LENGTHS:
        name = "-".join(map(str, lengths)) or "full"
        yield f"text-{name}", f"caption.lengths={lengths}", {"caption.lengths": list(lengths)}
    for precision in _values_of("precision"):
        # float32 takes many times as long, and no run of this size would use it.
        if precision != "fp32":
            yield f"precision-{precision}", f"precision={precision}", {"precision": precision}
    for flag in _FLAGS:
        name, _, value = flag.partition("=")
        others = [other for other in config.compiler_options if other.partition("=")[0] != name]
        if flag in config.compiler_options:
            # The config sets it, so the comparison is without it.
            yield f"flag-no-{name}", f"without {name}", {"compiler_options": others}
        else:
            yield f"flag-{name}", f"{name}={value}", {"compiler_options": [*others, flag]}


def _values_of(key: str) -> tuple[str, ...]:
    """Return the values of a key of TrainConfig that is a Literal."""
    return typing.get_args(typing.get_type_hints(TrainConfig)[key])


def _one_device(config: TrainConfig, sizes: Sizes) -> dict[str, Any]:
    """Return the config as a mapping, with the batch of one device."""
    replay = dataclasses.replace(config.replay, batch_size=sizes.replay_pairs)
    return to_dict(dataclasses.replace(config, global_batch_size=sizes.pairs, replay=replay, init_from=None))


def _changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a nested mapping with other values of dotted keys."""
    changed = dict(values)
    for key, value in changes.items():
        first, _, rest = key.partition(".")
        changed[first] = _changed(changed[first], {rest: value}) if rest else value
    return changed


def _value(values: Mapping[str, Any], key: str) -> Any:
    first, _, rest = key.partition(".")
    return _value(values[first], rest) if rest else values[first]
