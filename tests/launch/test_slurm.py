"""launch/slurm/train.sbatch, run by bash with fake srun, scontrol and trainer."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "launch" / "slurm" / "train.sbatch"

# Like the real one, forwards SIGUSR1 to its task and kills it on SIGTERM. Records its arguments.
SRUN = """#!{python}
import os, signal, subprocess, sys
from pathlib import Path

record = Path(os.environ["RECORD"])
(record / "srun").write_text("\\n".join(sys.argv[1:]))
signal.signal(signal.SIGUSR1, lambda number, _: task.send_signal(number))
signal.signal(signal.SIGTERM, lambda *_: ((record / "killed").touch(), task.kill()))
command = sys.argv[1:]
while command[0].startswith("--"):
    command.pop(0)
task = subprocess.Popen(command)
status = task.wait()
sys.exit(status if status >= 0 else 128 - status)
"""
SCONTROL = """#!/bin/sh
echo "$@" >> "$RECORD/scontrol"
"""
# Exits with status ON_<SIGNAL> after that signal, or at once with status NOW.
TRAINER = """#!{python}
import os, signal, sys

def stop(number, _):
    os._exit(int(os.environ["ON_" + signal.Signals(number).name]))

for number in (signal.SIGUSR1, signal.SIGTERM):
    before = signal.signal(number, stop)
    print(signal.Signals(number).name, "ignored" if before == signal.SIG_IGN else before, file=sys.stderr)
print("ready", os.getpid(), os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"], sys.argv[1:], flush=True)
if "NOW" in os.environ:
    os._exit(int(os.environ["NOW"]))
while True:
    signal.pause()
"""


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start the script as SLURM does, with these variables and arguments."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "bioclip-jax": TRAINER}.items():
        (programs / name).write_text(text.replace("{python}", sys.executable))
        (programs / name).chmod(0o755)
    started: list[subprocess.Popen] = []

    def start(*arguments: str, **environ: str) -> subprocess.Popen:
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        slurm = {"SLURM_JOB_ID": "77", "SLURM_CPUS_PER_TASK": "12", "RECORD": str(tmp_path), "PATH": path}
        started.append(
            subprocess.Popen(
                ["bash", SCRIPT, *arguments],
                env=os.environ | slurm | environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _requeued(tmp_path: Path) -> str | None:
    record = tmp_path / "scontrol"
    return record.read_text() if record.exists() else None


def _trainer(process: subprocess.Popen) -> int:
    """The trainer's process id, once it has set its handlers."""
    line = process.stdout.readline()
    assert line.startswith("ready"), f"the trainer did not start: {line}{process.stderr.read()}"
    return int(line.split()[1])


def test_the_preemption_signal_is_forwarded_and_the_job_requeued(job, tmp_path: Path) -> None:
    process = job(ON_SIGUSR1="138")
    _trainer(process)
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=120)
    assert process.returncode == 138
    assert _requeued(tmp_path) == "requeue incomplete 77\n"


def test_sigterm_to_the_script_leaves_the_trainer_time_to_save(job, tmp_path: Path) -> None:
    process = job(ON_SIGUSR1="138")
    trainer = _trainer(process)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "SIGTERM: waiting for the trainer to save\n"
    os.kill(trainer, signal.SIGUSR1)
    process.communicate(timeout=120)
    assert process.returncode == 138, "the script ended before the trainer"
    assert not (tmp_path / "killed").exists(), "the script forwarded SIGTERM to srun, which kills its tasks"


def test_a_trainer_that_slurm_stops_by_sigterm_is_requeued(job, tmp_path: Path) -> None:
    process = job(ON_SIGTERM="143")
    os.kill(_trainer(process), signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 143
    assert _requeued(tmp_path) == "requeue incomplete 77\n"


def test_a_save_that_fails_is_not_requeued(job, tmp_path: Path) -> None:
    process = job(ON_SIGUSR1="1")
    _trainer(process)
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=120)
    assert process.returncode == 1
    assert _requeued(tmp_path) is None


@pytest.mark.parametrize("status", [0, 1, 2, 134, 137])
def test_other_statuses_end_the_job(status: int, job, tmp_path: Path) -> None:
    process = job(NOW=str(status))
    process.communicate(timeout=120)
    assert process.returncode == status
    assert _requeued(tmp_path) is None, f"status {status} was requeued"


def test_the_trainers_environment(job, tmp_path: Path) -> None:
    output, error = job("--config", "a b", "--config.seed=1", NOW="0").communicate(timeout=120)
    assert output.endswith(".9 ['train', '--config', 'a b', '--config.seed=1']\n"), output
    # A task that is still starting must not die of a signal with the status of an orderly stop.
    assert error == "SIGUSR1 ignored\nSIGTERM ignored\n", error
    options = (tmp_path / "srun").read_text().split("\n")
    assert "--kill-on-bad-exit=1" in options and "--cpus-per-task=12" in options, options
    assert not any(option.startswith("--gpus-per-task") for option in options), "every task must see all GPUs"


def test_sbatch_reads_every_option() -> None:
    lines = SCRIPT.read_text().splitlines()
    options = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    wanted = {"--nodes=4", "--ntasks-per-node=8", "--gpus-per-node=8", "--requeue", "--open-mode=append"}
    assert wanted <= set(options), f"missing: {wanted - set(options)}"
    assert "--signal=B:USR1@300" in options
    # SLURM stops reading at the first command.
    first_command = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert max(number for number, line in enumerate(lines) if line.startswith("#SBATCH")) < first_command
