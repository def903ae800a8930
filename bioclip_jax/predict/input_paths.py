"""The paths of INPUTS, with globs and packages expanded, and the content of pipes."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
from collections.abc import Sequence

from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import is_hidden
from bioclip_jax.tables import find_file

from .image_file import image_file
from .image_tables import package_media

STDIN = "/dev/stdin"
ADVICE = "give images, folders, globs, a CSV or Parquet with a filepath column, or tars"
# More bytes from a pipe than any photograph has.
_LARGEST_PIPED = 1 << 29


def expand(inputs: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Expand the globs and Camtrap DP packages of INPUTS and return all paths in order; idempotent.

    Raises UserError without inputs, and for a path or glob that matches nothing.
    """
    if not inputs:
        raise UserError(f"there is no input; {ADVICE}")
    paths = [path for item in inputs for path in _matches(os.fspath(item))]
    return [part for path in paths for part in package_media(path) or [path]]


def _matches(item: str) -> list[str]:
    # A broken link is reported later, as any unreadable file.
    if os.path.lexists(item):
        return [item]
    if item == "-":
        return [STDIN]
    if not item.strip():
        raise UserError(f"an input is {item!r}, which is not a path; {ADVICE}")
    if os.path.lexists(spelled := find_file("", item)):
        return [spelled]
    if os.path.lexists(image_file(item).path):  # a page or frame
        return [item]
    if not glob.has_magic(item):
        raise UserError(f"{item} does not exist; {ADVICE}")
    parts = item.split(os.sep)
    matches = sorted(glob.glob(item, recursive=True))
    matches = [match for match in matches if not _is_hidden_match(match, parts)]
    if not matches:
        raise UserError(f"nothing matches {item}; {ADVICE}")
    return [path for match in matches for path in _matches(match)]


def whole_folders(paths: Sequence[str]) -> set[str]:
    """Return the folders all of whose visible entries are among the paths, as from FOLDER/*."""
    given: dict[str, set[str]] = {}
    for path in paths:
        given.setdefault(os.path.dirname(path), set()).add(os.path.basename(path))
    whole = set()
    for folder, names in given.items():
        with contextlib.suppress(OSError):
            if len(names) > 1 and all(
                name in names for name in os.listdir(folder or ".") if not name.startswith(".")
            ):
                whole.add(folder)
    return whole


def _is_hidden_match(match: str, pattern_parts: Sequence[str]) -> bool:
    """Return True for a match in a hidden folder that the glob does not name."""
    return any(is_hidden(part) and part not in pattern_parts for part in match.split(os.sep))


def is_pipe(path: str) -> bool:
    """Return True for a pipe, a terminal or a socket, which can be read only once."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISBLK(mode))


def read_pipe(path: str) -> bytes:
    """Return the content of a pipe. Raises UserError for one that is unreadable, empty or too large."""
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST_PIPED + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {ADVICE}") from None
    if len(content) > _LARGEST_PIPED:
        raise UserError(f"{path} delivers more than {_LARGEST_PIPED >> 20} MB; give a file")
    if not content:
        raise UserError(f"{path} delivers nothing; write an image to it")
    return content
