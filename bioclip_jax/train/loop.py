"""The training loop."""

from __future__ import annotations

import contextlib
import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
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
from bioclip_jax.train.metrics import MetricsWriter, ProgressLine
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
    if jax.process_count() > 1:
        raise UserError("training runs in one process for now, with all of its devices; start one process")
    if not config.data.train:
        raise UserError("config.data.train is not set; give the training data with --config.data.train=PATH")
    directory = TrainingDirectory(Path(workdir))
    if directory.path.exists() and not directory.path.is_dir():
        raise UserError(f"the --workdir {directory.path} is a file; give a directory")
    _check_same_run(directory, config)
    source = open_source(
        config.data.train, split="train", bad_shards=config.data.bad_shards, tfds_dir=config.data.tfds_dir
    )
    config = config.with_steps(len(source))
    start = (directory.steps() or [0])[-1]
    progress = ProgressLine(config.total_steps)
    for shard in source.skipped_shards:
        progress.say(f"left out, because it cannot be read: {shard}")
    if start >= config.total_steps:
        progress.say(f"{directory.path} is trained: {start} of {config.total_steps} steps are done")
        return (directory.read_metrics() or [{"step": start}])[-1]

    experiment = Experiment(config)
    state = None if start else experiment.init()
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(contextlib.closing(Checkpoints(directory, keep=config.keep_checkpoints)))
        if start:
            progress.say(f"going on from step {start} in {directory.path}")
            state, meta = experiment.restore(checkpoints, start)
            _check_same_data(meta, source, config)
        directory.write_config(to_dict(config))
        writer = MetricsWriter(
            directory, start_step=start, config=to_dict(config), wandb_project=config.wandb_project
        )
        stack.enter_context(contextlib.closing(writer))
        interrupt = stack.enter_context(Interrupt())
        feed = stack.enter_context(contextlib.closing(_feed(config, experiment, source, start)))
        run = _Run(config, directory, experiment, checkpoints, writer, progress, evaluate, interrupt, source)
        if start:
            run.bad.update(meta["bad_samples"])
        return run.steps(state, start, feed)


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


@dataclass
class _Run:
    """What the loop works with, and the loop."""

    config: TrainConfig
    directory: TrainingDirectory
    experiment: Experiment
    checkpoints: Checkpoints
    writer: MetricsWriter
    progress: ProgressLine
    evaluate: Evaluate | None
    interrupt: Interrupt
    source: Source
    # Bad samples so far, by cause.
    bad: Counter[str] = field(default_factory=Counter)

    def steps(self, state: TrainState, start: int, feed: _Feed) -> dict[str, Any]:
        config, total = self.config, self.config.total_steps
        line: dict[str, Any] = {}
        self._stopwatch = Stopwatch(self.experiment.model_config)
        for step in range(start + 1, total + 1):
            batch, bad, waited = feed.next()
            self.bad.update({cause: int(n) for cause, n in zip(CAUSES, bad) if n})
            state, metrics = self.experiment.train_step(state, batch, step)
            self._stopwatch.count(
                config.global_batch_size, *batch["tokens"].shape, waited, config.patch_dropout_at(step)
            )
            # Reading the loss waits for the step; the feed has the next batch on the device meanwhile.
            self._check_finite(metrics, step)

            last = step == total or self.interrupt.signal is not None
            evaluates = _due(step, config.evaluate_every, step == total) and self.evaluate is not None
            if last or evaluates or step % config.log_every == 0:
                line = self._line(step, metrics)
                if evaluates:
                    line["val"] = dict(self.evaluate(state.params))
                    self.progress.say(f"step {step}: " + _describe(line["val"]))
                self.writer.write(step, line)
            if last or _due(step, config.checkpoint_every, step == total):
                # Metrics up to a checkpoint are on disk before it is.
                self.writer.flush()
                self._save(step, state)
            if evaluates or last:
                self._stopwatch.restart()
            if last:
                break
        self.checkpoints.wait()
        if self.interrupt.signal is not None:
            raise Interrupted(self.interrupt.signal, step)
        self.progress.say(f"trained {total} steps; {self.directory.path} holds the model")
        return {"step": step, **line}

    def _line(self, step: int, metrics: Mapping[str, jax.Array]) -> dict[str, Any]:
        line = {name: float(value) for name, value in metrics.items()} | self._stopwatch.read()
        line["bad_samples"] = dict(self.bad)
        line["skipped_shards"] = len(self.source.skipped_shards)
        left = (self.config.total_steps - step) * self.config.global_batch_size / line["images_per_second"]
        self.progress.show(step, line, left)
        return line

    def _check_finite(self, metrics: Mapping[str, jax.Array], step: int) -> None:
        for name in ("loss", "gradient_norm"):
            value = float(metrics[name])
            if not math.isfinite(value):
                self.writer.flush()
                self.checkpoints.wait()
                good = self.checkpoints.latest_step()
                kept = f"checkpoint {good} is the last good one" if good else "there is no checkpoint yet"
                raise UserError(
                    f"{name} is {value} at step {step} in {self.directory.path}; {kept}; "
                    "lower config.learning_rate or set config.optimizer.clip_norm, and start again"
                )

    def _save(self, step: int, state: TrainState) -> None:
        meta = {
            "step": step,
            "samples": len(self.source),
            "bad_samples": dict(self.bad),
            "config": to_dict(self.config),
        }
        self.checkpoints.save(step, {"params": state.params, "opt_state": state.opt_state}, meta)


def _due(step: int, every: int, last: bool) -> bool:
    return every > 0 and (step % every == 0 or last)


def _describe(values: Mapping[str, Any]) -> str:
    """The accuracies of an evaluation in a line, those by rank behind the others."""
    accuracies = {name: value for name, value in values.items() if isinstance(value, float)} | values.get("ranks", {})
    return ", ".join(f"{name} {value:.1%}" for name, value in accuracies.items() if value is not None)


def _check_same_run(directory: TrainingDirectory, config: TrainConfig) -> None:
    """A checkpoint goes on only with the model, the optimizer's state and the data order that it was made with."""
    if not directory.steps():
        return
    before, now = directory.read_config(), to_dict(config)
    for key in ("model", "seed", "global_batch_size", "optimizer.name", "optimizer.frozen"):
        was, is_now = before, now
        for part in key.split("."):
            was, is_now = was.get(part), is_now.get(part)
        if was != is_now:
            raise UserError(
                f"{directory.path} was trained with {key} {was}, and config.{key} is now {is_now}; "
                "set it back, or give another --workdir"
            )


def _check_same_data(meta: Mapping[str, Any], source: Source, config: TrainConfig) -> None:
    """The order of the samples depends on their number."""
    if meta["samples"] != len(source):
        raise UserError(
            f"{config.data.train} held {meta['samples']} samples when checkpoint {meta['step']} was saved and holds "
            f"{len(source)} now, so the run cannot go on in the same order; put the data back, or give another --workdir"
        )
