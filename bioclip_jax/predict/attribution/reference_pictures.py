"""Reference pictures: the images of an index that are of a candidate and nearest to a photograph."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from bioclip_jax.predict.search import quoted
from bioclip_jax.text import RANKS

if TYPE_CHECKING:
    from bioclip_jax.predict.search import ImageIndex

# Columns of an index that a label without a rank may be the name in.
_NAMES = ("species", "common_name", "genus", "family", "order", "class", "phylum", "kingdom")


class Reference(NamedTuple):
    """An indexed image: its path, the cosine to the photograph, and its lineage."""

    path: str
    score: float
    row: dict[str, Any]


def references(
    index: ImageIndex,
    vector: Float32[np.ndarray, " dim"],
    candidates: Sequence[Mapping[str, Any]],
    n: int = 3,
    *,
    without: str | None = None,
) -> list[list[Reference]]:
    """Return the n images nearest to a photograph among those of each candidate; [] for one without images.

    candidates: rows of predictions; their lowest known rank counts, or the label in any column of names.
    vector: of the photograph, of the index's model. without: a path to leave out, the photograph's own.
    """
    found = []
    own = None if without is None else os.path.abspath(without)
    for row in candidates:
        condition = _condition(row)
        if condition is None:
            found.append([])
            continue
        [images] = index.search(vector[None], n + 1, where=condition)
        listed = [Reference(image.pop("path"), image.pop("score"), image) for image in images]
        found.append([one for one in listed if os.path.abspath(one.path) != own][:n])
    return found


def _condition(row: Mapping[str, Any]) -> str | None:
    """Return the filter for the images of a candidate; None for one without a name."""
    if "classification" in row:
        name = str(row["classification"]).strip().lower()
        return " OR ".join(f"lower(`{column}`) = {quoted(name)}" for column in _NAMES) if name else None
    known = [rank for rank in RANKS if row.get(rank)]
    if not known:
        return None
    # A homonym has another kingdom.
    names = dict.fromkeys((known[0], known[-1])) if known[0] == "kingdom" else {known[-1]: None}
    given = [f"lower(`{rank}`) = {quoted(str(row[rank]).lower())}" for rank in names]
    if len(given) == 1:
        return given[0]
    return f"(lower(`kingdom`) = '' OR {given[0]}) AND {given[1]}"
