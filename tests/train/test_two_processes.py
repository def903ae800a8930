"""Two processes that train together, are killed, and go on as one and as two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from training_process import Training, losses

from bioclip_jax.checkpoint.layout import TrainingDirectory

LAUNCHER = Path(__file__).parents[2] / "launch" / "local.py"
OVERRIDES = (
    "--config.total_steps=16",
    "--config.checkpoint_every=4",
    "--config.learning_rate=1e-4",
    # The length is agreed on by the processes; the second stream is read in parts, too.
    "--config.caption.lengths=(48,)",
    "--config.replay.batch_size=8",
    "--config.replay.caption.context_length=48",
)


@pytest.fixture(scope="module")
def command(tiny_config: Path, shards: Path) -> list[str]:
    replay = (f"--config.replay.train={shards}", "--config.replay.caption.types=('com',)")
    return ["--config", str(tiny_config), *OVERRIDES, *replay]


class TwoProcesses:
    """`bioclip-jax train` twice, started by launch/local.py."""

    def __init__(self, command: list[str], workdir: Path) -> None:
        self.workdir = workdir
        environment = os.environ | {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
        self.process = subprocess.Popen(
            [sys.executable, LAUNCHER, "--processes", "2", "--", sys.executable, "-m", "bioclip_jax.cli", "train"]
            + [*command, "--workdir", str(workdir)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> str:
        return self.process.communicate(timeout=300)[1]

    def kill_at(self, step: int) -> None:
        while max(losses(self.workdir), default=0) < step:
            assert self.process.poll() is None, f"the run ended before step {step}: {self.process.stderr.read()}"
            os.sched_yield()
        self.process.send_signal(signal.SIGKILL)
        self.finish()


def test_two_processes_are_killed_and_go_on_as_one_and_as_two(command, tmp_path):
    undisturbed = TwoProcesses(command, tmp_path / "undisturbed")
    errors = undisturbed.finish()
    assert undisturbed.process.returncode == 0, errors
    expected = losses(undisturbed.workdir)
    assert sorted(expected) == list(range(1, 17))

    workdir = tmp_path / "killed"
    TwoProcesses(command, workdir).kill_at(5)
    TwoProcesses(command, workdir).kill_at(9)
    newest = TrainingDirectory(workdir).steps()[-1]
    assert 4 <= newest < 16, "the kills came too late to matter"
    same_shape = {step: loss for step, loss in losses(workdir).items() if step <= newest}
    assert same_shape == {step: expected[step] for step in same_shape}, "two processes that went on as two"

    _, config, *overrides = command
    alone = Training(Path(config), workdir, *overrides)
    alone.wait_for_step(newest + 2)
    alone.signal(signal.SIGKILL)
    assert f"going on from step {newest}" in alone.wait(), alone.errors
    last = TwoProcesses(command, workdir)
    errors = last.finish()
    assert last.process.returncode == 0 and "going on from step" in errors, errors
    found = losses(workdir)
    assert sorted(found) == sorted(expected)
    for step, loss in found.items():
        assert loss == pytest.approx(expected[step], rel=1e-5), f"step {step}, after other numbers of processes"


def test_a_signal_to_one_of_two_processes_stops_both_at_the_same_step(command, tmp_path):
    run = TwoProcesses(command, tmp_path / "run")
    while max(losses(run.workdir), default=0) < 4:
        assert run.process.poll() is None, run.process.stderr.read()
        os.sched_yield()
    # The second process: the first one's step must follow.
    children = Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text().split()
    assert len(children) == 2, children
    os.kill(int(children[1]), signal.SIGUSR1)
    errors = run.finish()
    assert run.process.returncode == 128 + signal.SIGUSR1 and "Traceback" not in errors, errors
    newest = TrainingDirectory(run.workdir).steps()[-1]
    assert f"stopped at step {newest}, which is saved" in errors, errors
