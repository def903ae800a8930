"""Options of XLA that simulations on a CPU gain from."""

from __future__ import annotations

import os

# Bytes of a loop's state up to which XLA compiles the loop as one function.
_WHOLE_LOOPS = "xla_cpu_small_while_loop_byte_threshold=1000000000"


def prepare_processor(cores: int | None = None) -> None:
    """Let XLA simulate on all cores of the CPU, without a dispatch for each operation.

    Call it in a process that only simulates, before it uses JAX: it sets XLA_FLAGS, with one CPU device for
    each core (default: those of this process), and compiles loops as one function each.
    """
    cores = cores or len(os.sched_getaffinity(0))
    flags = os.environ.get("XLA_FLAGS", "")
    for name, value in {
        "--xla_force_host_platform_device_count": str(cores),
        "--xla_backend_extra_options": _WHOLE_LOOPS,
    }.items():
        if name not in flags:
            flags = f"{flags} {name}={value}"
    os.environ["XLA_FLAGS"] = flags.strip()
