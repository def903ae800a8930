"""Benchmark tasks in a process of their own, called over lines of JSON.

A separate process starts with empty caches, returns its memory when it ends, and keeps torch out of this one.
"""

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

# torch forgets an operator library's definitions when the object is deleted.
_OPERATORS: list[Any] = []


class PeerProcess:
    """A child process that runs the tasks of a module, one after another, until the `with` block ends.

    module: one that calls serve_tasks when it runs as a program. arguments: its command line. environment:
    variables added to this process's. ours: True for this project's side of a comparison, for error messages.
    extra: bioclip-jax's extra that installs its packages. memory_advice: a remedy for running out of memory.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        environment: Mapping[str, str] | None = None,
        ours: bool = False,
        extra: str = "peers",
        memory_advice: str = "give less at once",
    ) -> None:
        self._ours, self._extra, self._memory_advice = ours, extra, memory_advice
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **(environment or {})},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process; a second call does nothing."""
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def call(self, task: str, **arguments: Any) -> dict[str, Any]:
        """Return a task's result. Raises UserError if it fails, the process dies or a package is missing."""
        try:
            print(json.dumps({"task": task, **arguments}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            pass  # It has ended, perhaps after writing the reason.
        line = self._process.stdout.readline()
        result = json.loads(line) if line else {"error": _exit_reason(self._process.wait())}
        if "missing" in result:
            install = f"pip install 'bioclip-jax[{self._extra}]'"
            raise UserError(f"--peer needs {result['missing']}; install the peers: {install}")
        if "error" in result:
            advice = [self._memory_advice] if "memory" in result["error"].lower() else []
            if not self._ours:
                advice.append("omit --peer")
            side = "bioclip_jax" if self._ours else "the peer"
            failure = f"{side} failed at {task}: {result['error']}"
            raise UserError("; ".join([failure, " or ".join(advice)] if advice else [failure]))
        return result


def _exit_reason(status: int) -> str:
    # Linux's out-of-memory killer sends SIGKILL.
    killed = status == -signal.SIGKILL
    return "it was killed, probably for lack of memory" if killed else f"it ended with status {status}"


def serve_tasks(make_tasks: Callable[[], Any]) -> None:
    """Serve the methods of the object that `make_tasks` returns, as the child of a PeerProcess.

    Each input line is {"task": method name, **arguments}, each output line the dict that the method returns,
    {"missing": package} or {"error": sentence}.
    """
    # Libraries print to standard output; keep that apart from the results.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def send(result: dict[str, Any]) -> None:
        print(json.dumps(result), file=results, flush=True)

    try:
        tasks = make_tasks()
    except ImportError as error:
        return send({"missing": error.name})
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            send(getattr(tasks, arguments.pop("task"))(**arguments))
        except (UserError, RuntimeError, ValueError, OSError, MemoryError) as error:
            return send({"error": f"{type(error).__name__}: {error}".splitlines()[0]})


def import_torchvision() -> None:
    """Import torchvision, also beside a CPU build of torch that lacks two of its operators.

    The peers use neither operator, so declarations are enough. Raises ImportError if torch or torchvision is
    not installed.
    """
    import torch

    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _OPERATORS.append(library)
        import torchvision  # noqa: F401


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return the result of `work` and its clock, {"seconds", "cpu_seconds"}.

    cpu_seconds: of all threads and of awaited child processes; less sensitive to other load on the machine.
    """
    start, cpu = time.perf_counter(), _cpu_seconds()
    result = work()
    return result, {"seconds": time.perf_counter() - start, "cpu_seconds": _cpu_seconds() - cpu}


def _cpu_seconds() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def time_since_start() -> dict[str, float]:
    """Clock of this process since its start, interpreter and imports included."""
    return {"seconds": time.time() - psutil.Process().create_time(), "cpu_seconds": _cpu_seconds()}


def memory_usage() -> dict[str, int]:
    """Resident bytes of this process, mapped pages included: {"memory_bytes", "peak_memory_bytes"}."""
    resident = psutil.Process().memory_info().rss
    status = Path("/proc/self/status")
    if not status.exists():
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"memory_bytes": resident, "peak_memory_bytes": peak}
    # Not getrusage: under Linux its peak starts at that of the parent process.
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return {"memory_bytes": resident, "peak_memory_bytes": 1024 * int(lines["VmHWM"].split()[0])}
