"""The measurements of bench gpu, each the only task of a process.

The process is `python -m bioclip_jax.bench.gpu.tasks PARENT`, in a process group of its own.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..peer import serve_tasks

# Programs of the training step in the compilation cache.
_STEP_PROGRAMS = "jit_train_step-*-cache"
_WARM_UP_STEPS = 2


class Tasks:
    """Measurements by name; configs are TrainConfigs as JSON, of one device's batch."""

    def __init__(self) -> None:
        import jax

        self._jax = jax
        self._cache = Path(jax.config.jax_compilation_cache_dir)

    def machine(self) -> dict[str, Any]:
        """Return the devices and the versions of the packages, None for one that is missing."""
        from importlib.metadata import PackageNotFoundError, version

        versions: dict[str, str | None] = {}
        for name in (
            "bioclip-jax",
            "jax",
            "jaxlib",
            "flax",
            "optax",
            "orbax-checkpoint",
            "torch",
            "open_clip_torch",
        ):
            try:
                versions[name] = version(name)
            except PackageNotFoundError:
                versions[name] = None
        device = self._jax.local_devices()[0]
        platform = " ".join(device.client.platform_version.split())
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        memory = (device.memory_stats() or {}).get("bytes_limit")
        return {
            "platform": device.platform,
            "device": device.device_kind,
            "devices": self._jax.local_device_count(),
            "memory_bytes": memory,
            "runtime": platform,
            "cpus": cpus,
            "versions": versions,
        }

    def ceiling(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Measure matrix products with the model's shapes and square ones."""
        from ..train import matrix_products

        return matrix_products(self._experiment(config))

    def compare(
        self,
        configs: Mapping[str, Mapping[str, Any]],
        turns: int,
        steps: int,
        ceiling: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Train configs with equal states in turns; a config that fails gets {"error"} instead of speeds."""
        from ..step_timer import StepTimer
        from ..train import matrix_products, speeds

        experiments = {name: self._experiment(config) for name, config in configs.items()}
        ceiling = ceiling or matrix_products(next(iter(experiments.values())))
        timers, results, state = {}, {}, None
        for name, experiment in experiments.items():
            try:
                timer, cached = StepTimer(experiment, state=state), self._cached()
                timer.turn(_WARM_UP_STEPS)
            except (RuntimeError, ValueError) as error:
                # The failed step may have consumed the state.
                results[name], state = {"error": str(error).partition("\n")[0]}, None
                continue
            timers[name], state = timer, timer.state
            results[name] = self._compilation(experiment, cached) | _memory(self._jax)
        measured: dict[str, list[Any]] = {name: [] for name in timers}
        for _ in range(turns):
            for name, timer in timers.items():
                # Two states would not fit beside the larger program.
                timer.state = state
                measured[name].append(timer.turn(steps))
                state = timer.state
        for name, timed in measured.items():
            results[name] |= speeds(experiments[name], timed, ceiling)
        return results

    def train(
        self, config: Mapping[str, Any], steps: int, ceiling: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Measure one config."""
        from ..train import measure_training

        cached = self._cached()
        result = measure_training(self._config(config), steps=2 * steps, ceiling=ceiling, cache=self._cache)
        return result | {"compile_cached": not self._cached() - cached}

    def peer(
        self,
        config: Mapping[str, Any],
        theirs: Mapping[str, Any],
        steps: int,
        gpus: int,
        ceiling: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Measure open_clip with the config `theirs` on one device, then ours with `config`.

        gpus: of this machine, which the peer must have too; 0 on a CPU.
        """
        from ..open_clip_peer import OpenClipPeer

        rival = OpenClipPeer(self._config(theirs, gpus or 1), needs_gpu=gpus > 0)
        for _ in range(2):
            rival.turn(steps)
        rival.close()
        ours = self.train(config, steps, ceiling)
        speed = rival.pairs / statistics.median(rival.seconds)
        ratio = ours["pairs_per_second"] / ours["devices"] / speed
        return {"ours": ours, "peer": {"pairs_per_second": speed, **rival.about}, "ratio": ratio}

    def checkpoint(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Measure how long saving blocks training, and how much it slows the next step."""
        from bioclip_jax.checkpoint import Checkpoints, TrainingDirectory

        from ..step_timer import StepTimer

        timer = StepTimer(self._experiment(config))
        timer.turn(_WARM_UP_STEPS)
        undisturbed = timer.turn(2).seconds
        size = sum(array.nbytes for array in self._jax.tree.leaves(timer.state))
        saves = []
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = Checkpoints(TrainingDirectory(Path(folder)), keep=1)
            for step in range(1, 4):
                start = time.perf_counter()
                checkpoints.save(step, timer.state.to_trees(), {})
                blocked = time.perf_counter() - start
                slowed = timer.turn(1).seconds - undisturbed
                checkpoints.wait()
                written = time.perf_counter() - start
                saves.append(
                    {"blocked_seconds": blocked, "slower_step_seconds": slowed, "on_disk_seconds": written}
                )
            checkpoints.close()
        return {"bytes": size, "first": saves[0], "later": saves[1:], "step_seconds": undisturbed}

    def inference(self, architecture: str, precision: str, images: int) -> dict[str, Any]:
        """Measure a cold classifier, and images/s from JPEG files and from pixels, in other processes."""
        from ..predict import measure_inference

        return measure_inference(architecture, precision, photographs=images)

    def profile(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Trace one step and sum its kernels."""
        from ..step_timer import StepTimer
        from .kernels import costliest_kernels

        timer = StepTimer(self._experiment(config))
        timer.turn(_WARM_UP_STEPS)
        options = self._jax.profiler.ProfileOptions()
        options.python_tracer_level = 0
        with tempfile.TemporaryDirectory() as folder:
            with self._jax.profiler.trace(folder, profiler_options=options):
                seconds = timer.turn(1).seconds
            return {"step_seconds": seconds, **costliest_kernels(Path(folder))}

    def _config(self, values: Mapping[str, Any], devices: int | None = None) -> Any:
        """Return the TrainConfig with a batch for all devices; a CPU's count as one."""
        from bioclip_jax.train import train_config

        config = train_config(values)
        if devices is None:
            devices = self._jax.local_device_count() if self._jax.default_backend() != "cpu" else 1
        replay = replace(config.replay, batch_size=config.replay.batch_size * devices)
        return replace(
            config,
            global_batch_size=config.global_batch_size * devices,
            replay=replay,
            total_steps=config.total_steps or 1_000_000,
        )

    def _experiment(self, values: Mapping[str, Any]) -> Any:
        from bioclip_jax.train import Experiment

        return Experiment(self._config(values))

    def _cached(self) -> set[str]:
        return {path.name for path in self._cache.glob(_STEP_PROGRAMS)}

    def _compilation(self, experiment: Any, before: set[str]) -> dict[str, Any]:
        seconds = round(sum(experiment.compile_seconds), 1)
        return {"compile_seconds": seconds, "compile_cached": not self._cached() - before}


def _memory(jax: Any) -> dict[str, Any]:
    """Return the largest memory that the process has used of a device so far, None on a CPU."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    return {"peak_memory_bytes": max(device.get("peak_bytes_in_use") or 0 for device in stats) or None}


def _end_with_parent(parent: int) -> None:
    """Kill this process and its children once the process `parent` has ended, so that the device is free."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, args=(int(sys.argv[1]),), daemon=True).start()
    serve_tasks(Tasks)
