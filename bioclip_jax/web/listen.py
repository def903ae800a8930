"""Listening at an address until Ctrl-C."""

from __future__ import annotations

import ipaddress
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from bioclip_jax.errors import UserError

if TYPE_CHECKING:
    from .middleware import SecurityMiddleware


def check_address(port: int, root_path: str) -> None:
    """Raise UserError for a port that cannot be, and a root path that is neither a path nor a URL."""
    if not 0 <= port <= 65535:
        raise UserError(f"the port is {port}; give one from 1 to 65535")
    if root_path and not re.fullmatch(r"(?:https?://[\w.:\[\]-]+)?(?:/[\w.~-]+)*/?", root_path):
        raise UserError(
            f"--root-path is {root_path}; give a path such as /bioclip, or https://example.org/bioclip"
        )


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def run_until_interrupt(app: SecurityMiddleware, bound: socket.socket, host: str) -> None:
    """Serve an application at a bound socket until Ctrl-C or SIGTERM, and print its address."""
    import uvicorn

    # Connections from now on wait for the server instead of being refused.
    bound.listen()
    name = f"[{host}]" if ":" in host else host
    print(f"The page is at http://{name}:{bound.getsockname()[1]} until Ctrl-C.", file=sys.stderr)
    if not is_loopback(host):
        print(
            f"warning: {host} is not a loopback address: everyone who reaches it can use the page",
            file=sys.stderr,
        )
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Open pages have endless streams, and uvicorn would log a traceback for each.
            app.end_streams()
            await super().shutdown(sockets)

    with _quiet_interrupt():
        Server(config).run(sockets=[bound])


@contextmanager
def _quiet_interrupt() -> Iterator[None]:
    """End the block quietly on Ctrl-C and SIGTERM, which uvicorn raises again after its shutdown."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if main else None
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def bind(host: str, port: int) -> Iterator[socket.socket]:
    """Bind a socket. Raises UserError if the address is in use or not of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
        except OSError as error:
            reason = error.strerror or error
            raise UserError(
                f"{host}:{port} cannot be used ({reason}); choose another --port or --host"
            ) from error
        yield bound
