"""Initialization of a run's processes and of JAX's backend, from environment variables."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import jax

from bioclip_jax.errors import UserError, interrupt_status

from .rendezvous import TIMEOUT_VARIABLE, split_address, wait_for_all

EXPLICIT = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
# A process silent for this long counts as dead; jaxlib then ends the others by SIGABRT (status 134).
HEARTBEAT_TIMEOUT_SECONDS = 100


@dataclass(frozen=True)
class ProcessSettings:
    """One process of a run.

    coordinator_address: host:port of process 0, where all processes meet. local_device_ids: the visible
    devices that belong to this process; None for all. timeout: seconds to wait for the others at the start.
    """

    coordinator_address: str
    num_processes: int
    process_id: int
    local_device_ids: tuple[int, ...] | None = None
    timeout: float = 300


@contextlib.contextmanager
def all_processes(environ: Mapping[str, str] = os.environ) -> Iterator[bool]:
    """Start all processes of the run, and yield True in the first; a single process only checks its backend.

    An error that leaves the block ends the process with its own message and status, without waiting for the
    others. jax.distributed would wait for them, up to 300 s, and then end every process by SIGABRT; the
    launcher (srun, JobSet, launch/local.py) ends the others instead.
    """
    start_processes(environ)
    settings = process_settings(environ)
    try:
        check_backend()
        yield settings is None or settings.process_id == 0
    except BaseException as error:
        if jax.distributed.is_initialized():
            # atexit runs the last registered function first, so before jax's own.
            atexit.register(_exit_now, _exit_status(error))
        raise


def start_processes(environ: Mapping[str, str] = os.environ) -> None:
    """Join the other processes of this run, if `environ` defines any; see `process_settings`.

    Call it before the first use of a device; a second call does nothing. Python's SIGTERM handlers are kept.
    Raises UserError, within the timeout, for invalid variables or a missing process.
    """
    settings = process_settings(environ)
    if settings is None or jax.distributed.is_initialized():
        return
    _check_no_backend()
    address = settings.coordinator_address
    wait_for_all(address, settings.process_id, settings.num_processes, settings.timeout)
    # jaxlib's preemption service would replace Python's SIGTERM handlers.
    jax.config.update("jax_enable_preemption_service", False)
    _bypass_proxies(split_address(address)[0])
    jax.distributed.initialize(
        coordinator_address=address,
        num_processes=settings.num_processes,
        process_id=settings.process_id,
        local_device_ids=settings.local_device_ids,
        cluster_detection_method="deactivate",
        initialization_timeout=math.ceil(settings.timeout),
        heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_SECONDS,
    )


def is_first_process(environ: Mapping[str, str] = os.environ) -> bool:
    """Return True in the process that writes files and logs for all."""
    settings = process_settings(environ)
    if settings is None and jax.distributed.is_initialized():
        # Only if jax.distributed was initialized elsewhere: process_index() initializes the devices.
        return jax.process_index() == 0
    return settings is None or settings.process_id == 0


def check_backend() -> None:
    """Initialize JAX's devices. Raises UserError if $JAX_PLATFORMS names none that this machine has."""
    platforms = jax.config.jax_platforms
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        if not platforms:
            raise
        raise UserError(
            f"JAX_PLATFORMS is {platforms}, and JAX finds no such device on this machine; unset it, set it "
            f"to cpu, or install the driver and jax[cuda13]"
        ) from error


def allow_platform(platform: str) -> None:
    """Allow `platform` even if $JAX_PLATFORMS excludes it; call it before the first use of a device."""
    allowed = jax.config.jax_platforms
    if allowed and platform not in allowed.split(","):
        jax.config.update("jax_platforms", platform)


def process_settings(environ: Mapping[str, str]) -> ProcessSettings | None:
    """Read this process's settings from the environment; None for a run of a single process.

    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID (all three or none) take precedence, with
    JAX_LOCAL_DEVICE_IDS ("0,1") if the process owns only some devices; then a SLURM step of several tasks, as
    srun starts them. BIOCLIP_JAX_START_TIMEOUT is the timeout of the start in seconds, 300 by default.
    Raises UserError for a missing or invalid variable.
    """
    given = [name for name in EXPLICIT if environ.get(name)]
    if given:
        missing = [name for name in EXPLICIT if name not in given]
        if missing:
            raise UserError(
                f"{' and '.join(given)} {'is' if len(given) == 1 else 'are'} set, but "
                f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not; set all three in every "
                f"process, or none for a single process"
            )
        return _explicit_settings(environ)
    # Only srun sets SLURM_STEP_NUM_TASKS. The shells of sbatch and salloc have SLURM_NTASKS and SLURM_PROCID.
    if environ.get("SLURM_STEP_NUM_TASKS") and _integer(environ, "SLURM_STEP_NUM_TASKS") > 1:
        return _slurm_settings(environ)
    return None


