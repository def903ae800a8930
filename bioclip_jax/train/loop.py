"""The training loop."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bioclip_jax.checkpoint.config import to_dict
from bioclip_jax.checkpoint.layout import TrainingDirectory
from bioclip_jax.checkpoint.manager import Checkpoints
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.batches import train_batches
from bioclip_jax.pipeline.feed import device_prefetch
from bioclip_jax.pipeline.images import CAUSES
from bioclip_jax.pipeline.sources import Source, open_source
from bioclip_jax.train.config import TrainConfig
from bioclip_jax.train.experiment import Experiment
from bioclip_jax.train.interrupt import Interrupt
from bioclip_jax.train.metrics import MetricsWriter, ProgressLine, read_metrics
from bioclip_jax.train.state import TrainState
from bioclip_jax.train.throughput import Stopwatch

# Called with the parameters; returns what it measured, by name.
Evaluate = Callable[[Any], Mapping[str, Any]]


class Interrupted(Exception):
    """The run was asked to stop and has, with a checkpoint; `signal` says by what."""

    def __init__(self, signal: int, step: int) -> None:
        super().__init__(f"stopped at step {step}, which is saved; the same command goes on from there")
        self.signal = signal


def train(config: TrainConfig, workdir: Path | str, evaluate: Evaluate | None = None) -> dict[str, Any]:
    """Train until `total_steps`, from the newest checkpoint in `workdir` if there is one.

    Returns the last line of metrics. Errors: UserError for what a person must change; Interrupted after
    SIGINT or SIGTERM, once the checkpoint is on disk.
    """
    directory = TrainingDirectory(Path(workdir))
    _check_same_model(directory, config)
    source = open_source(
        config.data.train, split="train", bad_shards=config.data.bad_shards, tfds_dir=config.data.tfds_dir
    )
    config = config.with_steps(len(source))
    start = (directory.steps() or [0])[-1]
    progress = ProgressLine(config.total_steps)
    if start >= config.total_steps:
        progress.say(f"{directory.path} is trained: {start} of {config.total_steps} steps are done")
        return read_metrics(directory)[-1]

    experiment = Experiment(config)
    with contextlib.ExitStack() as stack:
        directory.write_config(to_dict(config))
        checkpoints = stack.enter_context(contextlib.closing(Checkpoints(directory, keep=config.keep_checkpoints)))
        if start:
            progress.say(f"going on from step {start} in {directory.path}")
            state = experiment.restore(checkpoints, start)
        else:
            state = experiment.init()
        writer = MetricsWriter(
            directory, start_step=start, config=to_dict(config), wandb_project=config.wandb_project
        )
        stack.enter_context(contextlib.closing(writer))
        interrupt = stack.enter_context(Interrupt())
        run = _Run(config, directory, experiment, checkpoints, writer, progress, evaluate, interrupt)
        return run.steps(state, start, stack.enter_context(contextlib.closing(_feed(config, experiment, source, start))))


class _Feed:
    """Batches on their way to the device; keeps the counts of bad samples on the host."""

    def __init__(self, batches: Iterator[dict[str, np.ndarray]], experiment: Experiment) -> None:
        self._host_batches = batches
        self._bad: deque[np.ndarray] = deque()
        self._device_batches = device_prefetch(self._without_counts(), experiment.batch_shardings)

    def _without_counts(self) -> Iterator[dict[str, np.ndarray]]:
        for batch in self._host_batches:
            self._bad.append(batch.pop("bad"))
            yield batch

    def next(self) -> tuple[dict[str, jax.Array], np.ndarray, float]:
        """The next batch on the device, its bad samples by cause, and the seconds waited for it."""
        batch, waited = next(self._device_batches)
        return batch, self._bad.popleft(), waited

    def close(self) -> None:
        self._device_batches.close()
        self._host_batches.close()


def _feed(config: TrainConfig, experiment: Experiment, source: Source, start: int) -> _Feed:
    batches = train_batches(
        source,
        image_size=experiment.model_config.vision.image_size,
        image=config.image,
        caption=config.caption,
        context_length=experiment.model_config.text.context_length,
        seed=config.seed,
        global_batch_size=config.global_batch_size,
        start_step=start,
        host=jax.process_index(),
        hosts=jax.process_count(),
        workers=config.data.workers,
    )
    return _Feed(batches, experiment)


class _Run:
    """The loop's collaborators, and the loop."""

    def __init__(
        self,
        config: TrainConfig,
        directory: TrainingDirectory,
        experiment: Experiment,
        checkpoints: Checkpoints,
        writer: MetricsWriter,
        progress: ProgressLine,
        evaluate: Evaluate | None,
        interrupt: Interrupt,
    ) -> None:
        self._config = config
        self._directory = directory
        self._experiment = experiment
        self._checkpoints = checkpoints
        self._writer = writer
        self._progress = progress
        self._evaluate = evaluate
        self._interrupt = interrupt
        self._stopwatch = Stopwatch(experiment.model_config)
        self._bad = np.zeros(len(CAUSES), np.int64)

    def steps(self, state: TrainState, start: int, feed: _Feed) -> dict[str, Any]:
        config, total = self._config, self._config.total_steps
        line: dict[str, Any] = {}
        self._stopwatch.restart()
        for step in range(start + 1, total + 1):
            batch, bad, waited = feed.next()
            self._bad += bad
            state, metrics = self._experiment.train_step(state, batch, step)
            self._stopwatch.count(
                config.global_batch_size, *batch["tokens"].shape, waited, config.patch_dropout_at(step)
            )
            # Reading the loss waits for the step; the feed has the next batch on the device meanwhile.
            self._check_finite(metrics, step)

            last = step == total or self._interrupt.signal is not None
            evaluates = _due(step, config.evaluate_every, step == total) and self._evaluate is not None
            if last or evaluates or step % config.log_every == 0:
                line = self._line(step, metrics)
                if evaluates:
                    line["val"] = dict(self._evaluate(state.params))
                    self._progress.say(f"step {step}: " + _describe(line["val"]))
                self._writer.write(step, line)
            if last or _due(step, config.checkpoint_every, step == total):
                # Metrics up to a checkpoint are on disk before it is.
                self._writer.flush()
                self._save(step, state)
            if evaluates or last:
                self._stopwatch.restart()
            if last:
                break
        self._checkpoints.wait()
        if self._interrupt.signal is not None:
            raise Interrupted(self._interrupt.signal, step)
        self._progress.say(f"trained {total} steps; {self._directory.path} holds the model")
        return {"step": step, **line}

    def _line(self, step: int, metrics: Mapping[str, jax.Array]) -> dict[str, Any]:
        line = {name: float(value) for name, value in metrics.items()} | self._stopwatch.read()
        line["bad_samples"] = {cause: int(n) for cause, n in zip(CAUSES, self._bad) if n}
        left = (self._config.total_steps - step) * self._config.global_batch_size / line["images_per_second"]
        self._progress.show(step, line, left)
        return line

    def _check_finite(self, metrics: Mapping[str, jax.Array], step: int) -> None:
        for name in ("loss", "gradient_norm"):
            value = float(metrics[name])
            if not math.isfinite(value):
                self._writer.flush()
                self._checkpoints.wait()
                good = self._checkpoints.latest_step()
                kept = f"checkpoint {good} is the last good one" if good else "there is no checkpoint yet"
                raise UserError(
                    f"{name} is {value} at step {step} in {self._directory.path}; {kept}; "
                    "lower config.learning_rate or set config.optimizer.clip_norm, and start again"
                )

    def _save(self, step: int, state: TrainState) -> None:
        meta = {"step": step, "seed": self._config.seed, "global_batch_size": self._config.global_batch_size}
        self._checkpoints.save(step, {"params": state.params, "opt_state": state.opt_state}, meta)


def _due(step: int, every: int, last: bool) -> bool:
    return every > 0 and (step % every == 0 or last)


def _describe(values: Mapping[str, Any], prefix: str = "") -> str:
    parts = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            parts.append(_describe(value, f"{name} "))
        elif isinstance(value, float):
            parts.append(f"{prefix}{name} {value:.1%}")
    return ", ".join(part for part in parts if part)


def _check_same_model(directory: TrainingDirectory, config: TrainConfig) -> None:
    """A checkpoint goes on only with the architecture, the data order and the batch it was made with."""
    if not directory.steps():
        return
    before = directory.read_config()
    now = to_dict(config)
    for key in ("model", "seed", "global_batch_size"):
        if before.get(key) != now[key]:
            raise UserError(
                f"{directory.path} was trained with {key} {before.get(key)}, and config.{key} is now {now[key]}; "
                "set it back, or give another --workdir"
            )
