"""Which process of which run this is, read from environment variables alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bioclip_jax.errors import UserError

EXPLICIT = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
TIMEOUT = "BIOCLIP_JAX_START_TIMEOUT"


@dataclass(frozen=True)
class ProcessSettings:
    """One process among `num_processes`, which meet at `coordinator_address` (host:port), where process 0 runs.

    local_device_ids: the devices that are this process's own among those it sees; None: all of them.
    timeout: seconds that a process waits for the others at the start.
    """

    coordinator_address: str
    num_processes: int
    process_id: int
    local_device_ids: tuple[int, ...] | None = None
    timeout: float = 300


def process_settings(environ: Mapping[str, str]) -> ProcessSettings | None:
    """What the environment says about the run's processes; None where it speaks of one process.

    First come JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID (all three or none), with
    JAX_LOCAL_DEVICE_IDS ("0,1") if the process owns only some devices. Then a SLURM step of several tasks, as
    srun starts them. BIOCLIP_JAX_START_TIMEOUT is the time limit of the start in seconds, else 300.
    Errors: UserError for a variable that is missing or makes no sense.
    """
    given = [name for name in EXPLICIT if environ.get(name)]
    if given:
        missing = [name for name in EXPLICIT if name not in given]
        if missing:
            raise UserError(
                f"{' and '.join(given)} {'is' if len(given) == 1 else 'are'} set, but "
                f"{' and '.join(missing)} "
                f"{'is' if len(missing) == 1 else 'are'} not; set all three in every process, or none for "
                f"one process"
            )
        return _explicit(environ)
    # Only srun sets SLURM_STEP_NUM_TASKS. SLURM_NTASKS and SLURM_PROCID also stand in the shell of sbatch or
    # salloc.
    if environ.get("SLURM_STEP_NUM_TASKS") and _number(environ, "SLURM_STEP_NUM_TASKS") > 1:
        return _slurm(environ)
    return None


def _explicit(environ: Mapping[str, str]) -> ProcessSettings:
    address = environ["JAX_COORDINATOR_ADDRESS"]
    split_address(address)
    processes = _number(environ, "JAX_NUM_PROCESSES")
    process = _number(environ, "JAX_PROCESS_ID")
    if processes < 1:
        raise UserError("JAX_NUM_PROCESSES is 0; give the number of processes of the run")
    if process >= processes:
        raise UserError(
            f"JAX_PROCESS_ID is {process}, but {processes} processes are numbered 0 to {processes - 1}; "
            f"correct it, or "
            "JAX_NUM_PROCESSES"
        )
    devices = None
    if listed := environ.get("JAX_LOCAL_DEVICE_IDS"):
        if not re.fullmatch(r"\d+(,\d+)*", listed):
            raise UserError(
                f"JAX_LOCAL_DEVICE_IDS is {listed!r}; give numbers with commas between them, as 0,1"
            )
        devices = tuple(int(number) for number in listed.split(","))
    return ProcessSettings(address, processes, process, devices, _timeout(environ))


def _slurm(environ: Mapping[str, str]) -> ProcessSettings:
    processes = _number(environ, "SLURM_STEP_NUM_TASKS")
    process = _number(environ, "SLURM_PROCID")
    host = first_host(environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST") or "")
    # Above Linux's ephemeral ports (32768 to 60999), which any program of the node may hold.
    port = environ.get("JAX_COORDINATOR_PORT") or 61440 + _number(environ, "SLURM_JOB_ID") % 4096
    address = f"{host}:{port}"
    split_address(address)
    return ProcessSettings(address, processes, process, _slurm_devices(environ), _timeout(environ))


def _slurm_devices(environ: Mapping[str, str]) -> tuple[int, ...] | None:
    """A task that is alone on its node owns all devices; several on a node own one each, by their place there."""
    counts = re.sub(r"\(x\d+\)", "", environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
    if set(counts.split(",")) == {"1"}:
        return None
    local = _number(environ, "SLURM_LOCALID")
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible and local >= len(visible.split(",")):
        raise UserError(
            f"this is task {local} of its node, but SLURM shows it only CUDA_VISIBLE_DEVICES={visible}; "
            f"every task "
            "must see all GPUs of its node: use --gpus-per-node and srun --gpu-bind=none, not --gpus-per-task"
        )
    return (local,)


def first_host(nodelist: str) -> str:
    """The first host of a SLURM node list: "gpu[001-003,7],cpu5" gives "gpu001".

    Source: the hostlist expressions of `scontrol show hostnames`. Errors: UserError if it is none.
    """
    first = re.match(r"(?:[^,\[\]\s]|\[\d[\d,-]*\])+(?=,|$)", nodelist)
    if first is None:
        raise UserError(f"the SLURM node list {nodelist!r} names no host; set {', '.join(EXPLICIT)} instead")
    return re.sub(r"\[(\d+)[\d,-]*\]", r"\1", first[0])


def split_address(address: str) -> tuple[str, int]:
    """The host and the port of "host:port" or "[IPv6]:port". Errors: UserError."""
    match = re.fullmatch(r"(\[[\w:.%]+\]|[^:\[\]\s/]+):(\d{1,5})", address)
    if match is None or not 0 < int(match[2]) < 65536:
        raise UserError(
            f"the coordinator's address is {address!r}; give HOST:PORT, as in "
            f"JAX_COORDINATOR_ADDRESS=gpu001:62000"
        )
    return match[1].strip("[]"), int(match[2])


def _number(environ: Mapping[str, str], name: str) -> int:
    value = environ.get(name, "")
    if not re.fullmatch(r"\d+", value, re.ASCII):
        raise UserError(
            f"{name} is {repr(value) if value else 'not set'}; it must be a whole number, 0 or more"
        )
    return int(value)


def _timeout(environ: Mapping[str, str]) -> float:
    value = environ.get(TIMEOUT) or "300"
    if not re.fullmatch(r"\d*\.?\d+", value, re.ASCII) or not float(value):
        raise UserError(f"{TIMEOUT} is {value!r}; give seconds, as 300")
    return float(value)
