"""Files that are there whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial-"


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Where to write what shall be at `path`: renamed when the block ends well, removed when it does not.

    The name is used by no one else, so a process that was left over from a killed build does no harm. Its content is
    on the disk before its name is, so that a power failure leaves no empty file under a name that means it is done.
    """
    partial = path.with_name(f"{path.name}{PARTIAL}{uuid.uuid4().hex}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Removes what killed processes left half-written anywhere in the folder."""
    for path in list(folder.rglob(f"*{PARTIAL}*")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
