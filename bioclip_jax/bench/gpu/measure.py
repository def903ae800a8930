"""Run the plan in subprocesses within a time limit, and keep every result."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioclip_jax.errors import Interrupted, UserError, did_you_mean
from bioclip_jax.files import check_folder, json_text, write_text
from bioclip_jax.locks import locked
from bioclip_jax.train import TrainConfig

from .plan import Measurement, Sizes, plan_measurements
from .report import gpu_report

# Kept back from a measurement's time, to end its process and write the report.
_RESERVE_SECONDS = 5.0
# A day, which is many times what the plan takes.
_MOST_MINUTES = 24 * 60
# A measurement that ran out of time so often comes after all others.
_TRIES = 2
# Keys of the config in the report.
_SETTINGS = (
    "model",
    "precision",
    "gradient_cache",
    "remat",
    "micro_batches",
    "unroll",
    "attention",
    "compiler_options",
)
_WITH_CEILING = ("compare", "train", "peer")


def measure_gpu(
    config: TrainConfig,
    output: Path,
    sizes: Sizes,
    *,
    minutes: float = 9.0,
    only: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure what is missing in the folder `output`, for at most `minutes`; return the content of gpu.json.

    Each measurement runs in a process of its own, starts only if its expected duration fits, and is written
    to results/NAME.json at once; a failure is recorded with its reason and ends no other. A later call with
    the same config, versions and devices goes on with what is missing, then tries again what failed. The
    compilation caches are in the folder too, so a second try is faster. only: names of measurements.

    Raises UserError for invalid minutes, an unknown name, an unusable folder or a device that does not start,
    and Interrupted at Ctrl-C and SIGTERM.
    """
    if not 0 < minutes <= _MOST_MINUTES:
        raise UserError(f"--minutes is {minutes:g}; it must be above 0, and at most {_MOST_MINUTES}")
    deadline = time.monotonic() + 60 * minutes
    names = [measurement.name for measurement in plan_measurements(config, sizes)]
    for name in only:
        if name not in names:
            raise UserError(f"there is no measurement {name}{did_you_mean(name, names, 'see --list')}")
    check_folder(output)
    output.mkdir(exist_ok=True)
    with locked(output / ".lock", f"another bench gpu runs in {output}; wait for it, or name another folder"):
        call = _Call(output, config, sizes, deadline)
        try:
            call.run(only or names)
        except KeyboardInterrupt:
            raise Interrupted(f"{output} keeps what is measured; the same command resumes") from None
        return call.report()


