"""How fast a config trains: pairs a second, and that against what the device could do and against open_clip."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.models import kept_patches
from bioclip_jax.pipeline import PREFIX
from bioclip_jax.pipeline.sources import Source
from bioclip_jax.train import (
    Experiment,
    InputBatch,
    TrainConfig,
    TrainInput,
    Work,
    loss_flops,
    open_sources,
    peak_flops,
    tower_work,
)

from .cold_cache import cold_cache
from .matmul import fastest, measured_peak
from .peer_process import Peer
from .train_peer import WARM_UP_STEPS

# Ours and the peer's take turns, so that a busy machine slows both alike.
_TURNS = 5
_PACKAGES = ("bioclip-jax", "jax", "jaxlib", "flax", "optax")
# Tokens of the longest caption of Rare Species, with start and end; a large batch runs at such a length.
_LONGEST_CAPTION = 39


def measure_training(
    config: TrainConfig, *, steps: int = 20, peer: bool = False, data: str | None = None
) -> dict[str, Any]:
    """Trains `steps` steps of the config after a warm-up, from random weights, and says how fast that was.

    data: where to read the tree of life's pairs, as config.data.train; replayed ones come from
    config.replay.train. Without it, random pairs lie on the devices, and nothing is waited for. peer: run
    open_clip beside it, on one device with one device's pairs: in turns on a CPU, and before it on a GPU,
    whose memory does not hold both.

    Returns, with speeds as medians over turns: pairs_per_second of all devices, replayed ones included;
    treeoflife_pairs_per_second without them; tflops, the towers' TFLOP/s a device, without recomputation;
    loss_tflops, the loss's; mfu, tflops against the data sheet (None on a CPU); mfu_measured_peak, against
    "matmul", the speed of products measured in the same call; hardware_utilization, the same with
    recomputation; peak_memory_bytes of a device and peak_memory_source; compile_seconds; data_wait, the share
    of time; step_seconds; peer and ratio (None without), ours to the peer's pairs/s on one device; and what
    was run, on what, and when.
    """
    if steps < 1:
        raise UserError(f"--steps is {steps}; give at least 1")
    if peer and jax.distributed.is_initialized():
        raise UserError("--peer works in one process; start one, with one device or all of a machine's")
    config = replace(config, total_steps=config.total_steps or 1_000_000, init_from=None)
    turns = min(_TURNS, steps)
    with contextlib.ExitStack() as stack:
        stack.enter_context(cold_cache())
        rival = stack.enter_context(contextlib.closing(_peer(config))) if peer else None
        if rival is not None and rival.on_gpu:
            for _ in range(turns):
                rival.turn(steps // turns)
            rival.close()
        sources = (
            None if data is None else open_sources(replace(config, data=replace(config.data, train=data)))
        )
        experiment = Experiment(config)
        _say("measuring matrix products")
        products = [_products(experiment)]
        trainer = stack.enter_context(contextlib.closing(_Trainer(experiment, sources)))
        trainer.turn(WARM_UP_STEPS)
        compile_seconds = sum(experiment.compile_seconds)
        measured = []
        for number in range(turns):
            _say(f"turn {number + 1} of {turns}")
            measured.append(trainer.turn(steps // turns))
            if rival is not None and not rival.on_gpu:
                rival.turn(steps // turns)
            if jax.default_backend() == "cpu":
                # Others use its cores too, and a ceiling from a busy moment would be none.
                products.append(_products(experiment))
        memory = _peak_memory(experiment, measured[-1].text_lengths)
    result = (
        _speeds(experiment, measured, fastest(products))
        | memory
        | {"compile_seconds": round(compile_seconds, 1)}
    )
    return (
        result | _against(rival, result) | _what_was_run(config, measured[-1], turns * (steps // turns), data)
    )


@dataclass(frozen=True)
class _Turn:
    """Some steps: seconds of one, seconds of waiting for data in one, their FLOPs, and the text lengths of the last."""

    seconds: float
    waited: float
    work: Work
    text_lengths: tuple[int, int]


class _Batches(Protocol):
    def __next__(self) -> InputBatch: ...

    def close(self) -> None: ...


class _Trainer:
    """The trainer's update over and over."""

    def __init__(self, experiment: Experiment, sources: dict[str, Source] | None) -> None:
        _say("compiling")
        self._experiment = experiment
        self._step = 0
        self._state = experiment.init()
        self._batches: _Batches = _Synthetic(experiment) if sources is None else TrainInput(experiment, sources, 0)

    def turn(self, steps: int) -> _Turn:
        experiment, compiled = self._experiment, len(self._experiment.compile_seconds)
        waited, work, start = 0.0, Work(0.0, 0.0), time.perf_counter()
        for _ in range(steps):
            fed = next(self._batches)
            lengths = experiment.text_lengths(fed.host_metadata)
            self._step += 1
            self._state, metrics = experiment.train_step(self._state, fed.batch, self._step, *lengths)
            # More devices than a CPU has cores would wait for each other forever in two programs at once.
            if jax.default_backend() == "cpu":
                jax.block_until_ready(metrics)
            waited += fed.data_wait
            work += self._work(fed, lengths)
        jax.block_until_ready(metrics)
        # A length that comes up for the first time is compiled for, which a long run does once.
        seconds = time.perf_counter() - start - sum(experiment.compile_seconds[compiled:])
        return _Turn(
            seconds / steps, waited / steps, Work(work.model / steps, work.repeated / steps), lengths
        )

    def _work(self, fed: InputBatch, lengths: tuple[int, int]) -> Work:
        config = self._experiment.config
        options: dict[str, Any] = {
            "patch_dropout": config.patch_dropout_at(self._step),
            "remat": config.remat,
            "micro_batches": config.micro_batches,
        }
        model, replayed = self._experiment.model_config, config.replay.batch_size
        pairs, texts = config.global_batch_size + replayed, len(fed.batch["tokens"])
        tree = tower_work(model, images=pairs, texts=texts, text_length=lengths[0], **options)
        return tree + tower_work(model, images=0, texts=replayed, text_length=lengths[1], **options)

    def close(self) -> None:
        self._batches.close()


