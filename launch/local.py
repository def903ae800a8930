#!/usr/bin/env python3
"""Several processes of one run on this machine:

    python launch/local.py --processes 2 -- bioclip-jax train --config FILE --workdir DIR

Each process gets one device (--devices-per-process), a CPU device where there is no GPU. SIGINT, SIGTERM and
SIGUSR1 go to all processes. If one fails, the others are ended, and its status is the status of the whole:
128 + N after signal N.
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
# The longest line that is kept in one piece, in bytes.
LINE = 1 << 24


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run several processes of one training run on this machine.")
    parser.add_argument("--processes", type=_positive, required=True, metavar="N")
    parser.add_argument("--devices-per-process", type=_positive, default=1, metavar="N", help="default 1")
    parser.add_argument(
        "--grace",
        type=float,
        default=60,
        metavar="SECONDS",
        help="time to end in after SIGTERM, before SIGKILL",
    )
    parser.add_argument("command", nargs="+", metavar="-- COMMAND ...", help="what every process runs")
    arguments = parser.parse_args(argv)
    return asyncio.run(
        launch(arguments.command, arguments.processes, arguments.devices_per_process, grace=arguments.grace)
    )


async def launch(
    command: Sequence[str], processes: int, devices_per_process: int = 1, grace: float = 60
) -> int:
    """Run `command` in each of `processes` processes, their output lines marked [i], and return the run's status."""
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
        # Children of theirs may still hold their output open.
        _kill_groups(children)
        await asyncio.gather(*readers)
        return status
    except FileNotFoundError as error:
        print(f"error: {error.filename} is no program; give the command behind --", file=sys.stderr)
        return 127
    finally:
        _kill_groups(children)


def process_environ(address: str, processes: int, index: int, devices: int) -> dict[str, str]:
    """The variables that tell process `index` of `processes` who and where it is.

    JAX_LOCAL_DEVICE_IDS counts where there are GPUs, JAX_NUM_CPU_DEVICES where there are none.
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
        # In a session of its own it gets a terminal's Ctrl-C from us alone, once.
        start_new_session=True,
        preexec_fn=_die_with_parent(os.getpid()),
    )


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """What a child runs first, so that it goes when the launcher is killed; on Linux, None elsewhere."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return ask


async def _copy(child: asyncio.subprocess.Process, index: int) -> None:
    """Every line of a child's output to ours, with its number before it."""

    async def copy(source: asyncio.StreamReader, sink: BinaryIO) -> None:
        while line := await source.readline():
            # The children go on when nobody reads any more.
            with contextlib.suppress(BrokenPipeError):
                sink.write(b"[%d] %s" % (index, line if line.endswith(b"\n") else line + b"\n"))
                sink.flush()

    await asyncio.gather(copy(child.stdout, sys.stdout.buffer), copy(child.stderr, sys.stderr.buffer))


async def _wait(children: list[asyncio.subprocess.Process], forwarded: set[int], grace: float) -> int:
    """Wait for all children and return the run's status; the first that fails, or stops as asked, ends the rest."""
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
                # Those who were asked to stop are at it; a second signal would cut their checkpoint short.
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
