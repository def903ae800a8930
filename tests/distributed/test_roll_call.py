"""The roll call, over real sockets; each process is a thread."""

import contextlib
import socket
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from bioclip_jax.distributed.roll_call import call_roll
from bioclip_jax.errors import UserError

# Long enough for a busy machine; only those tests wait for it to pass that say so.
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


def _told(future: Future) -> str | None:
    error = future.exception(timeout=PATIENT)
    assert error is None or isinstance(error, UserError), f"not told to the user: {error!r}"
    return None if error is None else str(error)


def _connect(address: str) -> socket.socket:
    """A connection to process 0, once it listens."""
    host, port = address.split(":")
    while True:
        try:
            return socket.create_connection((host, int(port)), timeout=PATIENT)
        except ConnectionRefusedError:
            continue


def test_all_come_in_any_order(address: str, pool: ThreadPoolExecutor) -> None:
    calls = [pool.submit(call_roll, address, process, 4, PATIENT) for process in (3, 1, 0, 2)]
    assert [_told(call) for call in calls] == [None] * 4, "a process was turned away though all four came"
    # The port is free for jax's own service.
    with socket.create_server(("127.0.0.1", int(address.split(":")[1]))):
        pass


def test_one_process_waits_for_nobody(address: str) -> None:
    call_roll(address, 0, 1, PATIENT)


def test_everyone_who_came_is_told_who_is_missing(address: str, pool: ThreadPoolExecutor) -> None:
    calls = [pool.submit(call_roll, address, process, 5, 2.0) for process in (0, 1, 3)]
    expected = f"processes 2, 4 of 5 did not come to {address} within 2 s"
    for call in calls:
        told = _told(call)
        assert told is not None and told.startswith(expected), f"{told!r} does not say {expected!r}"


def test_one_who_left_again_is_missing(address: str, pool: ThreadPoolExecutor) -> None:
    gathering = pool.submit(call_roll, address, 0, 3, 2.0)
    with _connect(address) as leaver:
        leaver.sendall(b"process 1 of 3\n")
    assert "process 1 of 3 did not come" in _told(pool.submit(call_roll, address, 2, 3, PATIENT))
    assert "process 1 of 3 did not come" in _told(gathering)


def test_process_0_missing_is_told(address: str) -> None:
    with pytest.raises(UserError, match=f"process 1 of 2 did not find process 0 at {address} within 0.3 s"):
        call_roll(address, 1, 2, 0.3)


def test_a_host_that_does_not_exist_is_told() -> None:
    with pytest.raises(UserError, match="did not find process 0 at nowhere.invalid:62000"):
        call_roll("nowhere.invalid:62000", 1, 2, 0.3)


def test_a_stranger_does_not_count(address: str, pool: ThreadPoolExecutor) -> None:
    gathering = pool.submit(call_roll, address, 0, 2, PATIENT)
    with _connect(address) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert _told(pool.submit(call_roll, address, 1, 2, PATIENT)) is None
    assert _told(gathering) is None


def test_another_number_of_processes_is_told_and_the_run_goes_on(
    address: str, pool: ThreadPoolExecutor
) -> None:
    gathering = pool.submit(call_roll, address, 0, 2, PATIENT)
    told = _told(pool.submit(call_roll, address, 2, 3, PATIENT))
    assert told == "process 2 of 3 came to a run of 2 processes; give all the same number"
    assert _told(pool.submit(call_roll, address, 1, 2, PATIENT)) is None
    assert _told(gathering) is None


def test_two_with_one_number_are_told(address: str, pool: ThreadPoolExecutor) -> None:
    gathering = pool.submit(call_roll, address, 0, 3, PATIENT)
    with _connect(address) as first:
        first.sendall(b"process 1 of 3\n")
        assert "two processes call themselves 1 of 3" in _told(pool.submit(call_roll, address, 1, 3, PATIENT))
        assert _told(pool.submit(call_roll, address, 2, 3, PATIENT)) is None
    assert _told(gathering) is None


def test_a_taken_port_is_told(address: str) -> None:
    port = int(address.split(":")[1])
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(UserError, match=f"process 0 cannot listen at port {port}"):
            call_roll(address, 0, 2, PATIENT)


def test_another_program_at_the_port_is_told(address: str, pool: ThreadPoolExecutor) -> None:
    with socket.create_server(("127.0.0.1", int(address.split(":")[1]))) as other:
        calling = pool.submit(call_roll, address, 1, 2, 0.5)
        while not calling.done():
            other.settimeout(0.1)
            with contextlib.suppress(TimeoutError), other.accept()[0] as connection:
                connection.recv(100)
                connection.sendall(b"SSH-2.0\n")
        assert "what listens there is no process 0 of this program" in _told(calling)
