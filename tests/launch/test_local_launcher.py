"""launch/local.py, with real processes."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).resolve().parents[2] / "launch" / "local.py"

# Waits for a signal and exits with 128 + its number, as the trainer.
STOPS_ORDERLY = """
import os, signal
def stop(number, _):
    os._exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, stop)
print("ready", os.getpid(), flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def launch() -> Iterator:
    """Start the launcher with a Python program for every process, and kill it after the test."""
    started: list[subprocess.Popen] = []

    def start(program: str, *options: str, processes: int = 2) -> subprocess.Popen:
        command = [sys.executable, LAUNCHER, "--processes", str(processes), *options, "--"]
        command += [sys.executable, "-c", program]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _ends(process: subprocess.Popen) -> tuple[int, list[str], list[str]]:
    """Exit status, and sorted lines of stdout and stderr."""
    output, error = process.communicate(timeout=120)
    return process.returncode, sorted(output.splitlines()), sorted(error.splitlines())


def _ready(process: subprocess.Popen, count: int = 2) -> Sequence[int]:
    """Wait until all children are ready, and return their process ids."""
    lines = [process.stdout.readline() for _ in range(count)]
    assert all("ready" in line for line in lines), f"not all children are ready: {lines}"
    return [int(line.split()[-1]) for line in lines]


def test_processes_get_their_environment_and_their_lines_are_marked(launch) -> None:
    program = """
import os, sys
names = ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JAX_LOCAL_DEVICE_IDS", "JAX_NUM_CPU_DEVICES")
print(*(os.environ[name] for name in names))
print(os.environ["JAX_COORDINATOR_ADDRESS"].split(":")[0], file=sys.stderr)
print("no end of line", end="")
"""
    status, output, error = _ends(launch(program, "--devices-per-process", "2"))
    assert status == 0, f"status {status}: {error}"
    marked = ["[0] 2 0 0,1 2", "[0] no end of line", "[1] 2 1 2,3 2", "[1] no end of line"]
    assert output == marked, output
    assert error == ["[0] 127.0.0.1", "[1] 127.0.0.1"], error


def test_a_failure_ends_the_others_and_sets_the_status(launch) -> None:
    fails = "if os.environ['JAX_PROCESS_ID'] == '1': os._exit(3)\n"
    status, output, _ = _ends(launch("import os\n" + fails + STOPS_ORDERLY, processes=3))
    assert status == 3, f"status {status} instead of the failed process's 3"


def test_a_process_killed_by_signal_n_has_status_128_plus_n(launch) -> None:
    program = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    assert _ends(launch(program))[0] == 128 + signal.SIGKILL


def test_a_hanging_process_is_killed_after_the_grace_time(launch) -> None:
    program = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.environ["JAX_PROCESS_ID"] == "1":
    sys.exit(4)
while True:
    signal.pause()
"""
    assert _ends(launch(program, "--grace", "0.2"))[0] == 4


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name
)
def test_signals_are_forwarded_to_all_and_set_the_status(number: signal.Signals, launch) -> None:
    process = launch(STOPS_ORDERLY)
    _ready(process)
    process.send_signal(number)
    status, _, error = _ends(process)
    assert status == 128 + number, f"status {status} after {number.name}: {error}"


def test_processes_asked_to_stop_may_finish_their_save(launch) -> None:
    # Process 1 saves for longer than process 0; a second signal would kill it.
    program = STOPS_ORDERLY.replace(
        "    os._exit(128 + number)",
        "    if os.environ['JAX_PROCESS_ID'] == '1':\n"
        "        print('second', signal.sigtimedwait({signal.SIGTERM}, 1), flush=True)\n"
        "    os._exit(128 + number)",
    )
    process = launch("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})" + program)
    _ready(process)
    process.send_signal(signal.SIGUSR1)
    status, output, _ = _ends(process)
    assert status == 128 + signal.SIGUSR1
    assert output == ["[1] second None"], f"a process that saves got a second signal: {output}"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has died")
def test_processes_end_when_the_launcher_is_killed(launch) -> None:
    process = launch(STOPS_ORDERLY)
    children = [os.pidfd_open(pid) for pid in _ready(process)]
    process.kill()
    for child in children:
        ended, _, _ = select.select([child], [], [], 120)
        os.close(child)
        assert ended, "a process outlived the launcher"


def test_a_missing_program_is_reported_in_one_line() -> None:
    command = [sys.executable, LAUNCHER, "--processes", "2", "--", "no-such-program"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 127
    assert ended.stderr == "error: no-such-program is not a program; give the command after --\n", (
        ended.stderr
    )


def test_the_commands_options_are_passed_through() -> None:
    command = [sys.executable, LAUNCHER, "--processes", "1", "--", sys.executable, "-c"]
    command += ["import sys; print(sys.argv[1:])", "--config", "a b", "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.stdout == "[0] ['--config', 'a b', '--help']\n", ended.stdout + ended.stderr