def _explicit_settings(environ: Mapping[str, str]) -> ProcessSettings:
    address = environ["JAX_COORDINATOR_ADDRESS"]
    split_address(address)
    processes = _integer(environ, "JAX_NUM_PROCESSES")
    process = _integer(environ, "JAX_PROCESS_ID")
    if processes < 1:
        raise UserError("JAX_NUM_PROCESSES is 0; give the number of processes of the run")
    if process >= processes:
        raise UserError(
            f"JAX_PROCESS_ID is {process}, but {processes} processes are numbered 0 to {processes - 1}; "
            f"correct it, or JAX_NUM_PROCESSES"
        )
    devices = None
    if listed := environ.get("JAX_LOCAL_DEVICE_IDS"):
        if not re.fullmatch(r"\d+(,\d+)*", listed):
            raise UserError(f"JAX_LOCAL_DEVICE_IDS is {listed!r}; give numbers separated by commas, as 0,1")
        devices = tuple(int(number) for number in listed.split(","))
    return ProcessSettings(address, processes, process, devices, _timeout(environ))


def _slurm_settings(environ: Mapping[str, str]) -> ProcessSettings:
    processes = _integer(environ, "SLURM_STEP_NUM_TASKS")
    process = _integer(environ, "SLURM_PROCID")
    host = first_host(environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST") or "")
    # Above Linux's ephemeral ports (32768 to 60999), which any program on the node may use.
    port = environ.get("JAX_COORDINATOR_PORT") or 61440 + _integer(environ, "SLURM_JOB_ID") % 4096
    address = f"{host}:{port}"
    split_address(address)
    return ProcessSettings(address, processes, process, _slurm_devices(environ), _timeout(environ))


def _slurm_devices(environ: Mapping[str, str]) -> tuple[int, ...] | None:
    """All devices (None) for the only task of a node; else the device of the task's local index."""
    counts = re.sub(r"\(x\d+\)", "", environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
    if set(counts.split(",")) == {"1"}:
        return None
    local = _integer(environ, "SLURM_LOCALID")
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible and local >= len(visible.split(",")):
        raise UserError(
            f"this is task {local} of its node, but SLURM shows it only CUDA_VISIBLE_DEVICES={visible}; "
            f"every task must see all GPUs of its node: use --gpus-per-node and srun --gpu-bind=none, not "
            f"--gpus-per-task"
        )
    return (local,)


def first_host(nodelist: str) -> str:
    """Return the first host of a SLURM node list: "gpu[001-003,7],cpu5" gives "gpu001".

    Source: the hostlist expressions of `scontrol show hostnames`. Raises UserError if it is not a node list.
    """
    first = re.match(r"(?:[^,\[\]\s]|\[\d[\d,-]*\])+(?=,|$)", nodelist)
    if first is None:
        raise UserError(f"the SLURM node list {nodelist!r} names no host; set {', '.join(EXPLICIT)} instead")
    return re.sub(r"\[(\d+)[\d,-]*\]", r"\1", first[0])


def _integer(environ: Mapping[str, str], name: str) -> int:
    value = environ.get(name, "")
    if not re.fullmatch(r"\d+", value, re.ASCII):
        raise UserError(f"{name} is {repr(value) if value else 'not set'}; it must be an integer, 0 or more")
    return int(value)


def _timeout(environ: Mapping[str, str]) -> float:
    value = environ.get(TIMEOUT_VARIABLE) or "300"
    if not re.fullmatch(r"\d*\.?\d+", value, re.ASCII) or not float(value):
        raise UserError(f"{TIMEOUT_VARIABLE} is {value!r}; give seconds, as 300")
    return float(value)


def _bypass_proxies(host: str) -> None:
    """Exempt the coordinator from http_proxy, through which gRPC would try to reach it, and hang."""
    others = os.environ.get("no_grpc_proxy") or os.environ.get("no_proxy")
    os.environ["no_grpc_proxy"] = f"{others},{host}" if others else host
    # jax would warn of the proxy variables, which no longer matter.
    jax.config.update("jax_check_proxy_envs", False)


def _check_no_backend() -> None:
    # jax refuses to change this option once a backend runs, and offers no other public test.
    devices = jax.config.jax_num_cpu_devices
    try:
        jax.config.update("jax_num_cpu_devices", devices + 1)
        jax.config.update("jax_num_cpu_devices", devices)
    except RuntimeError:
        raise RuntimeError(
            "JAX has already initialized its devices, so this process cannot join the others; call "
            "start_processes() before jax.devices() and before creating any array"
        ) from None


def _exit_status(error: BaseException) -> int:
    """Return the exit status that the command line gives to an error."""
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
