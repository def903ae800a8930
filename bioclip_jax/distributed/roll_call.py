"""The roll call before jax.distributed: who has come, and who is missing, told in one line.

When a process does not come, jax.distributed.initialize ends the others by SIGABRT, with a C++ stack trace
that names nobody (jaxlib 0.10.2). So the processes meet here first, in plain sockets on the coordinator's
port.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time

from bioclip_jax.errors import UserError

from .processes import TIMEOUT, split_address

_GO = "all are here"
# Time for a line to cross the network once a connection stands.
_LINE_SECONDS = 5.0
_RETRY_SECONDS = 0.2


def call_roll(address: str, process_id: int, num_processes: int, timeout: float) -> None:
    """Return once all processes have called this, each with its own number.

    Process 0 listens at the port of `address`; the others connect and wait for its word. The port is free
    again on return. Errors: UserError in every process that came, if one does not within `timeout` seconds.
    """
    if process_id == 0:
        _gather(address, num_processes, timeout)
    else:
        _answer(address, process_id, num_processes, timeout)


def _gather(address: str, num_processes: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    present: dict[int, socket.socket] = {}
    with _listener(address) as listener, contextlib.ExitStack() as connections:
        while len(present) < num_processes - 1:
            # 0 would mean not to wait at all, which is another error.
            listener.settimeout(max(1e-3, deadline - time.monotonic()))
            try:
                connection = connections.enter_context(listener.accept()[0])
            except TimeoutError:
                break
            newcomer = _greet(connection, num_processes)
            present = {number: other for number, other in present.items() if not _has_left(other)}
            if newcomer in present:
                _send(
                    connection,
                    f"two processes call themselves {newcomer} of {num_processes}; number them apart",
                )
            elif newcomer is not None:
                present[newcomer] = connection
        present = {number: other for number, other in present.items() if not _has_left(other)}
        missing = [number for number in range(1, num_processes) if number not in present]
        word = _absence(missing, num_processes, address, timeout) if missing else _GO
        for connection in present.values():
            _send(connection, word)
    if missing:
        raise UserError(word)


def _listener(address: str) -> socket.socket:
    _, port = split_address(address)
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
        return socket.create_server(("", port), backlog=1024)
    except OSError as error:
        raise UserError(
            f"process 0 cannot listen at port {port} of this machine ({error.strerror}); another run, or a "
            f"second "
            "process 0, may hold it: number the processes apart, or set JAX_COORDINATOR_ADDRESS to another "
            "port"
        ) from None


def _greet(connection: socket.socket, num_processes: int) -> int | None:
    """The number that a newcomer gives, or None if it is not of this run."""
    connection.settimeout(_LINE_SECONDS)
    match = re.fullmatch(r"process (\d{1,9}) of (\d{1,9})", _receive(connection), re.ASCII)
    # From here on nothing waits for this connection.
    connection.setblocking(False)
    if match is None:
        return None
    number, of = int(match[1]), int(match[2])
    if of != num_processes or not 0 < number < of:
        word = (
            f"process {number} of {of} came to a run of {num_processes} processes; give all the same number"
        )
        _send(connection, word)
        return None
    return number


def _has_left(connection: socket.socket) -> bool:
    """Whether the other side has closed the connection; it sends nothing after its first line."""
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _answer(address: str, process_id: int, num_processes: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    trouble = "no answer"
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection(
                split_address(address), timeout=min(left, _LINE_SECONDS)
            ) as connection:
                _send(connection, f"process {process_id} of {num_processes}")
                # Process 0 is there. It may have come later, and it is the one that knows who is missing.
                connection.settimeout(timeout + _LINE_SECONDS)
                word = _receive(connection)
        except OSError as error:
            trouble = error.strerror or str(error)
        else:
            if word == _GO:
                return
            if word.startswith(("process", "two processes")):
                raise UserError(word)
            trouble = (
                "it gave no answer" if not word else "what listens there is no process 0 of this program"
            )
        time.sleep(_RETRY_SECONDS)
    raise UserError(
        f"process {process_id} of {num_processes} did not find process 0 at {address} within {timeout:g} s "
        f"({trouble}); look for the error of process 0, and check the address and that no firewall closes "
        f"the port"
    )


def _absence(missing: list[int], num_processes: int, address: str, timeout: float) -> str:
    names = ", ".join(map(str, missing[:8])) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
    return (
        f"process{'es' if len(missing) > 1 else ''} {names} of {num_processes} did not come to {address} "
        f"within "
        f"{timeout:g} s; look for their own errors, start all within that time, or allow more by "
        f"{TIMEOUT}=SECONDS"
    )


def _send(connection: socket.socket, line: str) -> None:
    # One who has left meanwhile is noticed elsewhere.
    with contextlib.suppress(OSError):
        connection.sendall(line.encode() + b"\n")


def _receive(connection: socket.socket) -> str:
    """A line, or what came of it within the connection's time."""
    with contextlib.suppress(TimeoutError, ConnectionError), connection.makefile("rb") as stream:
        return stream.readline(1000).decode("ascii", errors="replace").rstrip("\n")
    return ""
