"""One process at a time changes an index."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bioclip_jax.errors import UserError
from bioclip_jax.locks import lock

from .table import ABOUT_FILE, LOCK_FILE


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keeps other processes from changing the index in `directory`; the lock goes with this one, however that ends.

    The folder is made where it is not there, and goes again if no index was made in it. UserError where
    another process is at it, or it cannot be written.
    """
    made = not directory.exists()
    with contextlib.ExitStack() as stack:
        try:
            directory.mkdir(exist_ok=True)
            file = stack.enter_context(open(directory / LOCK_FILE, "ab"))
        except OSError as error:
            raise UserError(
                f"the index {directory} cannot be written ({error.strerror}); name another folder"
            ) from error
        lock(file, f"the index {directory} is being built by another process; wait for it")
        try:
            yield
        finally:
            if not (directory / ABOUT_FILE).exists():
                with contextlib.suppress(OSError):
                    (directory / LOCK_FILE).unlink()
                    if made:
                        directory.rmdir()
