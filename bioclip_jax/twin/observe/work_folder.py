"""The folder in which a package is made: it survives an interruption, and becomes the output at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from bioclip_jax.errors import Interrupted, UserError
from bioclip_jax.files import check_folder
from bioclip_jax.locks import locked

from .camtrap_dp import FIELDS, MEDIA_FOLDER, PROBABILITIES_FILE, RELIABILITY_FILE

_DESCRIPTOR = "datapackage.json"
# All that a package of ours has; anything else in its folder is somebody's work.
_OWN = {_DESCRIPTOR, PROBABILITIES_FILE, RELIABILITY_FILE, *(f"{table}.csv" for table in FIELDS)} | {
    ".DS_Store", "Thumbs.db", "desktop.ini",
}  # fmt: skip
# Predictions take hours, so a mistake that is noticed after them does not discard them.
PREDICTIONS = "predictions.parquet"
_PACKAGE, _PREVIOUS = "package", "previous"


def check_target(output: Path, *, overwrite: bool, reads: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Raise UserError if the package cannot be put at `output`.

    reads: inputs, which must not be in a package that is replaced, nor may photographs or other files be. A
    package that a killed run was replacing is put back first.
    """
    check_folder(output)
    previous = _folder(output) / _PREVIOUS
    if previous.exists() and not output.exists():
        os.rename(previous, output)
    if not output.exists() or not any(output.iterdir()):
        return
    if not (output / _DESCRIPTOR).is_file():
        raise UserError(f"{output} has files and is not a Camtrap DP; name a new or empty folder")
    if not overwrite:
        raise UserError(f"{output} already has a package; name another folder, or give --overwrite")
    for path in reads:
        if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(output)):
            raise UserError(f"--overwrite would delete {path}, which is read; name another folder")
    for entry in sorted(output.iterdir()):
        if entry.name not in _OWN and not (entry.name == MEDIA_FOLDER and entry.is_symlink()):
            raise UserError(
                f"--overwrite would delete {entry}, which twin observe did not write; move it, or name "
                "another folder"
            )


class WorkFolder:
    """Paths of the stages of a run."""

    def __init__(self, path: Path) -> None:
        self.exif = path / "exif.jsonl"
        self.photos = path / "photos.parquet"
        self.predictions = path / PREDICTIONS
        self.package = path / _PACKAGE
        self._previous = path / _PREVIOUS

    def replace(self, output: Path) -> None:
        """Move the package to the output, whose earlier package is deleted with this folder."""
        output = Path(os.path.realpath(output))
        if output.exists() and any(output.iterdir()):
            os.rename(output, self._previous)
        os.rename(self.package, output)


@contextlib.contextmanager
def work_folder(output: Path) -> Iterator[WorkFolder]:
    """Open the work folder .NAME.partial beside the output NAME, maybe of an interrupted run.

    It is removed at the end, and after an error unless it holds predictions; an interruption keeps it.
    Raises UserError if another process uses it.
    """
    folder = _folder(output)
    folder.mkdir(exist_ok=True)
    with locked(folder / "lock", f"another process is making {output}; wait for it, or name another output"):
        for name in (_PACKAGE, _PREVIOUS):
            shutil.rmtree(folder / name, ignore_errors=True)
        try:
            yield WorkFolder(folder)
        except KeyboardInterrupt:
            raise Interrupted(
                f"what is finished is kept in {folder}; run the same command again to resume"
            ) from None
        except BaseException:
            if not any(PREDICTIONS in path.name for path in folder.iterdir()):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _folder(output: Path) -> Path:
    output = Path(os.path.realpath(output))
    return output.with_name(f".{output.name}.partial")
