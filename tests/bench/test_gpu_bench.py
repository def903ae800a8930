"""bench gpu: the plan, calls that are killed and resumed on a CPU device, the trace, and the report."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bioclip_jax.bench import Sizes, gpu_report, measure_gpu, plan_measurements
from bioclip_jax.bench.gpu.kernels import costliest_kernels
from bioclip_jax.cli.config import read_config
from bioclip_jax.errors import UserError
from bioclip_jax.train import train_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# With stochastic rounding another precision than pure_bf16 is an error.
TINY = (
    "--quick",
    "--pairs-per-device=16",
    f"--config={CONFIGS / 'mini.py'}",
    "--config.model=ViT-Test-16",
    "--config.optimizer.name=adamw",
    "--config.optimizer.rounding=stochastic",
    "--config.precision=pure_bf16",
    "--config.caption.unique_texts=False",
    "--config.unroll=1",
)
# LLVM's optimization takes most of the compile time of a program that runs for milliseconds.
QUICK_COMPILE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


class Call:
    """A call of bench gpu on one CPU device."""

    def __init__(self, output: Path, *only: str) -> None:
        command = [
            sys.executable,
            "-m",
            "bioclip_jax.cli",
            "bench",
            "gpu",
            str(output),
            *TINY,
            "--only",
            *only,
        ]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICK_COMPILE}
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def wait_for(self, line: str) -> None:
        """Wait until standard error holds a line that begins with "bench gpu: " and `line`."""
        seen = []
        for text in self.process.stderr:
            seen.append(text)
            if text.startswith(f"bench gpu: {line}"):
                return
        pytest.fail(f"no line {line!r}: {''.join(seen)}")

    def stop(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; return the status and the errors once the measuring processes have ended too."""
        # Its line is printed just before a measurement's process starts.
        while not (children := psutil.Process(self.process.pid).children(recursive=True)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.01)
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=60)
        _, alive = psutil.wait_procs(children, timeout=60)
        assert not alive, f"{alive} would keep the device"
        return self.process.returncode, errors

    def finish(self) -> tuple[str, str]:
        output, errors = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, errors
        return output, errors


def test_killed_calls_are_resumed(tmp_path):
    output = tmp_path / "out"
    names = ("ceiling", "step", "attention-xla", "precision-bf16", "checkpoint", "inference-bf16", "profile")
    call = Call(output, *names)
    call.wait_for("step")
    call.stop(signal.SIGKILL)
    ceiling = (output / "results" / "ceiling.json").read_text()
    assert json.loads(ceiling)["status"] == "measured" and "not reached" in (output / "gpu.md").read_text()

    call = Call(output, *names)
    call.wait_for("step")
    status, errors = call.stop(signal.SIGTERM)
    assert status == 128 + signal.SIGTERM and "the same command resumes" in errors, errors
    assert not (output / "results" / "step.json").exists()

    printed, errors = Call(output, *names).finish()
    assert (output / "results" / "ceiling.json").read_text() == ceiling, "it was measured again"
    results = json.loads((output / "gpu.json").read_text())["measurements"]
    status = {name: results[name]["status"] for name in names}
    assert status == dict.fromkeys(names, "measured") | {"precision-bf16": "failed"}, errors
    assert "rounding is stochastic" in results["precision-bf16"]["reason"]
    assert {result["status"] for name, result in results.items() if name not in names} == {"missing"}

    step = results["step"]["result"]
    assert step["before"]["pairs_per_second"] > 0 and step["default"]["pairs_per_second"] > 0
    assert step["default"]["matmul"] == json.loads(ceiling)["result"]
    assert not step["default"]["compile_cached"] and results["attention-xla"]["result"]["compile_cached"]
    assert results["checkpoint"]["result"]["later"][0]["blocked_seconds"] > 0
    assert len(results["profile"]["result"]["kernels"]) == 10
    report = (output / "gpu.md").read_text()
    assert report.strip() == printed.strip() and "not measured: failed" in report
    assert "the figures mean nothing" in report, "the report does not tell that --quick was given"
    assert not list(output.rglob("*.partial-*")), "remains of unfinished writes"


