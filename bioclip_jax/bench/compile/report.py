"""Measurement of a compiled update, and its table."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from bioclip_jax.errors import UserError
from bioclip_jax.files import check_outputs, write_text
from bioclip_jax.train import Experiment, TrainConfig, compile_step, tower_work

from ..memory import program_memory
from ..tables import markdown
from .hlo import Program
from .roofline import Kernel, kernels
from .target import GEMM_OPTIONS, TARGETS, Rates, Target
from .traffic import collectives, feature_sizes, gradient_reductions, stack_copies

# Memory to leave for what the program does not show: cuDNN's workspaces, NCCL's buffers, fragmentation.
_SPARE = 8e9
_LARGEST = 15
_RATE_COLUMNS = (("pairs_per_second", ".0f"), ("seconds", ".3f"), ("mfu", ".1%"))
_SUMMARY = ("precision", "remat", "micro_batches", "gradient_cache", "unroll", "attention", "deterministic")


def measure_compiled(
    config: TrainConfig,
    *,
    target: str = "h100",
    devices: int = 1,
    gemm: str = "rewrite",
    text_length: int = 48,
    hlo: Path | None = None,
) -> dict[str, Any]:
    """Compile an update of `config`, whose batch is that of all `devices`, for GPUs that need not be there.

    text_length: tokens of the texts of both streams. hlo: file to write the compiled program to, as text.

    Returns what --json prints; all times are estimates by the rates of the target. Memory is what XLA
    allocates. What it does not see: the autotuner's choices (`gemm` says which products are taken to win),
    cuDNN's workspaces, the time of collectives, and clocks. Raises UserError if the target is unknown, the
    number of devices or the batch does not fit, `hlo` cannot be written, or JAX's CUDA plugin is missing.
    """
    gpu, options = _lookup(TARGETS, target, "--target"), _lookup(GEMM_OPTIONS, gemm, "--gemm")
    check_outputs({"--hlo": hlo})
    jax.config.update("jax_platforms", "cpu")  # A GPU that is there stays free.
    config = replace(
        config,
        total_steps=config.total_steps or 1,
        init_from=None,
        compiler_options=(*config.compiler_options, *options),
    )
    experiment = Experiment(config, gpu.devices(devices))
    lengths = [min(text_length, x) for x in (experiment.context_length, experiment.replay_context_length)]

    print(f"compiling for {devices} x {gpu.name}", file=sys.stderr)
    start = time.perf_counter()
    traced = experiment.jitted(1, *lengths).trace(experiment.abstract_state, experiment.abstract_batch())
    # JAX would take the platform from its own devices.
    lowered = traced.lower(lowering_platforms=("cuda",))
    compiled = compile_step(lowered, config, nvidia=True)
    seconds = time.perf_counter() - start
    text = compiled.as_text()
    if hlo is not None:
        write_text(hlo, text)

    memory = program_memory(compiled)
    memory["outputs"] = memory.pop("outputs_beside_them")
    total = sum(memory.values())
    program = Program.parse(text)
    calls = list(kernels(program))
    return {
        "estimate": True,
        "config": _summary(config, experiment, lengths),
        "target": target,
        "devices": devices,
        "gemm": gemm,
        **_rates(calls, experiment, gpu, lengths),
        "memory_gb": total / 1e9,
        "memory": {name: size / 1e9 for name, size in memory.items()},
        "device_memory_gb": gpu.memory / 1e9,
        "fits": total + _SPARE <= gpu.memory,
        **_traffic(program, experiment, calls),
        "loops_of_unknown_length": sum(loop.trips is None for loop in program.loops()),
        "compile_seconds": seconds,
        "versions": _versions(),
    }


def _lookup(table: dict[str, Any], name: str, option: str) -> Any:
    if name not in table:
        raise UserError(f"{option} is {name}; it is one of {', '.join(table)}")
    return table[name]


def _summary(config: TrainConfig, experiment: Experiment, lengths: list[int]) -> dict[str, Any]:
    return {
        "model": config.model,
        "mesh": dict(experiment.mesh.shape),
        "pairs_per_device": config.global_batch_size / experiment.mesh.size,
        "replay_pairs_per_device": config.replay.batch_size / experiment.mesh.size,
        "text_lengths": lengths,
        **{name: getattr(config, name) for name in _SUMMARY},
        "compiler_options": list(config.compiler_options),
    }


def _rates(calls: list[Kernel], experiment: Experiment, gpu: Target, lengths: list[int]) -> dict[str, Any]:
    config = experiment.config
    pairs = (config.global_batch_size + config.replay.batch_size) / experiment.mesh.size
    model_flops = _model_flops(experiment, lengths) / experiment.mesh.size
    figures: dict[str, Any] = {}
    for name, rates in gpu.rates.items():
        seconds = _seconds(calls, rates)
        figures |= {
            f"{name}_pairs_per_second": pairs / seconds,
            f"{name}_seconds": seconds,
            f"{name}_mfu": model_flops / seconds / gpu.peak,
        }
    return figures | {"kinds": _kinds(calls, gpu), "largest": _largest(calls, gpu)}


def _model_flops(experiment: Experiment, lengths: list[int]) -> float:
    """Return the FLOPs of an update over all devices without recomputation."""
    config = experiment.config
    return sum(
        tower_work(
            experiment.model_config,
            images=rows,
            texts=rows,
            text_length=length,
            patch_dropout=config.patch_dropout_at(1),
        ).model
        for rows, length in zip((config.global_batch_size, config.replay.batch_size), lengths, strict=True)
    )


def _kinds(calls: list[Kernel], gpu: Target) -> list[dict[str, Any]]:
    """Return the sums over each kind of kernel, the slowest first."""
    kinds: dict[str, list[Kernel]] = {}
    for call in calls:
        if call.kind != "collective":
            kinds.setdefault(call.kind, []).append(call)
    rows = [
        {
            "kind": kind,
            **{f"{name}_ms": 1e3 * _seconds(same, rates) for name, rates in gpu.rates.items()},
            "tflop": sum(x.flops * x.run.times for x in same) / 1e12,
            "gb": sum(x.bytes * x.run.times for x in same) / 1e9,
            "kernels": sum(x.run.times for x in same),
        }
        for kind, same in kinds.items()
    ]
    return sorted(rows, key=lambda row: -row["ideal_ms"])


def _seconds(calls: Iterable[Kernel], rates: Rates) -> float:
    return sum(x.seconds(rates) * x.run.times for x in calls)


def _largest(calls: list[Kernel], gpu: Target) -> list[dict[str, Any]]:
    """Return the instructions that take the longest in a step."""
    calls = sorted(calls, key=lambda x: -_seconds([x], gpu.rates["ideal"]))[:_LARGEST]
    return [
        {
            "ideal_ms": 1e3 * _seconds([x], gpu.rates["ideal"]),
            "runs": x.run.times,
            "mb": x.bytes / 1e6,
            "kind": x.kind,
            "shape": re.sub(r"\{[^}]*\}", "", x.run.instruction.shape),
            "instruction": x.run.instruction.name,
            "source": x.run.instruction.source,
        }
        for x in calls
    ]


def _traffic(program: Program, experiment: Experiment, calls: list[Kernel]) -> dict[str, Any]:
    config, width = experiment.config, experiment.model_config.embed_dim
    batches = (config.global_batch_size, config.replay.batch_size)
    rows = [count for batch in batches for count in (batch, batch // experiment.shards)]
    gradients = gradient_reductions(program, calls, feature_sizes(rows, width))
    stacks = stack_copies(program, calls)
    return {
        "gradient_reductions": gradients.calls,
        "gradient_bytes": gradients.bytes,
        "collectives": {
            name: {"calls": x.calls, "gb": x.bytes / 1e9} for name, x in collectives(calls).items()
        },
        "stack_copy_bytes": stacks["copies"].bytes,
        "stack_fill_bytes": stacks["fills"].bytes,
        "stack_slice_bytes": stacks["slices"].bytes,
    }


def _versions() -> dict[str, str]:
    names = ("jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin", "flax")
    installed = {name: _version(name) for name in names}
    return {name: version for name, version in installed.items() if version}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def compile_table(result: dict[str, Any]) -> str:
    """Result of measure_compiled as Markdown."""
    config, mesh = result["config"], result["config"]["mesh"]
    spread = " x ".join(f"{name} {size}" for name, size in mesh.items())
    fits = "fits" if result["fits"] else "does not fit"
    memory = ", ".join(f"{name} {size:.2f}" for name, size in result["memory"].items())
    rates = [
        (name, *(f"{result[f'{name}_{unit}']:{form}}" for unit, form in _RATE_COLUMNS))
        for name in ("ideal", "derated")
    ]
    sent = [(name, f"{x['gb']:.3f}", str(x["calls"])) for name, x in result["collectives"].items()]
    kinds = [
        (
            x["kind"],
            *(f"{x[name]:,.1f}" for name in ("ideal_ms", "derated_ms", "tflop", "gb")),
            f"{x['kernels']:,}",
        )
        for x in result["kinds"]
    ]
    largest = [
        (
            f"{x['ideal_ms']:.1f}",
            str(x["runs"]),
            f"{x['mb']:,.1f}",
            x["kind"],
            x["shape"][:44],
            x["source"][-44:],
        )
        for x in result["largest"]
    ]
    return "\n\n".join(
        [
            f"{config['model']} for {result['devices']} x {TARGETS[result['target']].name} ({spread}): "
            f"{config['pairs_per_device']:,.0f} + {config['replay_pairs_per_device']:,.0f} pairs per device, "
            f"{config['micro_batches']} micro-batches caching {config['gradient_cache']}, "
            f"{config['precision']}, remat {config['remat']}, unroll {config['unroll']}, "
            f"gemm {result['gemm']}, compiled in {result['compile_seconds']:.0f} s.",
            f"Memory per device: {result['memory_gb']:.2f} GB ({memory}); this {fits} into "
            f"{result['device_memory_gb']:.0f} GB with {_SPARE / 1e9:.0f} GB to spare.",
            "Estimates, nothing was measured; collectives are taken to be hidden:",
            markdown(("rates", "pairs/s per device", "s per step", "MFU"), rates),
            f"Gradients: {result['gradient_reductions']} reductions a step, "
            f"{result['gradient_bytes'] / 1e9:.3f} GB per device. "
            f"Copies of whole stacks: {result['stack_copy_bytes'] / 1e9:.1f} GB a step, "
            f"fills: {result['stack_fill_bytes'] / 1e9:.1f} GB; "
            f"slices copied into and out of stacks: {result['stack_slice_bytes'] / 1e9:.1f} GB.",
            markdown(("collectives of a device", "GB a step", "calls"), sent or [("none", "", "")]),
            markdown(("kernels", "ideal ms", "derated ms", "TFLOP", "GB", "number"), kinds),
            markdown(("ideal ms", "runs", "MB", "kind", "output", "source"), largest),
        ]
    )
