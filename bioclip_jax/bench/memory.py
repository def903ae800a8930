"""Whether a config fits its devices, found out on a CPU: the update compiled ahead of time, and counted by hand."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

import jax
import jax.numpy as jnp

from bioclip_jax.errors import UserError
from bioclip_jax.train import Experiment, TrainConfig, compile_step

from .memory_model import device_memory
from .tables import markdown

# Of an H100 SXM, in bytes (NVIDIA H100 Tensor Core GPU data sheet).
DEVICE_BYTES = 80e9


def measure_memory(config: TrainConfig, *, devices: int) -> dict[str, Any]:
    """The memory of one of `devices` devices during an update of `config`. Nothing is trained or allocated.

    Returns, in bytes of one device: "analytic", what device_memory counts, with its "total" and whether that
    "fits" into DEVICE_BYTES; "compiled", XLA's analysis of the update compiled for CPU devices. The latter is
    an upper
    bound: a CPU's program has no cuDNN attention, widens bfloat16 products to float32, and fuses less than a
    GPU's. UserError where the mesh or the batch does not fit so many devices, or JAX already runs with
    others.
    """
    _use_cpu_devices(devices)
    experiment = Experiment(replace(config, total_steps=config.total_steps or 1, init_from=None))
    flash = jnp.dtype(config.dtype).itemsize == 2 and config.attention != "xla"
    counted = device_memory(experiment, flash=flash)
    start = time.perf_counter()
    compiled = compile_step(experiment.lower(), experiment.config)
    seconds = time.perf_counter() - start
    analysis = compiled.memory_analysis()
    xla = {
        "arguments": analysis.argument_size_in_bytes,
        "outputs_beside_them": analysis.output_size_in_bytes - analysis.alias_size_in_bytes,
        "temporary": analysis.temp_size_in_bytes,
    }
    rows = (config.global_batch_size + config.replay.batch_size) // experiment.shards
    return {
        "model": config.model,
        "devices": devices,
        "mesh": dict(experiment.mesh.shape),
        "pairs_per_device": rows,
        "pairs_in_a_micro_batch": rows // config.micro_batches,
        "remat": config.remat,
        "precision": config.precision,
        "analytic": asdict(counted) | {"total": counted.total},
        "fits": counted.total <= DEVICE_BYTES,
        "compiled": xla | {"total": sum(xla.values())},
        "compile_seconds": round(seconds, 1),
    }


def memory_table(result: dict[str, Any]) -> str:
    """The result of `run` as Markdown, in GB of 1e9 bytes."""

    def rows(sizes: dict[str, int]) -> list[tuple[str, str]]:
        return [(name.replace("_", " "), f"{size / 1e9:.2f}") for name, size in sizes.items()]

    mesh = " x ".join(f"{name} {size}" for name, size in result["mesh"].items())
    verdict = "fits" if result["fits"] else "does not fit"
    return "\n\n".join(
        [
            f"{result['model']} on {result['devices']} devices ({mesh}): {result['pairs_per_device']} pairs "
            f"a device, "
            f"{result['pairs_in_a_micro_batch']} at a time, {result['precision']}, remat {result['remat']}.",
            markdown(("counted, on one device", "GB"), rows(result["analytic"])),
            f"This {verdict} into {DEVICE_BYTES / 1e9:.0f} GB.",
            markdown(("compiled for a CPU, an upper bound", "GB"), rows(result["compiled"])),
            f"CPU buffers are not a GPU's. Compiled in {result['compile_seconds']} s.",
        ]
    )


def _use_cpu_devices(count: int) -> None:
    if count < 1:
        raise UserError(f"--devices is {count}; give how many devices the config is to run on")
    jax.config.update("jax_platforms", "cpu")
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:
        pass  # The devices are there already; whether they are as many is checked below.
    if jax.device_count() != count:
        raise UserError(f"JAX runs with {jax.device_count()} devices here, not {count}; start a new process")
