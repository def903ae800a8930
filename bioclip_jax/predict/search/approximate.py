"""The approximate index of a large table: trained when there are enough images, and measured against exact search."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .table import KEPT, ImageIndex

# With fewer images, comparing all of them takes some tens of milliseconds, and nothing is missed.
EXACT_BELOW = 20_000
RECALL = 0.95

# A table that has grown by this much since its partitions were found gets new ones.
_GROWN = 2.0
# Vectors from which the place of one partition is learnt.
_SAMPLES = 64


def bring_up_to_date(index: ImageIndex, exact_below: int = EXACT_BELOW) -> dict[str, Any]:
    """Make the table's files few and its approximate index cover all images, and write down what that index reaches.

    Returns: {"count", "recall", "nprobes"}: the recall at 10, on images of the index itself; both None where
      search is exact, because there are fewer than `exact_below` images.
    """
    table, count = index.table, len(index)
    about: dict[str, Any] = {"count": count, "recall": None, "nprobes": None}
    if count >= exact_below:
        trained_on = index.about.get("trained_on") or 0
        if not trained_on or count > _GROWN * trained_on:
            from lancedb.index import IvfRq, IvfSq

            about["trained_on"] = count
            # RaBitQ codes take a thirtieth of the vectors' room, but only for widths of whole bytes.
            kind = IvfSq if index.about["dim"] % 8 else IvfRq
            partitions = _partitions(count)
            config = kind("cosine", num_partitions=partitions, sample_rate=_SAMPLES, max_iterations=15)
            with index.undamaged():
                table.create_index("vector", config=config, replace=True)
    with index.undamaged():
        table.optimize(cleanup_older_than=KEPT)
    if count >= exact_below:
        about |= _enough_partitions(index, _partitions(about.get("trained_on") or trained_on))
    index.write_about(**about)
    return {name: about[name] for name in ("count", "recall", "nprobes")}


class _Truth:
    """Some images of an index as queries, and their nearest by exact search; none is its own neighbour."""

    def __init__(self, index: ImageIndex, queries: int = 100, k: int = 10) -> None:
        places = np.random.default_rng(0).choice(len(index), min(queries, len(index)), replace=False)
        rows = index.table.take_offsets(sorted(places.tolist())).select(["id", "vector"]).to_arrow()
        self._index, self._k = index, k
        self._ids = rows["id"].to_pylist()
        self._vectors = np.stack(rows["vector"].to_numpy())
        self._nearest = self._found(exact=True)

    def share_found(self, nprobes: int) -> float:
        """The recall of the approximate index."""
        found = self._found(nprobes=nprobes)
        hits = sum(len(true & seen) for true, seen in zip(self._nearest, found))
        return hits / max(1, sum(map(len, self._nearest)))

    def _found(self, **how: Any) -> list[set[str]]:
        results = self._index.search(self._vectors, self._k + 1, columns=["id"], **how)
        return [
            set([row["id"] for row in rows if row["id"] != own][: self._k])
            for own, rows in zip(self._ids, results)
        ]


def _enough_partitions(index: ImageIndex, partitions: int) -> dict[str, Any]:
    """How many partitions to read, doubling until the recall is enough, and that recall."""
    truth = _Truth(index)
    nprobes = min(8, partitions)
    while (found := truth.share_found(nprobes)) < RECALL and nprobes < partitions:
        nprobes = min(2 * nprobes, partitions)
    return {"recall": found, "nprobes": nprobes}


def _partitions(count: int) -> int:
    """Into how many partitions to divide so many vectors: the square root, if that leaves enough to learn each from."""
    return max(1, min(round(math.sqrt(count)), count // _SAMPLES))
