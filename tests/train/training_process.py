"""`bioclip-jax train` in a fast-starting process, for tests that stop and kill it.

A fork server imports Python's libraries once, without touching a device; every training is a fork of it, on
one device.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np

from bioclip_jax.checkpoint import TrainingDirectory

_PRELOADED = [
    "bioclip_jax.cli",
    "bioclip_jax.train.train",
    "bioclip_jax.cli.config",
    "bioclip_jax.evaluate.hook",
    "bioclip_jax.configs.common",
    "bioclip_jax.datasets",
    "tensorboardX",
]


_POLL_SECONDS = 0.005


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


class Training:
    """A running training: `errors` is its stderr, `status` its exit status."""

    def __init__(
        self,
        config: Path,
        workdir: Path,
        *overrides: str,
        largest_file: int | None = None,
        seen: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Start it.

        largest_file: limit in bytes, beyond which a write fails as on a full disk. seen: file to append the
        texts of each step to. environment: variables to add.
        """
        self.workdir = workdir
        self._log = workdir.with_name(f"{workdir.name}.{time.monotonic_ns()}.stderr")
        arguments = ["train", "--config", str(config), "--workdir", str(workdir), *overrides]
        process_arguments = (arguments, str(self._log), largest_file, seen, environment or {})
        self.process = _context().Process(target=_train, args=process_arguments)
        self.process.start()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def wait(self, seconds: float = 300) -> str:
        """Wait for the end; return the errors."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"the training still runs after {seconds} s: {self.errors}"
        return self.errors

    @property
    def status(self) -> int:
        return self.process.exitcode

    @property
    def errors(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def wait_for(self, event: str, condition, seconds: float = 240) -> bool:
        """Return True once `condition()` holds, False if the training ends first."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.process.exitcode is not None:
                return False
            assert time.monotonic() < deadline, f"no {event} within {seconds} s: {self.errors}"
            # Blocks until the training ends, instead of taking a core from it.
            self.process.join(_POLL_SECONDS)
        return True

    def reaches_step(self, step: int) -> bool:
        """Return True once metrics.jsonl has a line of `step`, False if the training ends first."""
        return self.wait_for(f"step {step}", lambda: max(losses(self.workdir), default=0) >= step)

    def wait_for_step(self, step: int) -> None:
        """Wait until metrics.jsonl has a line of `step`."""
        assert self.reaches_step(step), f"the run ended before step {step}: {self.errors}"


def losses(workdir: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in TrainingDirectory(workdir).read_metrics()}


def _train(
    arguments: list[str], log: str, largest_file: int | None, seen: Path | None, environment: dict[str, str]
) -> None:
    # Only tests within one process use eight devices.
    os.environ["XLA_FLAGS"] = os.environ["XLA_FLAGS"].replace("--xla_force_host_platform_device_count=8", "")
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, sys.stderr.fileno())
    if largest_file is not None:
        # Python ignores SIGXFSZ, so that the write fails with an error instead.
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    if seen is not None:
        _record_texts(seen)
    from bioclip_jax.cli import main

    os._exit(_flushed(main(arguments)))


def _record_texts(file: Path) -> None:
    from bioclip_jax.train.experiment import Experiment

    train_step = Experiment.train_step

    def recording(self, state, batch, step, *lengths):
        rows = np.asarray(batch["tokens"])
        texts = [row[: row.argmax() + 1].tolist() for row in rows]
        with file.open("a") as lines:
            lines.write(json.dumps({"step": step, "texts": texts}) + "\n")
        return train_step(self, state, batch, step, *lengths)

    Experiment.train_step = recording


def _flushed(status: int) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def one_line_error(errors: str) -> str:
    """Return the only error line of `errors`, which must not contain a traceback."""
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in errors, errors
    return json.dumps(lines[0])