class _Synthetic:
    """One random batch, again and again; replayed texts are as long as the model takes."""

    def __init__(self, experiment: Experiment) -> None:
        config = experiment.model_config.text
        longest = min(_LONGEST_CAPTION, experiment.context_length)

        def random(number: int, name: str, like: jax.ShapeDtypeStruct) -> jax.Array:
            key = jax.random.fold_in(jax.random.key(0), number)
            if name.endswith("image"):
                return jax.random.randint(key, like.shape, 0, 256, jnp.int32).astype(jnp.uint8)
            if name.endswith("crop"):
                size = experiment.model_config.vision.image_size
                return jnp.broadcast_to(jnp.array([0, 0, size, size, 0], like.dtype), like.shape)
            length = longest if name == "tokens" else like.shape[1]
            texts = jax.random.randint(key, (like.shape[0], length), 1, config.vocab_size - 2, jnp.int32)
            texts = texts.at[:, 0].set(config.vocab_size - 2).at[:, -1].set(config.vocab_size - 1)
            return jnp.pad(texts, ((0, 0), (0, like.shape[1] - length)))

        abstract = experiment.abstract_batch()
        make = lambda: {name: random(n, name, like) for n, (name, like) in enumerate(abstract.items())}  # noqa: E731
        batch = jax.jit(make, out_shardings=experiment.batch_sharding)()
        notes = {"longest": np.int32(longest), PREFIX + "longest": np.int32(experiment.replay_context_length)}
        self._fed = InputBatch(jax.block_until_ready(batch), notes, 0.0)

    def __next__(self) -> InputBatch:
        return self._fed

    def close(self) -> None:
        pass


