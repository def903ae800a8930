"""Starting the processes of a run: alone, or together through jax.distributed."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import sys
from collections.abc import Iterator, Mapping

import jax

from bioclip_jax.errors import UserError, interrupt_status

from .backend import check_backend
from .processes import process_settings, split_address
from .roll_call import call_roll

# A process that is silent for so long counts as dead, and jaxlib then ends the others by SIGABRT (status
# 134).
HEARTBEAT_TIMEOUT_SECONDS = 100


def start_processes(environ: Mapping[str, str] = os.environ) -> None:
    """Join the other processes of this run, if `environ` speaks of any; see `process_settings`.

    To be called before the first use of a device; a second call does nothing. SIGTERM stays Python's to
    handle.
    Errors: UserError, within the time limit, for wrong variables or a process that does not come.
    """
    settings = process_settings(environ)
    if settings is None or jax.distributed.is_initialized():
        return
    _check_no_backend()
    address = settings.coordinator_address
    call_roll(address, settings.process_id, settings.num_processes, settings.timeout)
    # jaxlib's preemption service would take SIGTERM away from Python's handlers.
    jax.config.update("jax_enable_preemption_service", False)
    _go_past_proxies(split_address(address)[0])
    jax.distributed.initialize(
        coordinator_address=address,
        num_processes=settings.num_processes,
        process_id=settings.process_id,
        local_device_ids=settings.local_device_ids,
        cluster_detection_method="deactivate",
        initialization_timeout=math.ceil(settings.timeout),
        heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_SECONDS,
    )


@contextlib.contextmanager
def all_processes(environ: Mapping[str, str] = os.environ) -> Iterator[bool]:
    """Inside, all processes of the run are there; for one process it does nothing. Yields whether this is the first.

    When an error leaves it, the process ends with its own message and status and does not wait for the
    others. jax.distributed would wait for them, up to 300 s, and then end every process by SIGABRT; whoever
    started the processes (srun, JobSet, launch/local.py) ends the others instead.
    """
    start_processes(environ)
    settings = process_settings(environ)
    try:
        check_backend()
        yield settings is None or settings.process_id == 0
    except BaseException as error:
        if jax.distributed.is_initialized():
            # The last one registered runs first at the exit, so before jax's own.
            atexit.register(_exit_now, _status(error))
        raise


def is_first_process(environ: Mapping[str, str] = os.environ) -> bool:
    """True in the process that writes for all.

    JAX is asked only where others started its processes, because asking initializes the devices.
    """
    settings = process_settings(environ)
    if settings is None and jax.distributed.is_initialized():
        return jax.process_index() == 0
    return settings is None or settings.process_id == 0


def _go_past_proxies(host: str) -> None:
    """Where http_proxy is set, gRPC would ask the proxy for the way to the coordinator, and hang."""
    others = os.environ.get("no_grpc_proxy") or os.environ.get("no_proxy")
    os.environ["no_grpc_proxy"] = f"{others},{host}" if others else host
    # jax warns of such variables, which are dealt with by now.
    jax.config.update("jax_check_proxy_envs", False)


def _check_no_backend() -> None:
    # jax refuses to change this once a backend runs, and offers no other public way to ask.
    devices = jax.config.jax_num_cpu_devices
    try:
        jax.config.update("jax_num_cpu_devices", devices + 1)
        jax.config.update("jax_num_cpu_devices", devices)
    except RuntimeError:
        raise RuntimeError(
            "JAX has devices already, so this process cannot join the others; call start_processes() before "
            "jax.devices() and before any array is made"
        ) from None


def _status(error: BaseException) -> int:
    """The exit status that the command line gives to an error."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, KeyboardInterrupt):
        return interrupt_status(error)
    return 2 if isinstance(error, UserError | OSError) else 1


def _exit_now(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
