"""Find the photographs of corrections in a folder, as after a download or a move to another computer."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace

from bioclip_jax.errors import UserError, listing
from bioclip_jax.tables import find_file

from .corrections import Correction

_MOST_LISTED = 3


def relink_photographs(
    corrections: Sequence[Correction], folder: str | os.PathLike[str]
) -> tuple[list[Correction], list[str]]:
    """Replace each path by the absolute path of its file in `folder`.

    The same number of leading folders is removed from all paths: the smallest with which most files exist,
    and none stands for two photographs. Returns the corrections, and the paths without a file, which are
    kept. Raises UserError if the folder has none of the files.
    """
    folder = os.path.abspath(folder)
    if not os.path.isdir(folder):
        raise UserError(f"--images {folder} is not a folder; name the folder of the photographs")
    paths = list(dict.fromkeys(correction.filepath for correction in corrections))
    parts = [re.split(r"[/\\]", re.sub(r"^(?:[A-Za-z]:)?[/\\]+", "", path)) for path in paths]
    best: dict[str, str] = {}
    for removed in range(max(map(len, parts), default=0)):
        found = {}
        for path, names in zip(paths, parts):
            rest = names[removed:]
            if rest and ".." not in rest and os.path.isfile(file := find_file(folder, "/".join(rest))):
                found[path] = file
        if len(found) > len(best) and len(set(found.values())) == len(found):
            best = found
        if len(best) == len(paths):
            break
    if not best:
        raise UserError(
            f"{folder} has none of the {len(paths):,} photographs ({listing(paths, _MOST_LISTED)}); name the "
            "folder that holds them, with its subfolders"
        )
    linked = [replace(one, filepath=best.get(one.filepath, one.filepath)) for one in corrections]
    return linked, [path for path in paths if path not in best]
