"""Rendezvous of all processes before jax.distributed, with a readable error if one is missing.

If a process is missing, jax.distributed.initialize ends the others by SIGABRT, with a C++ stack trace that
names none of them (jaxlib 0.10.2). So the processes meet over plain sockets on the coordinator's port first.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time

from bioclip_jax.errors import UserError, listing

TIMEOUT_VARIABLE = "BIOCLIP_JAX_START_TIMEOUT"
_READY = "all processes are ready"
# Time for a line to cross the network once connected.
_LINE_SECONDS = 5.0
_RETRY_SECONDS = 0.2


def wait_for_all(address: str, process_id: int, num_processes: int, timeout: float) -> None:
    """Return once all processes have called this, each with its own number.

    Process 0 listens on the port of `address`; the others connect and wait for its reply. The port is free
    again on return. Raises UserError in all present processes if one is missing after `timeout` seconds.
    """
    if process_id == 0:
        _listen(address, num_processes, timeout)
    else:
        _join(address, process_id, num_processes, timeout)


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of "host:port" or "[IPv6]:port". Raises UserError for anything else."""
    match = re.fullmatch(r"(\[[\w:.%]+\]|[^:\[\]\s/]+):(\d{1,5})", address)
    if match is None or not 0 < int(match[2]) < 65536:
        raise UserError(
            f"the coordinator's address is {address!r}; give HOST:PORT, as in "
            f"JAX_COORDINATOR_ADDRESS=gpu001:62000"
        )
    return match[1].strip("[]"), int(match[2])


def _listen(address: str, num_processes: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    present: dict[int, socket.socket] = {}
    with _listener(address) as listener, contextlib.ExitStack() as connections:
        while len(present) < num_processes - 1:
            # A timeout of 0 would make the socket non-blocking, which raises another error.
            listener.settimeout(max(1e-3, deadline - time.monotonic()))
            try:
                connection = connections.enter_context(listener.accept()[0])
            except TimeoutError:
                break
            number = _accept(connection, num_processes)
            present = {other: peer for other, peer in present.items() if not _has_left(peer)}
            if number in present:
                message = f"two processes are numbered {number} of {num_processes}; give each its own number"
                _send(connection, message)
            elif number is not None:
                present[number] = connection
        present = {number: peer for number, peer in present.items() if not _has_left(peer)}
        missing = [number for number in range(1, num_processes) if number not in present]
        reply = _missing_message(missing, num_processes, address, timeout) if missing else _READY
        for connection in present.values():
            _send(connection, reply)
    if missing:
        raise UserError(reply)


def _listener(address: str) -> socket.socket:
    _, port = split_address(address)
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
        return socket.create_server(("", port), backlog=1024)
    except OSError as error:
        raise UserError(
            f"process 0 cannot listen on port {port} of this machine ({error.strerror}); another run or a "
            "second process 0 may use it: give each process its own number, or set JAX_COORDINATOR_ADDRESS "
            "to another port"
        ) from None


def _accept(connection: socket.socket, num_processes: int) -> int | None:
    """Return the number of a connecting process; None if it does not belong to this run."""
    connection.settimeout(_LINE_SECONDS)
    match = re.fullmatch(r"process (\d{1,9}) of (\d{1,9})", _receive(connection), re.ASCII)
    # _has_left polls it.
    connection.setblocking(False)
    if match is None:
        return None
    number, expected = int(match[1]), int(match[2])
    if expected != num_processes or not 0 < number < expected:
        message = f"process {number} of {expected} joined a run of {num_processes} processes"
        _send(connection, f"{message}; give all the same number of processes")
        return None
    return number


def _has_left(connection: socket.socket) -> bool:
    """Return True if the other side has closed the connection; it sends nothing after its first line."""
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _join(address: str, process_id: int, num_processes: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    problem = "no reply"
    while (remaining := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection(
                split_address(address), timeout=min(remaining, _LINE_SECONDS)
            ) as connection:
                _send(connection, f"process {process_id} of {num_processes}")
                # Process 0 may have started later, and only it knows which processes are missing.
                connection.settimeout(timeout + _LINE_SECONDS)
                reply = _receive(connection)
        except OSError as error:
            problem = error.strerror or str(error)
        else:
            if reply == _READY:
                return
            if reply.startswith(("process", "two processes")):
                raise UserError(reply)
            problem = "the program at that port is not process 0 of this run" if reply else "it sent no reply"
        time.sleep(_RETRY_SECONDS)
    raise UserError(
        f"process {process_id} of {num_processes} did not find process 0 at {address} within {timeout:g} s "
        f"({problem}); look for the error of process 0, check the address, and check that no firewall blocks "
        f"the port"
    )


def _missing_message(missing: list[int], num_processes: int, address: str, timeout: float) -> str:
    names = listing([*map(str, missing)], 8)
    return (
        f"process{'es' if len(missing) > 1 else ''} {names} of {num_processes} did not connect to {address} "
        f"within {timeout:g} s; look for their own errors, start all within that time, or allow more with "
        f"{TIMEOUT_VARIABLE}=SECONDS"
    )


def _send(connection: socket.socket, line: str) -> None:
    # A closed connection is noticed by _has_left or _receive.
    with contextlib.suppress(OSError):
        connection.sendall(line.encode() + b"\n")


def _receive(connection: socket.socket) -> str:
    """Return a line, or "" if none arrives within the connection's timeout."""
    with contextlib.suppress(TimeoutError, ConnectionError), connection.makefile("rb") as stream:
        return stream.readline(1000).decode("ascii", errors="replace").rstrip("\n")
    return ""
