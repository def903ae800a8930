"""Telemetry of a run: metrics.jsonl, TensorBoard, wandb, the progress line, and profiler traces."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from bioclip_jax.checkpoint import TrainingDirectory, to_dict
from bioclip_jax.errors import UserError
from bioclip_jax.files import write_text

from .config import TrainConfig


class MetricsWriter:
    """Appends lines to metrics.jsonl, and the same numbers to TensorBoard and wandb."""

    def __init__(
        self,
        directory: TrainingDirectory,
        *,
        start_step: int,
        config: Mapping[str, Any],
        wandb_project: str | None = None,
    ) -> None:
        """Open the files, dropping lines after `start_step` that a killed run left: they will be repeated."""
        # Imported here because TensorBoard's writer starts a thread.
        from tensorboardX import SummaryWriter

        directory.path.mkdir(parents=True, exist_ok=True)
        keep = [line for line in directory.read_metrics() if line["step"] <= start_step]
        write_text(directory.metrics_file, "".join(json.dumps(line) + "\n" for line in keep))
        self._file = directory.metrics_file.open("a", buffering=1)
        self._tensorboard = SummaryWriter(str(directory.tensorboard), purge_step=start_step + 1)
        self._wandb = _start_wandb(wandb_project, directory, config) if wandb_project else None

    def write(self, line: Mapping[str, Any]) -> None:
        """Write the numbers of line["step"]; nested groups become `group/name` outside metrics.jsonl."""
        step = line["step"]
        self._file.write(json.dumps(line) + "\n")
        flat = dict(_flatten({name: value for name, value in line.items() if name != "step"}))
        for name, number in flat.items():
            self._tensorboard.add_scalar(name, number, step)
        if self._wandb is not None:
            self._wandb.log(flat, step=step)

    def flush(self) -> None:
        """Sync all lines to disk: a checkpoint must not be newer than the metrics before it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._tensorboard.flush()

    def close(self) -> None:
        """Flush and close the files and the wandb run."""
        self.flush()
        self._file.close()
        self._tensorboard.close()
        if self._wandb is not None:
            self._wandb.finish()


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of nested groups by path, such as val/ranks/family."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)):
            yield f"{prefix}{name}", value


class _NoMetrics:
    """MetricsWriter of all processes but the first."""

    def write(self, line: Mapping[str, Any]) -> None:
        pass

    flush = close = lambda self: None


def open_metrics(
    directory: TrainingDirectory, start_step: int, config: TrainConfig
) -> MetricsWriter | _NoMetrics:
    """Return this process's writer for a run that starts at `start_step`; only the first process writes."""
    if jax.process_index() > 0:
        return _NoMetrics()
    return MetricsWriter(
        directory, start_step=start_step, config=to_dict(config), wandb_project=config.wandb_project
    )


class ProgressLine:
    """Progress on stderr: one redrawn line on a terminal, otherwise a line every 5 % of the steps."""

    def __init__(self, total_steps: int, *, silent: bool = False) -> None:
        self._total = total_steps
        self._silent = silent
        self._live = sys.stderr.isatty()
        self._next_plain = 0.0

    def show(self, step: int, values: Mapping[str, Any], seconds_left: float) -> None:
        """Show the metrics of `step`."""
        if self._silent:
            return
        text = (
            f"step {step}/{self._total}  loss {values['loss']:.4f}  {values['images_per_second']:.0f} "
            f"images/s  waiting for data {values['data_wait']:.0%}  {_duration(seconds_left)} left"
        )
        if self._live:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif step >= self._total * self._next_plain:
            self._next_plain += 0.05
            print(text, file=sys.stderr, flush=True)

    def report(self, text: str) -> None:
        """Print a line that is not redrawn."""
        if self._silent:
            return
        print(f"\r\x1b[K{text}" if self._live else text, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


def _start_wandb(project: str, directory: TrainingDirectory, config: Mapping[str, Any]) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise UserError(
            "config.wandb_project is set, but wandb is not installed; pip install 'bioclip-jax[wandb]'"
        ) from error
    return wandb.init(
        project=project,
        name=directory.path.name,
        id=directory.path.name,
        dir=directory.path,
        config=dict(config),
        resume="allow",
    )


class Profiler:
    """Trace of steps `steps[0]` to `steps[1]` for TensorBoard's profiler or Perfetto; () traces nothing."""

    def __init__(self, steps: tuple[int, ...], directory: Path) -> None:
        self._first, self._last = steps or (0, 0)
        self._directory = directory
        self._tracing = False

    def before(self, step: int) -> None:
        """Start the trace if `step` is its first."""
        if step == self._first:
            jax.profiler.start_trace(self._directory)
            self._tracing = True

    def after(self, step: int, results: Any) -> None:
        """End the trace if `step` is its last, once its `results` are computed."""
        if step == self._last and self._tracing:
            jax.block_until_ready(results)
            self.close()

    def close(self) -> None:
        """End the trace of a run that stopped early."""
        if self._tracing:
            jax.profiler.stop_trace()
            self._tracing = False
