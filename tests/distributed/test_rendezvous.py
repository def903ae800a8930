"""The rendezvous over real sockets; each process is a thread."""

import contextlib
import socket
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from bioclip_jax.distributed.rendezvous import wait_for_all
from bioclip_jax.errors import UserError

# Long enough for a busy machine; no test waits for it to expire.
PATIENT = 60.0


@pytest.fixture
def address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as pool:
        yield pool


def _message(future: Future) -> str | None:
    error = future.exception(timeout=PATIENT)
    assert error is None or isinstance(error, UserError), f"not a UserError: {error!r}"
    return None if error is None else str(error)


def _connect(address: str) -> socket.socket:
    """A connection to process 0, once it listens."""
    host, port = address.split(":")
    while True:
        try:
            return socket.create_connection((host, int(port)), timeout=PATIENT)
        except ConnectionRefusedError:
            continue


def test_processes_may_join_in_any_order(address: str, pool: ThreadPoolExecutor) -> None:
    calls = [pool.submit(wait_for_all, address, process, 4, PATIENT) for process in (3, 1, 0, 2)]
    assert [_message(call) for call in calls] == [None] * 4, "a process was rejected although all four came"
    # The port must be free again for jax's own service.
    with socket.create_server(("127.0.0.1", int(address.split(":")[1]))):
        pass


def test_a_single_process_returns_at_once(address: str) -> None:
    wait_for_all(address, 0, 1, PATIENT)


def test_all_present_processes_learn_which_are_missing(address: str, pool: ThreadPoolExecutor) -> None:
    calls = [pool.submit(wait_for_all, address, process, 5, 2.0) for process in (0, 1, 3)]
    expected = f"processes 2, 4 of 5 did not connect to {address} within 2 s"
    for call in calls:
        message = _message(call)
        assert message is not None and message.startswith(expected), f"{message!r}, not {expected!r}"


def test_a_process_that_disconnects_is_missing(address: str, pool: ThreadPoolExecutor) -> None:
    gathering = pool.submit(wait_for_all, address, 0, 3, 2.0)
    with _connect(address) as leaver:
        leaver.sendall(b"process 1 of 3\n")
    assert "process 1 of 3 did not connect" in _message(pool.submit(wait_for_all, address, 2, 3, PATIENT))
    assert "process 1 of 3 did not connect" in _message(gathering)


def test_a_missing_process_0(address: str) -> None:
    with pytest.raises(UserError, match=f"process 1 of 2 did not find process 0 at {address} within 0.3 s"):
        wait_for_all(address, 1, 2, 0.3)


def test_an_unknown_host() -> None:
    with pytest.raises(UserError, match="did not find process 0 at nowhere.invalid:62000"):
        wait_for_all("nowhere.invalid:62000", 1, 2, 0.3)


def test_a_connection_of_another_program_is_ignored(address: str, pool: ThreadPoolExecutor) -> None:
    gathering = pool.submit(wait_for_all, address, 0, 2, PATIENT)
    with _connect(address) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert _message(pool.submit(wait_for_all, address, 1, 2, PATIENT)) is None
    assert _message(gathering) is None


def test_a_process_of_another_run_is_rejected(address: str, pool: ThreadPoolExecutor) -> None:
    gathering = pool.submit(wait_for_all, address, 0, 2, PATIENT)
    message = _message(pool.submit(wait_for_all, address, 2, 3, PATIENT))
    assert message == "process 2 of 3 joined a run of 2 processes; give all the same number of processes"
    assert _message(pool.submit(wait_for_all, address, 1, 2, PATIENT)) is None
    assert _message(gathering) is None


def test_two_processes_with_the_same_number(address: str, pool: ThreadPoolExecutor) -> None:
    gathering = pool.submit(wait_for_all, address, 0, 3, PATIENT)
    with _connect(address) as first:
        first.sendall(b"process 1 of 3\n")
        assert "two processes are numbered 1 of 3" in _message(
            pool.submit(wait_for_all, address, 1, 3, PATIENT)
        )
        assert _message(pool.submit(wait_for_all, address, 2, 3, PATIENT)) is None
    assert _message(gathering) is None


def test_a_port_in_use(address: str) -> None:
    port = int(address.split(":")[1])
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(UserError, match=f"process 0 cannot listen on port {port}"):
            wait_for_all(address, 0, 2, PATIENT)


def test_another_program_at_the_port(address: str, pool: ThreadPoolExecutor) -> None:
    with socket.create_server(("127.0.0.1", int(address.split(":")[1]))) as other:
        calling = pool.submit(wait_for_all, address, 1, 2, 0.5)
        while not calling.done():
            other.settimeout(0.1)
            with contextlib.suppress(TimeoutError), other.accept()[0] as connection:
                connection.recv(100)
                connection.sendall(b"SSH-2.0\n")
        assert "the program at that port is not process 0 of this run" in _message(calling)
