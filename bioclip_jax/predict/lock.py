"""One process at a time works on a file."""

from __future__ import annotations

from typing import IO

from bioclip_jax.errors import UserError


def lock(file: IO, refusal: str) -> None:
    """Keep other processes from locking `file` until it is closed, however that happens.

    UserError `refusal` where another process has it. Windows has no such lock, and goes on without.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(refusal) from None
