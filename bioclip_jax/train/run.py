"""The steps of a run, with everything that may come between two of them."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from bioclip_jax.checkpoint import Checkpoints, TrainingDirectory, to_dict
from bioclip_jax.distributed import Agreement, counts_its_rows
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline import PREFIX
from bioclip_jax.pipeline.images import CAUSES
from bioclip_jax.pipeline.sources import Source

from .config import TrainConfig
from .experiment import Experiment
from .feed import Fed, Feed
from .interrupt import Interrupt
from .metrics import MetricsWriter, ProgressLine
from .profile import Profile
from .state import TrainState
from .throughput import Stopwatch

# Called with the parameters and a function that says whether to break off; returns what it measured, by name,
# or None where it broke off.
Evaluate = Callable[[Any, Callable[[], bool]], Mapping[str, Any] | None]

# A program that is compiled later than this many steps into a run is told of: it stalls every device.
_SETTLED = 20


class Interrupted(Exception):
    """The run was asked to stop and has, with a checkpoint; `signal` says by what."""

    def __init__(self, signal: int, step: int) -> None:
        where = (
            f"at step {step}, which is saved; the same command goes on from there"
            if step
            else "before the first step"
        )
        super().__init__(f"stopped {where}")
        self.signal = signal


@dataclass(frozen=True)
class _Upcoming:
    """A batch, and what the processes have agreed on before it is trained on."""

    fed: Fed
    agreed: jax.Array | np.ndarray


@dataclass(frozen=True)
class _Dispatched:
    """A step that the devices may still be working on, without its batch, whose memory is free when it is done."""

    step: int
    metrics: Mapping[str, Any]
    notes: Mapping[str, np.ndarray]
    waited: float
    texts: int
    text_lengths: tuple[int, int]


class Run:
    """One process's part in a run, from a state to its end. Only the first process writes lines and speaks."""

    def __init__(
        self,
        experiment: Experiment,
        directory: TrainingDirectory,
        checkpoints: Checkpoints,
        writer: MetricsWriter,
        progress: ProgressLine,
        evaluate: Evaluate | None,
        interrupt: Interrupt,
        sources: Mapping[str, Source],
        agreement: Agreement,
    ) -> None:
        self._config: TrainConfig = experiment.config
        self._experiment, self._directory, self._checkpoints = experiment, directory, checkpoints
        self._writer, self._progress = writer, progress
        self._evaluate, self._interrupt, self._sources = evaluate, interrupt, sources
        self._agreement = agreement
        self._stopwatch = Stopwatch(experiment.model_config)
        self._profile = Profile(self._config.profile, directory.path / "profile")
        # How many steps the devices are given before the first of them is waited for. More devices than a CPU
        # has cores would wait for each other forever in two programs at once.
        self._ahead = 0 if jax.default_backend() == "cpu" else 1
        self._in_flight: deque[_Dispatched] = deque()
        # The signal that all processes stop for, 0 while there is none.
        self._signal = 0
        self._skipping = False
        self._saved_step: int | None = None
        self._save_seconds = 0.0
        # Lines of metrics that are not written yet; the newest line of all.
        self._unwritten: list[dict[str, Any]] = []
        self._line: dict[str, Any] = {}
        # Bad samples of all processes so far, by cause; of the replay stream with its prefix. Those of this
        # process that are not among them yet.
        self.bad: Counter[str] = Counter()
        self._bad_here: Counter[str] = Counter()
        self._counts_bad = counts_its_rows(experiment.batch_sharding)

    def steps(self, state: TrainState, start: int, feed: Feed) -> dict[str, Any]:
        """Train from step `start` to the last. Returns the last line of metrics.

        Errors: Interrupted after a signal, once the checkpoint is on disk; UserError for what a person must
        change.
        """
        total = self._config.total_steps
        step = start
        self._evaluate_missed(state, start)
        self._stopwatch.restart()
        upcoming: _Upcoming | None = None
        while step < total and not self._signal:
            upcoming = upcoming or self._fetch(feed)
            fed, (*lengths, self._signal) = upcoming.fed, np.asarray(upcoming.agreed).tolist()
            if jax.process_count() == 1:
                self._signal = self._interrupt.signal or 0
            if self._signal:
                break
            step += 1
            # Asked for before this step is on the devices, so that the answer is there when the step has
            # begun. One process has nobody to ask, and need not hold another batch.
            upcoming = self._fetch(feed) if step < total and jax.process_count() > 1 else None
            state = self._train(state, step, fed, tuple(lengths), settled=step - start > _SETTLED)
            self._between_steps(state, step)
        self._settle(0)
        self._write_lines()
        if start < step != self._saved_step:
            self._save(step, state)
        while not self._checkpoints.wait():
            self._save(step, state)
        self._profile.close()
        if self._signal:
            raise Interrupted(self._signal, step)
        self._progress.say(f"trained {total} steps; {self._directory.path} holds the model")
        return self._line

    def _fetch(self, feed: Feed) -> _Upcoming:
        fed = feed.next()
        lengths = self._experiment.text_lengths(fed.notes)
        agreed = self._agreement.propose((*lengths, self._interrupt.signal or 0))
        return _Upcoming(fed, agreed if self._ahead else np.asarray(agreed))

    def _stopping(self) -> bool:
        """Whether a signal came to any process; every process must ask."""
        self._signal = int(np.asarray(self._agreement.propose((self._interrupt.signal or 0,)))[0])
        return self._signal > 0

    def _train(
        self, state: TrainState, step: int, fed: Fed, text_lengths: tuple[int, int], *, settled: bool
    ) -> TrainState:
        self._profile.before(step)
        compiled = len(self._experiment.compile_seconds)
        state, metrics = self._experiment.train_step(state, fed.batch, step, *text_lengths)
        if settled and len(self._experiment.compile_seconds) > compiled:
            seconds = self._experiment.compile_seconds[-1]
            self._progress.say(
                f"step {step}: compiled anew in {seconds:.1f} s, for {len(fed.batch['tokens'])} texts of "
                f"{text_lengths[0]} tokens"
            )
        self._in_flight.append(
            _Dispatched(step, metrics, fed.notes, fed.waited, len(fed.batch["tokens"]), text_lengths)
        )
        self._profile.after(step, metrics)
        return state

    def _between_steps(self, state: TrainState, step: int) -> None:
        last = step == self._config.total_steps
        evaluates, saves = self._evaluates(step), last or _due(step, self._config.checkpoint_every)
        self._settle(0 if evaluates or saves else self._ahead)
        if evaluates:
            self._validate(state)
        self._write_lines()
        # While updates are skipped the parameters may be what causes it, so the checkpoints before them are
        # kept.
        if last or ((saves or self._checkpoints.save_again()) and not self._skipping):
            self._save(step, state)
        if evaluates:
            self._stopwatch.restart()

    def _settle(self, in_flight: int) -> None:
        """Read the results of all steps but the newest `in_flight`, and wait for them."""
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
            if self._counts_bad and prefix + "bad" in done.notes:
                self._bad_here.update(
                    {prefix + cause: int(n) for cause, n in zip(CAUSES, done.notes[prefix + "bad"])}
                )
        dropout, replay = self._config.patch_dropout_at(done.step), self._config.replay.batch_size
        pairs, (length, replay_length) = self._config.global_batch_size + replay, done.text_lengths
        self._stopwatch.count(pairs, done.texts, length, done.waited, dropout)
        self._stopwatch.count(0, replay, replay_length, 0.0, dropout)

    def _check_skipped(self, in_row: float, metrics: Mapping[str, float], step: int) -> None:
        self._skipping = in_row > 0
        if not self._skipping:
            return
        name = "loss" if not np.isfinite(metrics["loss"]) else "gradient_norm"
        self._progress.say(f"step {step}: skipped, because its {name} is {metrics[name]}")
        if in_row < self._config.max_skipped_steps:
            return
        self._writer.flush()
        self._checkpoints.wait()
        good = (self._directory.steps() or [None])[-1]
        kept = f"checkpoint {good} is the last good one" if good is not None else "there is no checkpoint yet"
        raise UserError(
            f"{name} is {metrics[name]} at step {step} in {self._directory.path}, for {int(in_row)} steps "
            f"in a row; {kept}; "
            "lower config.learning_rate or set config.optimizer.clip_norm, and start again"
        )

    def _log(self, step: int, metrics: Mapping[str, Any]) -> None:
        line = {"step": step, **metrics} | self._stopwatch.read()
        self._add_up_bad_samples()
        line["bad_samples"] = dict(self.bad)
        line["skipped_shards"] = sum(len(source.skipped_shards) for source in self._sources.values())
        line["save_seconds"], self._save_seconds = self._save_seconds, 0.0
        pairs = self._config.global_batch_size + self._config.replay.batch_size
        self._progress.show(step, line, (self._config.total_steps - step) * pairs / line["images_per_second"])
        self._line = line
        self._unwritten.append(line)

    def _write_lines(self) -> None:
        for line in self._unwritten:
            self._writer.write(line)
        self._unwritten.clear()

    def _evaluates(self, step: int) -> bool:
        due = _due(step, self._config.evaluate_every) or (
            self._config.evaluate_every and step == self._config.total_steps
        )
        return bool(self._evaluate is not None and due)

    def _add_up_bad_samples(self) -> None:
        names = [prefix + cause for prefix in ("", PREFIX) for cause in CAUSES]
        total = self._agreement.total([self._bad_here[name] for name in names])
        self.bad.update({name: int(n) for name, n in zip(names, total) if n})
        self._bad_here.clear()

    def _validate(self, state: TrainState) -> None:
        """Evaluate, into the newest line; where a signal comes meanwhile, it is done when the run goes on."""
        values = self._evaluate(state.params, self._stopping)
        if values is not None:
            self._progress.say(f"step {self._line['step']}: " + _describe(values))
            self._line["val"] = dict(values)

    def _evaluate_missed(self, state: TrainState, start: int) -> None:
        """The evaluation that was due at the checkpoint and that a signal broke off: its line comes once more."""
        missed = start > 0 and self._evaluates(start) and lacks_evaluation(self._directory, start)
        # One process may not see yet what another has written.
        if not self._agreement.anyone(missed):
            return
        self._line = next(line for line in reversed(self._directory.read_metrics()) if line["step"] == start)
        self._validate(state)
        if "val" in self._line:
            self._writer.write(self._line)

    def _save(self, step: int, state: TrainState) -> None:
        """Begin a checkpoint. Metrics up to it are on disk before it is."""
        start = time.perf_counter()
        self._writer.flush()
        self._add_up_bad_samples()
        meta = {
            "step": step,
            "samples": {name: len(source) for name, source in self._sources.items()},
            "bad_samples": dict(self.bad),
            "config": to_dict(self._config),
        }
        self._checkpoints.save(step, state.to_trees(), meta)
        self._saved_step = step
        self._save_seconds += time.perf_counter() - start


def lacks_evaluation(directory: TrainingDirectory, step: int) -> bool:
    """Whether the metrics of `step` are there without an evaluation."""
    lines = [line for line in directory.read_metrics() if line["step"] == step]
    return bool(lines) and not any("val" in line for line in lines)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _describe(values: Mapping[str, Any]) -> str:
    """The accuracies of an evaluation in a line: those by rank behind the overall ones, then other groups'."""
    accuracies = {name: value for name, value in values.items() if isinstance(value, float)} | values.get(
        "ranks", {}
    )
    for group, members in values.items():
        if isinstance(members, Mapping) and group != "ranks":
            accuracies |= {f"{group.replace('_', '-')} {name}": value for name, value in members.items()}
    return ", ".join(f"{name} {value:.1%}" for name, value in accuracies.items() if value is not None)
