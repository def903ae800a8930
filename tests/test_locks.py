"""Locks between real processes: held, killed, on file systems without flock, and from other machines."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from bioclip_jax import locks
from bioclip_jax.errors import UserError
from bioclip_jax.locks import lock, locked

# Holds PATH until its stdin ends; "ENOSYS" simulates a file system without flock.
HOLD = """
import errno, fcntl, os, sys
from pathlib import Path
from bioclip_jax.locks import locked
path, flock = Path(sys.argv[1]), sys.argv[2]
if flock != "works":
    def refuse(*_):
        raise OSError(getattr(errno, flock), os.strerror(getattr(errno, flock)))
    fcntl.flock = refuse
with locked(path, "held"):
    print("has it", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(path: Path, flock: str):
    """Run a process that holds the lock."""
    command = [sys.executable, "-c", HOLD, str(path), flock]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout.readline() == "has it\n"
        try:
            yield process
        finally:
            process.kill()


def refuse_flock(monkeypatch, number: int = errno.ENOSYS) -> None:
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("flock", ["works", "ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def test_a_held_lock_is_refused_and_that_of_a_killed_process_is_free(flock, tmp_path, monkeypatch):
    path = tmp_path / ".lock"
    if flock != "works":
        refuse_flock(monkeypatch, getattr(errno, flock))
    with holder(path, flock) as process:
        for _ in range(2):
            with (
                pytest.raises(UserError, match=rf"taken \(held by process {process.pid} on .*\)"),
                locked(path, "taken"),
            ):
                pass
        # Not waited for, so it is a zombie, which no longer holds the lock.
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with locked(path, "taken"):
            assert sorted(file.name for file in tmp_path.iterdir()) == [
                ".lock" if flock == "works" else ".lock.held"
            ]
    assert not list(tmp_path.iterdir()), "a released lock leaves no file"


@pytest.mark.parametrize("flock", ["works", "ENOSYS"])
def test_a_lock_is_released_after_an_orderly_end(flock, tmp_path, monkeypatch):
    path = tmp_path / ".lock"
    if flock != "works":
        refuse_flock(monkeypatch)
    with holder(path, flock) as process:
        process.stdin.close()
        assert process.wait() == 0
    with pytest.raises(RuntimeError), locked(path, "taken"):
        raise RuntimeError
    with locked(path, "taken"), pytest.raises(UserError, match="taken"), locked(path, "taken"):
        pass


@pytest.mark.parametrize("flock", ["works", "ENOSYS"])
def test_a_lock_can_be_waited_for(flock, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_POLL_SECONDS", 0.01)
    if flock != "works":
        refuse_flock(monkeypatch)
    with holder(tmp_path / ".lock", flock) as process:
        process.stdin.close()
        with locked(tmp_path / ".lock", None):
            assert process.wait() == 0, "the lock was acquired while another process held it"


def other_machine(path: Path) -> None:
    """Write the lock of a process on another machine, whose state cannot be queried."""
    process = locks._this_process() | {"host": "node7", "boot": "another", "token": "its own"}
    path.with_name(f"{path.name}.held").write_text(json.dumps(process))


def test_the_lock_of_a_silent_process_on_another_machine_is_taken_over(tmp_path, monkeypatch, capsys):
    refuse_flock(monkeypatch)
    monkeypatch.setattr(locks, "_SILENT_SECONDS", 0.2)
    monkeypatch.setattr(locks, "_POLL_SECONDS", 0.01)
    other_machine(tmp_path / ".lock")
    with locked(tmp_path / ".lock", "taken"):
        held = json.loads((tmp_path / ".lock.held").read_text())
        assert held["pid"] == os.getpid() and held["boot"] != "another"
    assert f"waiting for a heartbeat of process {os.getpid()} on node7" in capsys.readouterr().err


def test_a_heartbeat_from_another_machine_keeps_its_lock(tmp_path, monkeypatch):
    """Simulated by a contender in the same process with another boot id."""
    refuse_flock(monkeypatch)
    monkeypatch.setattr(locks, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(locks, "_HEARTBEAT_SECONDS", 0.05)
    path, this = tmp_path / ".lock", locks._this_process()
    with locked(path, "taken"):
        monkeypatch.setattr(locks, "_this_process", lambda: this | {"boot": "another", "token": "newcomer"})
        with pytest.raises(UserError, match="taken"), locked(path, "taken"):
            pass
        monkeypatch.setattr(locks, "_this_process", lambda: this)


def test_a_reused_process_number_is_not_the_holder(tmp_path, monkeypatch):
    refuse_flock(monkeypatch)
    process = locks._this_process() | {"started": "1"}
    (tmp_path / ".lock.held").write_text(json.dumps(process))
    with locked(tmp_path / ".lock", "taken"):
        pass


def test_without_hard_links(tmp_path, monkeypatch):
    def link(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    refuse_flock(monkeypatch)
    monkeypatch.setattr(os, "link", link)
    with (
        locked(tmp_path / ".lock", "taken"),
        pytest.raises(UserError, match="taken"),
        locked(tmp_path / ".lock", "taken"),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_other_errors_are_raised(tmp_path, monkeypatch):
    refuse_flock(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output"), locked(tmp_path / ".lock", "taken"):
        pass


def test_a_file_that_cannot_be_locked_is_used_with_a_note(tmp_path, monkeypatch, capsys):
    refuse_flock(monkeypatch)
    with open(tmp_path / "a", "w") as file:
        lock(file, "taken")
    note = capsys.readouterr().err
    assert note.count("\n") == 1 and f"the file system of {tmp_path} has no file locks" in note