class _Call:
    """One call of measure_gpu."""

    def __init__(self, output: Path, config: TrainConfig, sizes: Sizes, deadline: float) -> None:
        self._output, self._config, self._sizes, self._deadline = output, config, sizes, deadline
        self._measurements = plan_measurements(config, sizes)
        self._results = output / "results"
        self._machine: dict[str, Any] = {}
        for folder in ("results", "logs"):
            (output / folder).mkdir(exist_ok=True)

    def run(self, names: Sequence[str]) -> None:
        """Start what fits, the most valuable first."""
        machine = self._run_task(Measurement("machine", "machine", "", "", 0.5, {}))
        if machine["status"] != "measured":
            raise UserError(f"the device does not start: {machine['reason']}")
        self._machine = machine["result"]
        if self._machine["platform"] == "cpu" and not self._sizes.quick:
            raise UserError("JAX has no GPU; install its CUDA plugin, or try the command with --quick")
        _log(f"{self._machine['devices']} x {self._machine['device']}")
        waiting = [measurement for measurement in self._measurements if measurement.name in names]
        waiting = [
            measurement for measurement in waiting if self._record(measurement)["status"] != "measured"
        ]
        waiting.sort(key=self._priority)
        started = False
        while waiting:
            left = (self._deadline - time.monotonic()) / 60
            fits = [measurement for measurement in waiting if self._minutes(measurement) <= left]
            # Where nothing fits into a whole call, a try at least fills the compilation cache.
            if not fits and (started or left < 0.5):
                break
            measurement = (fits or waiting)[0]
            waiting.remove(measurement)
            started = True
            self._measure(measurement)
            self.report()  # A later interruption leaves it as it is.

    def report(self) -> dict[str, Any]:
        """Write gpu.json and gpu.md from the results so far; return the former's content."""
        content = {
            "date": _now(),
            "machine": self._machine,
            "config": {key: getattr(self._config, key) for key in _SETTINGS},
            "pairs": self._sizes.pairs,
            "replay_pairs": self._sizes.replay_pairs,
            "quick": self._sizes.quick,
            "measurements": {
                measurement.name: {"group": measurement.group, "title": measurement.title}
                | self._record(measurement)
                for measurement in self._measurements
            },
        }
        write_text(self._output / "gpu.json", json_text(content, indent=2) + "\n")
        write_text(self._output / "gpu.md", gpu_report(content))
        return content

    def _measure(self, measurement: Measurement) -> None:
        tries = self._record(measurement).get("tries", 0) + 1
        _log(f"{measurement.name}, about {self._minutes(measurement):.1f} minutes")
        ceiling = self._load("ceiling")
        arguments = dict(measurement.arguments)
        if measurement.task in _WITH_CEILING and ceiling.get("status") == "measured":
            arguments["ceiling"] = ceiling["result"]
        if measurement.task == "peer":
            # Its process must not start JAX on the GPU, whose memory the peer needs first.
            arguments["gpus"] = self._machine["devices"] if self._machine["platform"] == "gpu" else 0
        record = self._run_task(measurement, arguments)
        about = {"key": self._key(measurement), "tries": tries, "date": _now()}
        write_text(self._results / f"{measurement.name}.json", json_text(record | about, indent=2) + "\n")
        reason = f" ({record['reason']})" if "reason" in record else ""
        _log(f"{measurement.name} {record['status']}{reason}, {record['seconds']:.0f} s")

    def _run_task(self, measurement: Measurement, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run a task in a process of its own; return its status, and its result or the reason it has none."""
        command = [sys.executable, "-m", "bioclip_jax.bench.gpu.tasks", str(os.getpid())]
        log = self._output / "logs" / f"{measurement.name}.log"
        start = time.monotonic()
        limit = max(self._deadline - start - _RESERVE_SECONDS, 1.0)
        with log.open("w") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self._environment(),
                # A group of its own, so that the processes it starts end with it.
                start_new_session=True,
            )
            try:
                task = json.dumps({"task": measurement.task, **(arguments or measurement.arguments)})
                answer, _ = process.communicate(task, timeout=limit)
                record = _outcome(answer, process.returncode, log)
            except subprocess.TimeoutExpired:
                record = {"status": "out of time", "reason": f"stopped after {limit:.0f} s"}
            finally:
                _end(process)
        return record | {"seconds": time.monotonic() - start}

    def _environment(self) -> dict[str, str]:
        caches = {
            "JAX_COMPILATION_CACHE_DIR": str((self._output / "xla").absolute()),
            "TORCHINDUCTOR_CACHE_DIR": str((self._output / "torch").absolute()),
            # Nothing is downloaded.
            "HF_HUB_OFFLINE": "1",
        }
        # The fastest choices need more than JAX's 75 % of a GPU's memory.
        return {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9", **os.environ, **caches}

    def _load(self, name: str) -> dict[str, Any]:
        try:
            return json.loads((self._results / f"{name}.json").read_text())
        except (OSError, json.JSONDecodeError):
            return {}

    def _record(self, measurement: Measurement) -> dict[str, Any]:
        """Return the measurement's result in the folder, or the reason why there is none."""
        record = self._load(measurement.name)
        if not record:
            return {"status": "missing", "reason": "not reached yet"}
        if self._machine and record["key"] != self._key(measurement):
            return {"status": "missing", "reason": "measured with another config, version or device"}
        return record

    def _key(self, measurement: Measurement) -> str:
        """Return a hash of everything that may affect the result."""
        machine = {key: self._machine[key] for key in ("device", "devices", "versions")}
        text = json.dumps([measurement.task, measurement.arguments, machine], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _priority(self, measurement: Measurement) -> int:
        record = self._record(measurement)
        return {"failed": 2, "out of time": int(record.get("tries", 0) >= _TRIES)}.get(record["status"], 0)

    def _minutes(self, measurement: Measurement) -> float:
        """Return the expected duration: the longest of the same task so far, or else the plan's guess."""
        same = [self._load(other.name) for other in self._measurements if other.task == measurement.task]
        done = [record for record in same if record.get("status") == "measured"]
        # One whose program was in the cache says nothing about those that must be compiled.
        seconds = [record["seconds"] for record in done if not record["result"].get("compile_cached")]
        return 1.2 * max(seconds) / 60 if seconds else measurement.minutes


def _outcome(answer: str, status: int, log: Path) -> dict[str, Any]:
    """Return the record of a process that wrote `answer` and ended with `status`."""
    result = json.loads(answer) if answer.strip() else {}
    if "missing" in result:
        return {"status": "failed", "reason": f"{result['missing']} is not installed"}
    if result and "error" not in result:
        return {"status": "measured", "result": result}
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    reason = result.get("error") or (lines[-1] if lines else f"its process ended with status {status}")
    return {"status": "failed", "reason": reason[:300]}


def _end(process: subprocess.Popen) -> None:
    """Kill a process and those that it started, which would keep the device."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    for stream in (process.stdin, process.stdout):
        stream.close()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _log(message: str) -> None:
    print(f"bench gpu: {message}", file=sys.stderr, flush=True)
