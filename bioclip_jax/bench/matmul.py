"""How fast a device multiplies matrices: the ceiling that a trainer's speed is held against."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from bioclip_jax.models import CLIPConfig

# Seconds of products that a speed is taken from: long enough for a GPU's clocks to settle.
_SECONDS = {"gpu": 3.0, "cpu": 1.0}
_SQUARE = {"gpu": 8192, "cpu": 1024}
# A CPU is at its speed with fewer rows, and would take seconds for one product with all.
_MOST_ROWS = {"gpu": 1 << 20, "cpu": 4096}


def measured_peak(config: CLIPConfig, rows: int, device: jax.Device) -> dict[str, Any]:
    """Speeds in TFLOP/s of products alone: "model", of the image tower's blocks; "square"; and the larger as "peak".

    rows: of the model's products, images times tokens. On a GPU the operands are bfloat16 and the square
    8,192 wide, elsewhere float32 and 1,024; "dtype" says which.
    """
    kind = "gpu" if device.platform == "gpu" else "cpu"
    dtype, size, seconds = (jnp.bfloat16 if kind == "gpu" else jnp.float32), _SQUARE[kind], _SECONDS[kind]
    width, hidden = config.vision.width, config.vision.mlp_width
    of_a_block = (width, 3 * width, width, width, hidden, width)
    speeds = {
        "model": chain_speed(min(rows, _MOST_ROWS[kind]), of_a_block, dtype, seconds, device),
        "square": chain_speed(size, (size, size, size), dtype, seconds, device),
    }
    return speeds | {"peak": max(speeds.values()), "dtype": jnp.dtype(dtype).name}


def fastest(measurements: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The largest of each speed in several results of measured_peak."""
    speeds = {name: max(each[name] for each in measurements) for name in ("model", "square", "peak")}
    return measurements[0] | speeds


def chain_speed(rows: int, widths: Sequence[int], dtype: Any, seconds: float, device: jax.Device) -> float:
    """TFLOP/s of x [rows, widths[0]] multiplied through all of `widths`, over and over for some `seconds`.

    The last width is the first, and each product takes what the one before gave, inside one program: none can
    be left out, and nothing but products runs.
    """
    keys = jax.random.split(jax.random.key(0), len(widths))
    # Columns of this size keep the entries of a product as large as those of its factor.
    kernels = [
        jax.random.normal(key, shape, dtype) * shape[0] ** -0.5
        for key, shape in zip(keys[1:], zip(widths, widths[1:]), strict=True)
    ]
    x, kernels = jax.device_put((jax.random.normal(keys[0], (rows, widths[0]), dtype), kernels), device)

    @jax.jit
    def chain(x: jax.Array, kernels: list[jax.Array], times: int) -> jax.Array:
        def once(_: int, x: jax.Array) -> jax.Array:
            for kernel in kernels:
                x = x @ kernel
            return x

        return jax.lax.fori_loop(0, times, once, x)

    def timed(times: int) -> float:
        start = time.perf_counter()
        chain(x, kernels, times).block_until_ready()
        return time.perf_counter() - start

    timed(1)
    times = max(1, round(seconds / max(timed(1), 1e-6)))
    flops = times * sum(2 * rows * fan_in * fan_out for fan_in, fan_out in zip(widths, widths[1:]))
    return flops / timed(times) / 1e12
