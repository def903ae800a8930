"""Match files by their paths, however another program wrote these."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

# Results for a path without a file, and for one with several.
NO_MATCH = -1
AMBIGUOUS = -2

# Path components that are compared, from the most.
_DEPTHS = (6, 5, 4, 3, 2, 1)


def match_paths(paths: Sequence[str], *known: Sequence[str]) -> Int64[np.ndarray, " paths"]:
    """Return the index of the file that each path means, NO_MATCH or AMBIGUOUS.

    known: the paths of the files; several sequences are alternative paths of the same files, such as absolute
    and relative ones, the first being compared by its end too. A path means the file with this path;
    otherwise it ends in the same folders and name as one file alone, and no other path does: the more
    components agree, the better. Where only the names agree, the folders must not contradict: one side has
    none, or no path agrees with a file in its folder, as after a folder was renamed. A file that is matched
    by more components is not matched again by fewer. Backslashes, "./", blanks around a path and Unicode's
    decomposed form do not count.
    """
    plain = {path: _plain(path) for path in paths}
    result: dict[str, int] = {}
    for names in known:
        by_name = {_plain(name): index for index, name in enumerate(names)}
        for path, text in plain.items():
            if path not in result and text and text in by_name:
                result[path] = by_name[text]
    matched = set(result.values())
    known_parts = [_plain(name).split("/") for name in known[0]]
    remaining = {path: text.split("/") for path, text in plain.items() if path not in result}
    for depth in _DEPTHS:
        if not remaining:
            break
        remaining, found = _match_ends(remaining, known_parts, depth, flat=not matched)
        for path, index in found.items():
            result[path] = index if index not in matched else NO_MATCH
        matched.update(index for index in found.values() if index != AMBIGUOUS)
    return np.array([result.get(path, NO_MATCH) for path in paths], np.int64)


def _match_ends(
    paths: dict[str, list[str]], known: list[list[str]], depth: int, flat: bool
) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Compare the last `depth` components; return the undecided paths, and indices or AMBIGUOUS of others.

    flat: names alone may agree although the folders differ.
    """
    ends = {path: "/".join(parts[-depth:]) for path, parts in paths.items()}
    wanted = Counter(ends.values())
    files: dict[str, int] = {}
    for index, parts in enumerate(known):
        end = "/".join(parts[-depth:])
        if end in wanted:
            files[end] = AMBIGUOUS if end in files else index
    undecided: dict[str, list[str]] = {}
    found: dict[str, int] = {}
    for path, end in ends.items():
        index = files.get(end, NO_MATCH)
        in_folders = len(paths[path]) > 1 and (index < 0 or len(known[index]) > 1)
        if index == NO_MATCH or (depth == 1 and in_folders and not flat):
            undecided[path] = paths[path]
        else:
            found[path] = index if wanted[end] == 1 else AMBIGUOUS
    return undecided, found


def _plain(path: str) -> str:
    path = path.strip()
    if "\\" in path:
        path = path.replace("\\", "/")
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    return path if path.isascii() else unicodedata.normalize("NFC", path)
