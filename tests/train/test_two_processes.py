"""Data-parallel training in two processes, killed and resumed with two and with one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from training_process import Training, losses

from bioclip_jax.checkpoint import TrainingDirectory

LAUNCHER = Path(__file__).parents[2] / "launch" / "local.py"
OVERRIDES = (
    "--config.total_steps=16",
    "--config.checkpoint_every=4",
    "--config.learning_rate=1e-4",
    # The processes agree on text lengths, and each reads a part of the replay stream.
    "--config.caption.lengths=(48,)",
    "--config.replay.batch_size=8",
    "--config.replay.caption.context_length=48",
)


@pytest.fixture(scope="module")
def command(tiny_config: Path, shards: Path) -> list[str]:
    replay = (f"--config.replay.train={shards}", "--config.replay.caption.types=('com',)")
    return ["--config", str(tiny_config), *OVERRIDES, *replay]


class TwoProcesses:
    """`bioclip-jax train` in two processes, started by launch/local.py."""

    def __init__(self, command: list[str], workdir: Path) -> None:
        self.workdir = workdir
        # TensorBoard's writer imports PyTorch if it is installed: a fifth of the time to the first steps.
        without_torch = workdir.with_name("without_torch")
        without_torch.mkdir(exist_ok=True)
        (without_torch / "torch.py").write_text("raise ImportError('as if it were not installed')\n")
        environment = os.environ | {
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
            "PYTHONPATH": str(without_torch),
        }
        self.process = subprocess.Popen(
            [
                sys.executable,
                LAUNCHER,
                "--processes",
                "2",
                "--",
                sys.executable,
                "-m",
                "bioclip_jax.cli",
                "train",
            ]
            + [*command, "--workdir", str(workdir)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> str:
        return self.process.communicate(timeout=300)[1]

    def wait_for_step(self, step: int) -> None:
        while max(losses(self.workdir), default=0) < step:
            assert self.process.poll() is None, (
                f"the run ended before step {step}: {self.process.stderr.read()}"
            )
            with contextlib.suppress(subprocess.TimeoutExpired):
                # Blocks until the run ends, instead of taking a core from it.
                self.process.wait(0.01)

    def children(self) -> list[int]:
        return [
            int(pid)
            for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]


def train_in_forks(command: list[str], workdir: Path) -> str:
    """Train in two processes that start faster than the launcher's; return the errors of the first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    _, config, *overrides = command
    settings = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    trainings = [
        Training(Path(config), workdir, *overrides, environment=settings | {"JAX_PROCESS_ID": str(index)})
        for index in range(2)
    ]
    errors = [training.wait() for training in trainings]
    assert [training.status for training in trainings] == [0, 0], errors
    return errors[0]


def test_two_processes_are_killed_and_resume_as_two_and_as_one(command, tmp_path):
    train_in_forks(command, tmp_path / "undisturbed")
    expected = losses(tmp_path / "undisturbed")
    assert sorted(expected) == list(range(1, 17))

    workdir = tmp_path / "killed"
    first = TwoProcesses(command, workdir)
    first.wait_for_step(5)
    first.process.send_signal(signal.SIGKILL)
    first.finish()

    second = TwoProcesses(command, workdir)
    second.wait_for_step(9)
    # A scheduler signals only the process that does not write; both stop at the same step.
    os.kill(second.children()[1], signal.SIGUSR1)
    errors = second.finish()
    assert second.process.returncode == 128 + signal.SIGUSR1 and "Traceback" not in errors, errors
    newest = TrainingDirectory(workdir).steps()[-1]
    assert f"stopped at step {newest}, which is saved" in errors and 9 <= newest < 16, errors
    assert losses(workdir) == {step: expected[step] for step in range(1, newest + 1)}, "resumed as two"

    _, config, *overrides = command
    alone = Training(Path(config), workdir, *overrides)
    alone.wait_for_step(newest + 1)
    alone.signal(signal.SIGKILL)
    assert f"resuming from step {newest}" in alone.wait(), alone.errors

    errors = train_in_forks(command, workdir)
    assert "resuming from step" in errors, errors
    resumed = losses(workdir)
    assert sorted(resumed) == sorted(expected)
    for step, loss in resumed.items():
        assert loss == pytest.approx(expected[step], rel=1e-5), (
            f"step {step}, resumed with another number of processes"
        )
