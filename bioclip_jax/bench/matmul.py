"""Matrix multiplication throughput of a device, the ceiling of a training step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from bioclip_jax.models import CLIPConfig

# Seconds of products behind a speed, long enough for a GPU's clocks to settle.
_SECONDS = {"gpu": 3.0, "cpu": 1.0}
_SQUARE = {"gpu": 8192, "cpu": 1024}
# A CPU reaches its full speed with fewer rows, and one product with all of them would take seconds.
_MAX_ROWS = {"gpu": 1 << 20, "cpu": 4096}


def measured_peak(config: CLIPConfig, rows: int, device: jax.Device) -> dict[str, Any]:
    """Measure TFLOP/s of matrix products: "model", "square", and the larger of the two, "peak".

    model: the products of an image tower's block, with `rows` = images times tokens. square: of square
    matrices, 8,192 wide in bfloat16 on a GPU, 1,024 in float32 elsewhere. "dtype": of the operands.
    """
    kind = "gpu" if device.platform == "gpu" else "cpu"
    dtype, size, seconds = (jnp.bfloat16 if kind == "gpu" else jnp.float32), _SQUARE[kind], _SECONDS[kind]
    width, hidden = config.vision.width, config.vision.mlp_width
    block_widths = (width, 3 * width, width, width, hidden, width)
    speeds = {
        "model": chain_speed(min(rows, _MAX_ROWS[kind]), block_widths, dtype, seconds, device),
        "square": chain_speed(size, (size, size, size), dtype, seconds, device),
    }
    return speeds | {"peak": max(speeds.values()), "dtype": jnp.dtype(dtype).name}


def fastest(measurements: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Largest of each speed over several results of measured_peak."""
    speeds = {name: max(result[name] for result in measurements) for name in ("model", "square", "peak")}
    return measurements[0] | speeds


def chain_speed(rows: int, widths: Sequence[int], dtype: Any, seconds: float, device: jax.Device) -> float:
    """TFLOP/s of x [rows, widths[0]] multiplied through all `widths`, repeated for about `seconds`.

    The last width equals the first. Each product takes the result of the one before, inside one program, so
    XLA cannot drop any, and only products run.
    """
    keys = jax.random.split(jax.random.key(0), len(widths))
    # This scale keeps the variance of the activations constant.
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
