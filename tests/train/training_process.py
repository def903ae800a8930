"""`bioclip-jax train` in a process of its own that starts fast, to be stopped and killed by tests.

Python and its libraries are loaded once, by a server process that has not touched a device; every training is
a fork of it. Trainings run on one device, as a user's do.
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
    "bioclip_jax.train.flags",
    "bioclip_jax.evaluate.hook",
    "bioclip_jax.configs.common",
    "bioclip_jax.datasets",
    "tensorboardX",
]


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


class Training:
    """A running training; `errors` is what it wrote to stderr, `status` its exit status as a shell gives it."""

    def __init__(
        self,
        config: Path,
        workdir: Path,
        *overrides: str,
        largest_file: int | None = None,
        seen: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        """largest_file: bytes that a file may have, so that a write beyond fails as it does on a full disk.

        seen: a file that gets a line for each step with the texts it trains on. environment: added to the
        process's.
        """
        self.workdir = workdir
        self._log = workdir.with_name(f"{workdir.name}.{time.monotonic_ns()}.stderr")
        arguments = ["train", "--config", str(config), "--workdir", str(workdir), *overrides]
        how = (arguments, str(self._log), largest_file, seen, environment or {})
        self.process = _context().Process(target=_train, args=how)
        self.process.start()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def wait(self, seconds: float = 300) -> str:
        """Returns the errors once it has ended."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"the training still runs after {seconds} s: {self.errors}"
        return self.errors

    @property
    def status(self) -> int:
        return self.process.exitcode

    @property
    def errors(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def wait_for(self, what: str, condition, seconds: float = 240) -> bool:
        """Return True once `condition()` holds, False where the training has ended before."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.process.exitcode is not None:
                return False
            assert time.monotonic() < deadline, f"{what} did not come in {seconds} s: {self.errors}"
            os.sched_yield()
        return True

    def wait_for_step(self, step: int) -> None:
        """Return once metrics.jsonl tells of `step`."""
        came = self.wait_for(f"step {step}", lambda: max(losses(self.workdir), default=0) >= step)
        assert came, f"the run ended before step {step}: {self.errors}"


def losses(workdir: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in TrainingDirectory(workdir).read_metrics()}


def _train(
    arguments: list[str], log: str, largest_file: int | None, seen: Path | None, environment: dict[str, str]
) -> None:
    # The parent's eight devices are for tests inside one process.
    os.environ["XLA_FLAGS"] = os.environ["XLA_FLAGS"].replace("--xla_force_host_platform_device_count=8", "")
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, sys.stderr.fileno())
    if largest_file is not None:
        # Python ignores SIGXFSZ, so that the write fails with an error instead.
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    if seen is not None:
        _note_what_is_trained_on(seen)
    from bioclip_jax.cli import main

    os._exit(_flushed(main(arguments)))


def _note_what_is_trained_on(file: Path) -> None:
    from bioclip_jax.train.experiment import Experiment

    train_step = Experiment.train_step

    def noting(self, state, batch, step, *lengths):
        rows = np.asarray(batch["tokens"])
        texts = [row[: row.argmax() + 1].tolist() for row in rows]
        with file.open("a") as lines:
            lines.write(json.dumps({"step": step, "texts": texts}) + "\n")
        return train_step(self, state, batch, step, *lengths)

    Experiment.train_step = noting


def _flushed(status: int) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def one_line_error(errors: str) -> str:
    """The one error line among `errors`; fails where there is another number of them, or a traceback."""
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in errors, errors
    return json.dumps(lines[0])
