"""The folder that an analysis writes into: all of its files, or none."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bioclip_jax.files import Reads, check_not_read


@contextlib.contextmanager
def written_together(output: Path, reads: Reads = {}) -> Iterator[Path]:
    """A folder to write to, whose files are moved into `output` when the block ends well, and removed when it does not.

    UserError if one of them would overwrite a file that is read (`reads`: as check_not_read).
    """
    place = output if output.is_dir() else output.absolute().parent
    beside = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=place))
    try:
        yield beside
        check_not_read({f"{path.name} in --output": output / path.name for path in beside.iterdir()}, reads)
        output.mkdir(exist_ok=True)
        for path in sorted(beside.iterdir()):
            os.replace(path, output / path.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