def _peer(config: TrainConfig) -> Peer:
    _say("starting open_clip under torch.compile")
    return Peer(config)


def _products(experiment: Experiment) -> dict[str, Any]:
    config = experiment.config
    images = (
        (config.global_batch_size + config.replay.batch_size) // experiment.shards // config.micro_batches
    )
    tokens = kept_patches(experiment.model_config.vision, config.patch_dropout or 0.0) + 1
    return measured_peak(experiment.model_config, images * tokens, jax.local_devices()[0])


def _devices() -> int:
    """Those that have arithmetic of their own: a CPU's share its cores."""
    return 1 if jax.default_backend() == "cpu" else jax.device_count()


def _speeds(experiment: Experiment, measured: list[_Turn], matmul: dict[str, Any]) -> dict[str, Any]:
    def rate(amounts: Iterator[float]) -> float:
        return statistics.median(
            amount / turn.seconds for amount, turn in zip(amounts, measured, strict=True)
        )

    config, model = experiment.config, experiment.model_config
    tree, replayed = config.global_batch_size, config.replay.batch_size
    a_device = 1e12 * _devices()
    tflops = rate(turn.work.model for turn in measured) / a_device
    done = rate(turn.work.model + turn.work.repeated for turn in measured) / a_device
    loss = loss_flops(model, tree) + loss_flops(model, replayed)
    sheet = peak_flops(jax.local_devices()[0])
    seconds = [turn.seconds for turn in measured]
    return {
        "pairs_per_second": rate(tree + replayed for _ in measured),
        "treeoflife_pairs_per_second": rate(tree for _ in measured),
        "tflops": tflops,
        "loss_tflops": rate(loss for _ in measured) / a_device,
        "mfu": None if sheet is None else tflops * 1e12 / sheet,
        "mfu_measured_peak": tflops / matmul["peak"],
        "hardware_utilization": done / matmul["peak"],
        "matmul": matmul,
        "data_wait": sum(turn.waited for turn in measured) / sum(seconds),
        "step_seconds": {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)},
    }


def _peak_memory(experiment: Experiment, text_lengths: tuple[int, int]) -> dict[str, Any]:
    stats = [device.memory_stats() for device in jax.local_devices()]
    if all(stats):
        return {
            "peak_memory_bytes": max(each["peak_bytes_in_use"] for each in stats),
            "peak_memory_source": "the device's own statistics",
        }
    analysis = experiment.lower(1, *text_lengths).compile().memory_analysis()
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    return {
        "peak_memory_bytes": held + analysis.temp_size_in_bytes,
        "peak_memory_source": "the compiled program's arguments, outputs and temporary buffers",
    }


def _against(peer: Peer | None, result: dict[str, Any]) -> dict[str, Any]:
    if peer is None:
        return {"peer": None, "ratio": None}
    theirs = peer.pairs / statistics.median(peer.seconds)
    seconds = {"median": statistics.median(peer.seconds), "min": min(peer.seconds), "max": max(peer.seconds)}
    turns = "before ours" if peer.on_gpu else "in turns with ours"
    about = {"pairs_per_second": theirs, "step_seconds": seconds, "run": turns} | peer.about
    return {"peer": about, "ratio": result["pairs_per_second"] / _devices() / theirs}


def _what_was_run(config: TrainConfig, last: _Turn, steps: int, data: str | None) -> dict[str, Any]:
    chosen = (
        "model",
        "global_batch_size",
        "micro_batches",
        "precision",
        "remat",
        "attention",
        "unroll",
        "loss",
    )
    return {
        "config": {name: getattr(config, name) for name in chosen}
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


def _say(what: str) -> None:
    # Asking for the process's number would start the devices, whose memory the peer needs first.
    if not jax.distributed.is_initialized() or jax.process_index() == 0:
        print(f"bench train: {what}", file=sys.stderr)
