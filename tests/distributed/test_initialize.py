"""Start and end of real processes."""

import os
import socket
import subprocess
import sys
import textwrap

import jax
import pytest

from bioclip_jax.distributed.initialize import start_processes

# The command line's handling of errors around the body of a test. A body prints one string at a time: Gloo's
# threads write to the same standard output, and unbuffered arguments of one `print` are separate writes.
PROGRAM = """
import os, signal, sys
{first}
from bioclip_jax.distributed.initialize import all_processes, start_processes
from bioclip_jax.errors import UserError

def gather():
    import jax
    from jax.experimental.multihost_utils import process_allgather
    return process_allgather(jax.numpy.int32(10 + jax.process_index())).tolist()

try:
    with all_processes():
        {body}
except UserError as error:
    print(f"error: {{error}}", file=sys.stderr)
    sys.exit(2)
"""


def _start(body: str, environ: dict[str, str], first: str = "") -> subprocess.Popen:
    body = textwrap.indent(textwrap.dedent(body), " " * 8).strip()
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body, first=first)],
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "1"} | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _explicit(address: str, processes: int, process: int, **more: str) -> dict[str, str]:
    return {
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": str(processes),
        "JAX_PROCESS_ID": str(process),
    } | more


def _result(process: subprocess.Popen) -> tuple[int, str, str]:
    """Status, standard output and standard error of a process that ends."""
    try:
        output, error = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"a process did not end; it wrote {process.communicate()}")
    return process.returncode, output, error


@pytest.fixture
def address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_two_processes_start_and_keep_their_signal_handlers(address: str) -> None:
    # jaxlib would replace a handler set before the start. Nothing listens at the proxy.
    body = """
        import jax
        start_processes()  # again: does nothing
        print(f"gathered {gather()} devices {jax.device_count()} {jax.local_device_count()}")
        os.kill(os.getpid(), signal.SIGTERM)
    """
    handler = "signal.signal(signal.SIGTERM, lambda *_: print('the handler ran'))"
    more = {"http_proxy": "http://127.0.0.1:9", "JAX_NUM_CPU_DEVICES": "3"}
    processes = [_start(body, _explicit(address, 2, index, **more), first=handler) for index in range(2)]
    for status, output, error in map(_result, processes):
        assert status == 0, f"status {status}: {error}"
        assert "gathered [10, 11] devices 6 3" in output, output
        assert "the handler ran" in output, "SIGTERM did not reach Python's handler"


def test_two_tasks_of_a_slurm_step_start() -> None:
    def slurm(task: int) -> dict[str, str]:
        return {
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_STEP_NUM_TASKS": "2",
            "SLURM_STEP_NODELIST": "localhost",
            "SLURM_STEP_TASKS_PER_NODE": "2",
            "SLURM_PROCID": str(task),
            "SLURM_LOCALID": str(task),
        }

    tasks = [_start("print(f'gathered {gather()}')", slurm(task)) for task in range(2)]
    for status, output, error in map(_result, tasks):
        assert status == 0, f"status {status}: {error}"
        assert "gathered [10, 11]" in output, output


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (0, "process 1 of 2 did not connect to {} within 0.5 s"),
        (1, "process 1 of 2 did not find process 0 at {} within"),
    ],
)
def test_a_process_alone_ends_with_one_line_and_status_2(process: int, message: str, address: str) -> None:
    environ = _explicit(address, 2, process, BIOCLIP_JAX_START_TIMEOUT="0.5")
    status, output, error = _result(_start("print('started')", environ))
    assert (status, output) == (2, ""), f"status {status}: {output}{error}"
    assert error.startswith("error: " + message.format(address)) and error.count("\n") == 1, error


def test_invalid_variables_end_with_one_line_and_status_2() -> None:
    status, _, error = _result(_start("print('started')", {"JAX_NUM_PROCESSES": "2"}))
    assert status == 2 and error.count("\n") == 1, f"status {status}: {error}"
    assert "JAX_COORDINATOR_ADDRESS and JAX_PROCESS_ID are not" in error, error


def test_an_error_in_one_process_ends_both(address: str) -> None:
    body = """
        import jax
        gather()
        if jax.process_index() == 1:
            raise UserError("the disk is full")
        gather()
    """
    waiting, failing = (_start(body, _explicit(address, 2, index)) for index in range(2))
    status, _, error = _result(failing)
    assert status == 2, f"status {status} instead of the error's own 2: {error}"
    assert "error: the disk is full" in error, error
    status, _, error = _result(waiting)
    assert status not in (0, None), "the process that waited for the failed one ended with status 0"


def test_sigterm_keeps_the_status_by_which_schedulers_requeue(address: str) -> None:
    body = """
        import jax
        from bioclip_jax.errors import Interrupted, Terminated
        gather()
        if jax.process_index() == 1:
            try:
                raise Terminated
            except KeyboardInterrupt:
                raise Interrupted("nothing is kept")
        gather()
    """
    waiting, ended = (_start(body, _explicit(address, 2, index)) for index in range(2))
    status, _, error = _result(ended)
    _result(waiting)
    assert status == 143, f"status {status}: {error}"


def test_a_start_after_the_first_use_of_a_device_fails(address: str) -> None:
    jax.devices()
    with pytest.raises(RuntimeError, match="call start_processes"):
        start_processes(_explicit(address, 2, 0, BIOCLIP_JAX_START_TIMEOUT="1"))


def test_a_single_process_does_not_initialize_jax_distributed() -> None:
    start_processes({})
    assert not jax.distributed.is_initialized()
