"""The two sides of bench predict, each in processes of its own that answer lines of JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil

from bioclip_jax.errors import UserError

OURS = "bioclip_jax.bench.predict_ours"
PEER = "bioclip_jax.bench.predict_peer"


class Side:
    """A process that does tasks of OURS or PEER, one after another; it ends with the `with` block.

    Memory that one has taken, and what it has compiled, are thus its own.
    """

    def __init__(
        self, module: str, environment: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
    ) -> None:
        """`environment`: what is added to this process's. `arguments`: of the module's Tasks."""
        given = dict(os.environ)
        if module == PEER:
            given.pop("XLA_FLAGS", None)
        given |= {"HF_HUB_OFFLINE": "1", **(environment or {})}
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=given,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def ask(self, task: str, **arguments: Any) -> dict[str, Any]:
        """What the task answers. UserError where the process cannot do it, or lacks a package."""
        try:
            print(json.dumps({"task": task, **arguments}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            pass  # It has ended, and may have said why.
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": _ending(self._process.wait())}
        if "missing" in answer:
            raise UserError(f"--peer needs {answer['missing']}; install it: pip install 'bioclip-jax[test]'")
        if "error" in answer:
            peer = self._module == PEER
            advice = ["give less at once"] if "memory" in answer["error"].lower() else []
            advice += ["leave out --peer"] if peer else []
            told = f"{'the peer' if peer else 'bioclip_jax'} failed at {task}: {answer['error']}"
            raise UserError("; ".join([told, *([" or ".join(advice)] if advice else [])]))
        return answer


def _ending(status: int) -> str:
    # Linux kills the process that takes too much.
    return (
        "it was killed, as for want of memory"
        if status == -signal.SIGKILL
        else f"it ended with status {status}"
    )


def serve(make_tasks: Callable[[], Any]) -> None:
    """The process's side: answers each line of its input, {"task": a method of the object that is made first, and its
    arguments}, with the dict that the method gives.
    """
    # Whatever a library prints must not come between the lines.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        tasks = make_tasks()
    except ImportError as error:
        return say({"missing": error.name})
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            say(getattr(tasks, arguments.pop("task"))(**arguments))
        except (UserError, RuntimeError, ValueError, OSError, MemoryError) as error:
            return say({"error": f"{type(error).__name__}: {error}".splitlines()[0]})


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """(What it gives, its seconds and cpu_seconds: of all threads, and of processes that it waited for, which other
    load on the machine hardly changes).
    """
    start, cpu = time.perf_counter(), _cpu_seconds()
    result = work()
    return result, {"seconds": time.perf_counter() - start, "cpu_seconds": _cpu_seconds() - cpu}


def _cpu_seconds() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def since_start() -> dict[str, float]:
    """Of this process so far, the interpreter and imports too: seconds and cpu_seconds."""
    return {"seconds": time.time() - psutil.Process().create_time(), "cpu_seconds": _cpu_seconds()}


def memory() -> dict[str, int]:
    """Bytes of this process in memory, mapped pages too: now, and at most so far."""
    resident = psutil.Process().memory_info().rss
    status = Path("/proc/self/status")
    if not status.exists():
        import resource

        return {
            "memory_bytes": resident,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }
    # Not getrusage: under Linux that begins with the peak of the process which started this one.
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return {"memory_bytes": resident, "peak_memory_bytes": 1024 * int(lines["VmHWM"].split()[0])}
