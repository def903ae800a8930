#!/usr/bin/env python3
"""Run several processes of one training run on this machine.

    python launch/local.py --processes 2 -- bioclip-jax train --config FILE --workdir DIR

Each process gets one device (--devices-per-process), a CPU device without a GPU. SIGINT, SIGTERM and SIGUSR1
are forwarded to all processes. If one fails, the others are terminated, and its status is the launcher's: 128
+ N after signal N.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import BinaryIO

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
# Longest output line that is kept whole, in bytes.
LINE = 1 << 24


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and return the run's status."""
    parser = argparse.ArgumentParser(description="Run several processes of one training run on this machine.")
    parser.add_argument("--processes", type=_positive, required=True, metavar="N")
    parser.add_argument("--devices-per-process", type=_positive, default=1, metavar="N", help="default 1")
    parser.add_argument(
        "--grace",
        type=float,
        default=60,
        metavar="SECONDS",
        help="time between SIGTERM and SIGKILL, default 60",
    )
    parser.add_argument("command", nargs="+", metavar="-- COMMAND ...", help="command of every process")
    arguments = parser.parse_args(argv)
    return asyncio.run(
        launch(arguments.command, arguments.processes, arguments.devices_per_process, grace=arguments.grace)
    )


async def launch(
    command: Sequence[str], processes: int, devices_per_process: int = 1, grace: float = 60
) -> int:
    """Run `command` in `processes` processes, output lines marked [i], and return the run's status."""
    address = f"127.0.0.1:{_free_port()}"
    children: list[asyncio.subprocess.Process] = []
    forwarded: set[int] = set()

    def forward(number: int) -> None:
        forwarded.add(number)
        _signal(children, number)

    loop = asyncio.get_running_loop()
    for number in FORWARDED:
        loop.add_signal_handler(number, forward, number)
    try:
        for index in range(processes):
            environ = os.environ | process_environ(address, processes, index, devices_per_process)
            children.append(await _start(command, environ))
        readers = [asyncio.create_task(_copy(child, index)) for index, child in enumerate(children)]
        status = await _wait(children, forwarded, grace)
        # Their own children may still hold the output pipes open.
        _kill_groups(children)
        await asyncio.gather(*readers)
        return status
    except FileNotFoundError as error:
        print(f"error: {error.filename} is not a program; give the command after --", file=sys.stderr)
        return 127
    finally:
        _kill_groups(children)


def process_environ(address: str, processes: int, index: int, devices: int) -> dict[str, str]:
    """Environment variables of process `index` for jax.distributed.

    JAX_LOCAL_DEVICE_IDS selects GPUs, JAX_NUM_CPU_DEVICES applies without GPUs.
    """
    return {
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": str(processes),
        "JAX_PROCESS_ID": str(index),
        "JAX_LOCAL_DEVICE_IDS": ",".join(str(index * devices + device) for device in range(devices)),
        "JAX_NUM_CPU_DEVICES": str(devices),
    }


async def _start(command: Sequence[str], environ: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command,
        env=environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE,
        # In its own session it receives a terminal's Ctrl-C only once, from the launcher.
        start_new_session=True,
        preexec_fn=_die_with_parent(os.getpid()),
    )


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """Return a preexec_fn that ends a child with its launcher; None on systems other than Linux."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def set_death_signal() -> None:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return set_death_signal


async def _copy(child: asyncio.subprocess.Process, index: int) -> None:
    """Copy a child's output line by line, marked with its index."""

    async def copy(source: asyncio.StreamReader, sink: BinaryIO) -> None:
        while line := await source.readline():
            # Children continue when the launcher's output is closed.
            with contextlib.suppress(BrokenPipeError):
                sink.write(b"[%d] %s" % (index, line if line.endswith(b"\n") else line + b"\n"))
                sink.flush()

    await asyncio.gather(copy(child.stdout, sys.stdout.buffer), copy(child.stderr, sys.stderr.buffer))


async def _wait(children: list[asyncio.subprocess.Process], forwarded: set[int], grace: float) -> int:
    """Wait for all children and return the run's status; the first that fails or is stopped ends the rest."""
    running = {asyncio.create_task(child.wait()) for child in children}
    status = 0
    deadline: float | None = None
    clock = asyncio.get_running_loop().time
    while running:
        left = None if deadline is None else max(0, deadline - clock())
        ended, running = await asyncio.wait(running, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if not ended:
            _kill_groups(children)
            deadline = None
        for code in (task.result() for task in ended):
            code = code if code >= 0 else 128 - code
            if code and not status:
                status = code
                deadline = clock() + grace
                # Children that were signaled are saving; a second signal would interrupt their checkpoint.
                if code - 128 not in forwarded:
                    _signal(children, signal.SIGTERM)
    return status


def _signal(children: list[asyncio.subprocess.Process], number: int) -> None:
    for child in children:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(number)


def _kill_groups(children: list[asyncio.subprocess.Process]) -> None:
    for child in children:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


if __name__ == "__main__":
    sys.exit(main())
