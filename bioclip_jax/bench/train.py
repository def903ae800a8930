"""Training throughput of a config, against the device's peak and against open_clip."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from bioclip_jax.errors import UserError
from bioclip_jax.models import kept_patches
from bioclip_jax.train import Experiment, TrainConfig, loss_flops, open_sources, peak_flops

from .matmul import fastest, measured_peak
from .memory import program_memory
from .open_clip_peer import WARM_UP_STEPS, OpenClipPeer
from .step_timer import StepTimer, Turn

# Ours and the peer's steps alternate, so that other load on the machine slows both alike.
_TURNS = 5
_PACKAGES = ("bioclip-jax", "jax", "jaxlib", "flax", "optax")


def measure_training(
    config: TrainConfig,
    *,
    steps: int = 20,
    peer: bool = False,
    data: str | None = None,
    ceiling: dict[str, Any] | None = None,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Train `steps` steps of the config after a warm-up, from random weights, and measure the speed.

    data: source of the tree of life's pairs, as config.data.train; replayed ones come from
    config.replay.train. Without it, the batches are random and on the devices already. peer: also run
    open_clip, on one device with one device's pairs: alternating on a CPU, beforehand on a GPU, whose memory
    does not hold both. ceiling: a result of measured_peak on this device, which is then not measured. cache:
    folder of a compilation cache to use; by default every program is compiled, as in a first run.

    Returns, with speeds as medians over turns: pairs_per_second of all devices, replayed ones included;
    treeoflife_pairs_per_second without them; tflops, the towers' TFLOP/s per device, without recomputation;
    loss_tflops, the loss's; mfu, tflops against the data sheet (None on a CPU); mfu_measured_peak, against
    "matmul", the speed of products measured in the same call; hardware_utilization, the same with
    recomputation; peak_memory_bytes of a device and peak_memory_source; compile_seconds; data_wait, the share
    of time; step_seconds; peer and ratio (None without), of pairs/s on one device; and config, devices,
    versions and date.
    """
    if steps < 1:
        raise UserError(f"--steps is {steps}; give at least 1")
    if peer and jax.distributed.is_initialized():
        raise UserError("--peer works in one process only; start one, with one or all devices of the machine")
    config = replace(config, total_steps=config.total_steps or 1_000_000, init_from=None)
    turns = min(_TURNS, steps)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_compilation_cache(cache))
        rival = stack.enter_context(contextlib.closing(_start_peer(config))) if peer else None
        if rival is not None and rival.on_gpu:
            for _ in range(turns):
                rival.turn(steps // turns)
            rival.close()
        sources = (
            None if data is None else open_sources(replace(config, data=replace(config.data, train=data)))
        )
        experiment = Experiment(config)
        if ceiling is None:
            _log("measuring matrix products")
        products = [ceiling or matrix_products(experiment)]
        _log("compiling")
        trainer = stack.enter_context(contextlib.closing(StepTimer(experiment, sources)))
        trainer.turn(WARM_UP_STEPS)
        compile_seconds = sum(experiment.compile_seconds)
        measured = []
        for number in range(turns):
            _log(f"turn {number + 1} of {turns}")
            measured.append(trainer.turn(steps // turns))
            if rival is not None and not rival.on_gpu:
                rival.turn(steps // turns)
            if jax.default_backend() == "cpu" and ceiling is None:
                # Other load slows the products too, so the ceiling is the fastest of several measurements.
                products.append(matrix_products(experiment))
        memory = _peak_memory(experiment, measured[-1].text_lengths)
    result = speeds(experiment, measured, fastest(products)) | memory
    result["compile_seconds"] = round(compile_seconds, 1)
    result |= _comparison(rival, result)
    return result | _provenance(config, measured[-1], turns * (steps // turns), data)


@contextlib.contextmanager
def _compilation_cache(folder: Path | None) -> Iterator[None]:
    """Use a compilation cache inside the block, an empty one for None, as in a first run."""

    def use(folder: str | None) -> None:
        jax.config.update("jax_compilation_cache_dir", folder)
        compilation_cache.reset_cache()

    before = jax.config.jax_compilation_cache_dir
    with tempfile.TemporaryDirectory() as empty:
        use(str(folder or empty))
        try:
            yield
        finally:
            use(before)


def _start_peer(config: TrainConfig) -> OpenClipPeer:
    _log("starting open_clip under torch.compile")
    return OpenClipPeer(config)


def matrix_products(experiment: Experiment) -> dict[str, Any]:
    """Measure the products of matrices (measured_peak) with the rows of the experiment's micro-batches."""
    config = experiment.config
    images = (
        (config.global_batch_size + config.replay.batch_size) // experiment.shards // config.micro_batches
    )
    tokens = kept_patches(experiment.model_config.vision, config.patch_dropout or 0.0) + 1
    return measured_peak(experiment.model_config, images * tokens, jax.local_devices()[0])


def _devices() -> int:
    """Number of devices with cores of their own; a CPU's virtual devices share them."""
    return 1 if jax.default_backend() == "cpu" else jax.device_count()


def speeds(experiment: Experiment, measured: list[Turn], matmul: dict[str, Any]) -> dict[str, Any]:
    """Return the speeds and shares of measure_training's result, from turns and a result of measured_peak."""

    def rate(amounts: Iterator[float]) -> float:
        return statistics.median(
            amount / turn.seconds for amount, turn in zip(amounts, measured, strict=True)
        )

    config, model = experiment.config, experiment.model_config
    tree, replayed = config.global_batch_size, config.replay.batch_size
    device_tera = 1e12 * _devices()
    tflops = rate(turn.work.model for turn in measured) / device_tera
    done = rate(turn.work.model + turn.work.repeated for turn in measured) / device_tera
    loss = loss_flops(model, tree) + loss_flops(model, replayed)
    sheet = peak_flops(jax.local_devices()[0])
    seconds = [turn.seconds for turn in measured]
    return {
        "pairs_per_second": rate(tree + replayed for _ in measured),
        "treeoflife_pairs_per_second": rate(tree for _ in measured),
        "tflops": tflops,
        "loss_tflops": rate(loss for _ in measured) / device_tera,
        "mfu": None if sheet is None else tflops * 1e12 / sheet,
        "mfu_measured_peak": tflops / matmul["peak"],
        "hardware_utilization": done / matmul["peak"],
        "matmul": matmul,
        "data_wait": sum(turn.data_wait for turn in measured) / sum(seconds),
        "step_seconds": {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)},
    }


def _peak_memory(experiment: Experiment, text_lengths: tuple[int, int]) -> dict[str, Any]:
    stats = [device.memory_stats() for device in jax.local_devices()]
    if all(stats):
        return {
            "peak_memory_bytes": max(device["peak_bytes_in_use"] for device in stats),
            "peak_memory_source": "the device's own statistics",
        }
    compiled = experiment.lower(1, *text_lengths).compile()
    return {
        "peak_memory_bytes": sum(program_memory(compiled).values()),
        "peak_memory_source": "the compiled program's arguments, outputs and temporary buffers",
    }


def _comparison(peer: OpenClipPeer | None, result: dict[str, Any]) -> dict[str, Any]:
    if peer is None:
        return {"peer": None, "ratio": None}
    theirs = peer.pairs / statistics.median(peer.seconds)
    seconds = {"median": statistics.median(peer.seconds), "min": min(peer.seconds), "max": max(peer.seconds)}
    turns = "before ours" if peer.on_gpu else "in turns with ours"
    about = {"pairs_per_second": theirs, "step_seconds": seconds, "run": turns} | peer.about
    return {"peer": about, "ratio": result["pairs_per_second"] / _devices() / theirs}


def _provenance(config: TrainConfig, last: Turn, steps: int, data: str | None) -> dict[str, Any]:
    keys = "model global_batch_size micro_batches gradient_cache precision remat attention unroll loss"
    return {
        "config": {key: getattr(config, key) for key in keys.split()}
        | {"replay_batch_size": config.replay.batch_size, "compiler_options": config.compiler_options},
        "text_length": last.text_lengths[0],
        "replay_text_length": last.text_lengths[1] if config.replay.batch_size else None,
        "steps": steps,
        "data": data or "synthetic",
        "device": jax.devices()[0].device_kind,
        "devices": _devices(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _log(message: str) -> None:
    # jax.process_index() starts the devices, whose memory the peer needs first.
    if not jax.distributed.is_initialized() or jax.process_index() == 0:
        print(f"bench train: {message}", file=sys.stderr)
