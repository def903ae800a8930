"""The training loop: dispatch updates, log, evaluate and save between them, stop at a signal."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from bioclip_jax.checkpoint import Checkpoints, TrainingDirectory, to_dict
from bioclip_jax.distributed import Collectives, is_primary_replica
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline import PREFIX
from bioclip_jax.pipeline.images import CAUSES
from bioclip_jax.pipeline.sources import Source

from .experiment import Experiment
from .flops import Stopwatch
from .input import InputBatch, TrainInput
from .metrics import MetricsWriter, Profiler, ProgressLine
from .preemption import DeferredSignals, Preempted
from .step import TrainState

# (params, stopping) -> metrics by name, or None if it ended early because stopping() returned True.
Evaluate = Callable[[Any, Callable[[], bool]], Mapping[str, Any] | None]

# Compilations later than this many steps into a run are reported, because they stall every device.
_SETTLED = 20
_BAD_SAMPLES = tuple(prefix + cause for prefix in ("", PREFIX) for cause in CAUSES)


@dataclass(frozen=True)
class RunContext:
    """Everything outside the devices that a run reads and writes.

    bad_samples: number of bad samples up to the first step, by cause, those of the replay stream prefixed.
    """

    directory: TrainingDirectory
    sources: Mapping[str, Source]
    checkpoints: Checkpoints
    metrics: MetricsWriter
    progress: ProgressLine
    signals: DeferredSignals
    collectives: Collectives
    evaluate: Evaluate | None = None
    bad_samples: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Fetched:
    """A batch and the maxima over all processes: text length, replay text length, signal."""

    input: InputBatch
    maxima: jax.Array | np.ndarray


@dataclass(frozen=True)
class _Dispatched:
    """An update that may still run on the devices, without its batch, whose memory can be freed."""

    step: int
    metrics: Mapping[str, Any]
    host_metadata: Mapping[str, np.ndarray]
    data_wait: float
    texts: int
    text_lengths: tuple[int, int]


class Loop:
    """One process of a run. Only the first process writes metrics and reports progress."""

    def __init__(self, experiment: Experiment, context: RunContext) -> None:
        self._experiment, self._config, self._context = experiment, experiment.config, context
        self._stopwatch = Stopwatch(experiment.model_config)
        self._profiler = Profiler(self._config.profile, context.directory.path / "profile")
        # Updates dispatched ahead of the one that is waited for. None on a CPU: two programs over more
        # devices than cores deadlock in their collectives.
        self._ahead = 0 if jax.default_backend() == "cpu" else 1
        self._in_flight: deque[_Dispatched] = deque()
        # The signal that all processes stop for, 0 for none.
        self._signal = 0
        self._skipping = False
        self._saved_step: int | None = None
        self._save_seconds = 0.0
        self._unwritten: list[dict[str, Any]] = []
        self._line: dict[str, Any] = {}
        # Of all processes up to the last synchronization, and of this process since then.
        self._bad_samples: Counter[str] = context.bad_samples
        self._new_bad_samples: Counter[str] = Counter()
        self._counts_bad_samples = is_primary_replica(experiment.batch_sharding)

    def run(self, state: TrainState, start_step: int, batches: TrainInput) -> dict[str, Any]:
        """Train from `start_step` to the last step; return the last line of metrics.

        Raises Preempted after a signal, once the checkpoint is on disk, and UserError if too many updates
        in a row are skipped or too many checkpoints cannot be written.
        """
        total, step = self._config.total_steps, start_step
        self._evaluate_missed(state, start_step)
        self._stopwatch.restart()
        fetched: _Fetched | None = None
        while step < total and not self._signal:
            fetched = fetched or self._fetch(batches)
            batch, (*text_lengths, self._signal) = fetched.input, np.asarray(fetched.maxima).tolist()
            if jax.process_count() == 1:
                self._signal = self._context.signals.received or 0
            if self._signal:
                break
            step += 1
            # Several processes agree on the next step before this one is dispatched, so that the maxima are
            # ready when it begins. One process would only hold another batch.
            fetched = self._fetch(batches) if step < total and jax.process_count() > 1 else None
            state = self._dispatch(
                state, step, batch, tuple(text_lengths), settled=step - start_step > _SETTLED
            )
            self._between_steps(state, step)
        self._settle(0)
        self._write_metrics()
        if start_step < step != self._saved_step:
            self._save(step, state)
        while not self._context.checkpoints.wait():
            self._save(step, state)
        self._profiler.close()
        if self._signal:
            raise Preempted(self._signal, step)
        self._context.progress.report(
            f"trained {total} steps; {self._context.directory.path} holds the model"
        )
        return self._line

    def _fetch(self, batches: TrainInput) -> _Fetched:
        batch = next(batches)
        lengths = self._experiment.text_lengths(batch.host_metadata)
        maxima = self._context.collectives.max((*lengths, self._context.signals.received or 0))
        return _Fetched(batch, maxima if self._ahead else np.asarray(maxima))

    def _stopping(self) -> bool:
        """Return True if any process received a signal; a collective call."""
        maxima = self._context.collectives.max((self._context.signals.received or 0,))
        self._signal = int(np.asarray(maxima)[0])
        return self._signal > 0

    def _dispatch(
        self, state: TrainState, step: int, batch: InputBatch, text_lengths: tuple[int, int], *, settled: bool
    ) -> TrainState:
        self._profiler.before(step)
        compile_seconds, texts = self._experiment.compile_seconds, len(batch.batch["tokens"])
        programs = len(compile_seconds)
        state, metrics = self._experiment.train_step(state, batch.batch, step, *text_lengths)
        if settled and len(compile_seconds) > programs:
            self._context.progress.report(
                f"step {step}: recompiled in {compile_seconds[-1]:.1f} s, for {texts} texts of "
                f"{text_lengths[0]} tokens"
            )
        self._in_flight.append(
            _Dispatched(step, metrics, batch.host_metadata, batch.data_wait, texts, text_lengths)
        )
        self._profiler.after(step, metrics)
        return state

    def _between_steps(self, state: TrainState, step: int) -> None:
        last = step == self._config.total_steps
        evaluates, saves = self._evaluates(step), last or _due(step, self._config.checkpoint_every)
        self._settle(0 if evaluates or saves else self._ahead)
        if evaluates:
            self._evaluate(state)
        self._write_metrics()
        # While updates are skipped the parameters may be the cause, so earlier checkpoints are kept.
        if last or ((saves or self._context.checkpoints.save_again()) and not self._skipping):
            self._save(step, state)
        if evaluates:
            self._stopwatch.restart()

    def _settle(self, in_flight: int) -> None:
        """Wait for all updates but the newest `in_flight`, and read their metrics."""
        while len(self._in_flight) > in_flight:
            done = self._in_flight.popleft()
            metrics = jax.tree.map(float, jax.device_get(dict(done.metrics)))
            self._count(done)
            self._check_skipped(metrics.pop("skipped_in_row"), metrics, done.step)
            last = done.step == self._config.total_steps
            if done.step % self._config.log_every == 0 or last or self._evaluates(done.step):
                self._log(done.step, metrics)

    def _count(self, done: _Dispatched) -> None:
        for prefix in ("", PREFIX):
            if self._counts_bad_samples and prefix + "bad" in done.host_metadata:
                counts = zip(CAUSES, done.host_metadata[prefix + "bad"])
                self._new_bad_samples.update({prefix + cause: int(n) for cause, n in counts})
        patch_dropout, replay = self._config.patch_dropout_at(done.step), self._config.replay.batch_size
        pairs, (length, replay_length) = self._config.global_batch_size + replay, done.text_lengths
        self._stopwatch.count(pairs, done.texts, length, done.data_wait, patch_dropout)
        self._stopwatch.count(0, replay, replay_length, 0.0, patch_dropout)

    def _check_skipped(self, in_row: float, metrics: Mapping[str, float], step: int) -> None:
        self._skipping = in_row > 0
        if not self._skipping:
            return
        name = "loss" if not np.isfinite(metrics["loss"]) else "gradient_norm"
        self._context.progress.report(f"step {step}: skipped, because its {name} is {metrics[name]}")
        if in_row < self._config.max_skipped_steps:
            return
        self._context.metrics.flush()
        self._context.checkpoints.wait()
        raise UserError(
            f"{name} is {metrics[name]} at step {step} in {self._context.directory.path}, for {int(in_row)} "
            f"steps in a row; {self._context.directory.describe_newest()}; lower config.learning_rate or "
            "set config.optimizer.clip_norm, and start again"
        )

    def _log(self, step: int, metrics: Mapping[str, Any]) -> None:
        line = {"step": step, **metrics} | self._stopwatch.read()
        self._sum_bad_samples()
        line["bad_samples"] = dict(self._bad_samples)
        line["skipped_shards"] = sum(len(source.skipped_shards) for source in self._context.sources.values())
        line["save_seconds"], self._save_seconds = self._save_seconds, 0.0
        pairs = self._config.global_batch_size + self._config.replay.batch_size
        seconds_left = (self._config.total_steps - step) * pairs / line["images_per_second"]
        self._context.progress.show(step, line, seconds_left)
        self._line = line
        self._unwritten.append(line)

    def _write_metrics(self) -> None:
        for line in self._unwritten:
            self._context.metrics.write(line)
        self._unwritten.clear()

    def _sum_bad_samples(self) -> None:
        """Add the bad samples of all processes since the last call; a collective call."""
        totals = self._context.collectives.sum([self._new_bad_samples[name] for name in _BAD_SAMPLES])
        self._bad_samples.update({name: int(n) for name, n in zip(_BAD_SAMPLES, totals) if n})
        self._new_bad_samples.clear()

    def _evaluates(self, step: int) -> bool:
        every = self._config.evaluate_every
        due = _due(step, every) or (every > 0 and step == self._config.total_steps)
        return self._context.evaluate is not None and due

    def _evaluate(self, state: TrainState) -> None:
        """Add an evaluation to the newest line; if a signal interrupts it, the resumed run evaluates."""
        values = self._context.evaluate(state.params, self._stopping)
        if values is not None:
            self._context.progress.report(f"step {self._line['step']}: " + _describe(values))
            self._line["val"] = dict(values)

    def _evaluate_missed(self, state: TrainState, start_step: int) -> None:
        """Run the evaluation that a signal interrupted at the checkpoint, and write its line again."""
        missed = start_step > 0 and self._evaluates(start_step)
        missed = missed and lacks_evaluation(self._context.directory, start_step)
        # On a shared file system one process may not see yet what another has written.
        if not self._context.collectives.any(missed):
            return
        lines = reversed(self._context.directory.read_metrics())
        self._line = next(line for line in lines if line["step"] == start_step)
        self._evaluate(state)
        if "val" in self._line:
            self._context.metrics.write(self._line)

    def _save(self, step: int, state: TrainState) -> None:
        """Begin a checkpoint, with the metrics up to it on disk before it."""
        start = time.perf_counter()
        self._context.metrics.flush()
        self._sum_bad_samples()
        meta = {
            "step": step,
            "samples": {name: len(source) for name, source in self._context.sources.items()},
            "bad_samples": dict(self._bad_samples),
            "config": to_dict(self._config),
        }
        self._context.checkpoints.save(step, state.to_trees(), meta)
        self._saved_step = step
        self._save_seconds += time.perf_counter() - start


def lacks_evaluation(directory: TrainingDirectory, step: int) -> bool:
    """Return True if `step` has metrics but no evaluation."""
    lines = [line for line in directory.read_metrics() if line["step"] == step]
    return bool(lines) and not any("val" in line for line in lines)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _describe(values: Mapping[str, Any]) -> str:
    """Format the accuracies of an evaluation in one line: overall, by rank, then those of other groups."""
    accuracies = {name: value for name, value in values.items() if isinstance(value, float)}
    accuracies |= values.get("ranks", {})
    for group, members in values.items():
        if isinstance(members, Mapping) and group != "ranks":
            accuracies |= {f"{group.replace('_', '-')} {name}": value for name, value in members.items()}
    return ", ".join(f"{name} {value:.1%}" for name, value in accuracies.items() if value is not None)
