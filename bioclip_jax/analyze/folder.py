"""The folder that an analysis writes into: all of its files, or none."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bioclip_jax.errors import UserError


def check_folder(output: Path) -> None:
    """UserError if `output` is a file, or there is no folder to make it in."""
    if output.exists() and not output.is_dir():
        raise UserError(f"the output {output} is a file; name a folder")
    if not output.exists() and not output.absolute().parent.is_dir():
        raise UserError(f"the folder of the output {output} does not exist; make it, or name another")


@contextlib.contextmanager
def written_together(output: Path) -> Iterator[Path]:
    """A folder to write to, whose files are moved into `output` when the block ends well, and removed when it does not."""
    beside = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.absolute().parent))
    try:
        yield beside
        output.mkdir(exist_ok=True)
        for path in sorted(beside.iterdir()):
            os.replace(path, output / path.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