SIZES = Sizes(2816, 320)


def _config(name: str = "bioclip2_vit_l14.py"):
    return train_config(read_config(str(CONFIGS / name)))


def test_plan_varies_one_factor_at_a_time():
    measurements = plan_measurements(_config(), SIZES)
    names = [measurement.name for measurement in measurements]
    assert len(set(names)) == len(names) and names[:3] == ["ceiling", "step", "peer"]
    default = measurements[1].arguments["configs"]["default"]
    assert (default["global_batch_size"], default["replay"]["batch_size"]) == (2816, 320)
    before = train_config(measurements[1].arguments["configs"]["before"])
    assert (before.remat, before.micro_batches, before.unroll) == ("none", 16, 1)
    for measurement in measurements:
        if measurement.task == "train":
            assert measurement.arguments["config"] != default, f"{measurement.name} is the default"
            train_config(measurement.arguments["config"])
    assert sum(measurement.minutes for measurement in measurements[:2]) < 9, "not in the first call"


def test_a_gpus_kernels_are_summed_by_name(tmp_path):
    def named(pid, name, tid=None):
        kind = "process_name" if tid is None else "thread_name"
        return {"ph": "M", "pid": pid, "name": kind, "args": {"name": name}, **({"tid": tid} if tid else {})}

    def event(pid, tid, name, microseconds, operation="dot.1"):
        return {
            "ph": "X",
            "pid": pid,
            "tid": tid,
            "name": name,
            "dur": microseconds,
            "args": {"hlo_op": operation},
        }

    events = [
        named(1, "/device:GPU:0"),
        named(1, "Stream #13(Compute)", 13),
        named(1, "XLA Ops", 2),
        named(9, "/host:CPU"),
        event(1, 13, "gemm", 3000.0),
        event(1, 13, "gemm", 2000.0, "dot.2"),
        event(1, 13, "gelu", 5000.0 / 3, "fusion"),
        event(1, 2, "dot.1", 3000.0),
        event(9, 1, "dispatch", 9000.0),
        {},
    ]
    folder = tmp_path / "plugins" / "profile" / "2026"
    folder.mkdir(parents=True)
    (folder / "host.trace.json.gz").write_bytes(gzip.compress(json.dumps({"traceEvents": events}).encode()))
    result = costliest_kernels(tmp_path, 1)
    assert result["kernels"] == [
        {"name": "gemm", "operation": "dot.1", "milliseconds": 5.0, "calls": 2, "share": pytest.approx(0.75)}
    ]
    with pytest.raises(UserError, match="holds no kernels"):
        costliest_kernels(tmp_path / "empty")


def test_report_without_results_gives_the_reasons():
    missing = {"status": "missing", "reason": "not reached yet"}
    records = {
        measurement.name: {"group": measurement.group, "title": measurement.title, **missing}
        for measurement in plan_measurements(_config(), SIZES)
    }
    report = gpu_report({"date": "2026-11-30", "machine": {}, "quick": False, "measurements": records})
    assert "no device was started" in report and "None" not in report
    assert report.count("not measured, not reached yet") == len(records)


def test_a_cpu_is_rejected_without_quick(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    with pytest.raises(UserError, match="JAX has no GPU; install its CUDA plugin"):
        measure_gpu(_config("mini.py"), tmp_path, SIZES)
    assert not (tmp_path / "gpu.md").exists()


def test_unknown_names_are_rejected(tmp_path):
    with pytest.raises(UserError, match="no measurement attention-xl; did you mean attention-xla"):
        measure_gpu(_config("mini.py"), tmp_path, SIZES, only=["attention-xl"])


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_minutes_are_rejected(tmp_path, minutes):
    with pytest.raises(UserError, match="--minutes is .*; it must be above 0, and at most 1440"):
        measure_gpu(_config("mini.py"), tmp_path / "out", SIZES, minutes=minutes)
    assert not (tmp_path / "out").exists()
