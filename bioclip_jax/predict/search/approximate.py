"""Approximate nearest-neighbor index of a large table, and its recall against exact search."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .table import KEPT, ImageIndex

# Exact search over fewer images takes some tens of milliseconds.
EXACT_BELOW = 20_000
RECALL = 0.95

# Growth of the table after which its partitions are trained again.
_GROWTH = 2.0
# Training vectors per partition.
_SAMPLES = 64


def update_index(index: ImageIndex, exact_below: int = EXACT_BELOW) -> dict[str, Any]:
    """Compact the table, extend its approximate index to all images, and record the recall.

    Returns: {"count", "recall", "nprobes"}: the recall at 10, on images of the index; both None for fewer
      than `exact_below` images, which are searched exactly.
    """
    table, count = index.table, len(index)
    about: dict[str, Any] = {"count": count, "recall": None, "nprobes": None}
    if count >= exact_below:
        trained_on = index.about.get("trained_on") or 0
        if not trained_on or count > _GROWTH * trained_on:
            from lancedb.index import IvfRq, IvfSq

            about["trained_on"] = count
            # RaBitQ codes take a thirtieth of the vectors' size, but need a dimension of whole bytes.
            kind = IvfSq if index.about["dim"] % 8 else IvfRq
            partitions = _n_partitions(count)
            config = kind("cosine", num_partitions=partitions, sample_rate=_SAMPLES, max_iterations=15)
            with index.damage_as_error():
                table.create_index("vector", config=config, replace=True)
    with index.damage_as_error():
        table.optimize(cleanup_older_than=KEPT)
    if count >= exact_below:
        about |= _tune_nprobes(index, _n_partitions(about.get("trained_on") or trained_on))
    index.write_about(**about)
    return {name: about[name] for name in ("count", "recall", "nprobes")}


class _RecallProbe:
    """Images of an index as queries, and their nearest neighbors by exact search, themselves excluded."""

    def __init__(self, index: ImageIndex, queries: int = 100, k: int = 10) -> None:
        offsets = np.random.default_rng(0).choice(len(index), min(queries, len(index)), replace=False)
        rows = index.table.take_offsets(sorted(offsets.tolist())).select(["id", "vector"]).to_arrow()
        self._index, self._k = index, k
        self._ids = rows["id"].to_pylist()
        self._vectors = np.stack(rows["vector"].to_numpy())
        self._true = self._neighbors(exact=True)

    def recall(self, nprobes: int) -> float:
        """Return the recall of the approximate index with `nprobes` partitions."""
        neighbors = self._neighbors(nprobes=nprobes)
        hits = sum(len(true & approximate) for true, approximate in zip(self._true, neighbors))
        return hits / max(1, sum(map(len, self._true)))

    def _neighbors(self, **options: Any) -> list[set[str]]:
        results = self._index.search(self._vectors, self._k + 1, columns=["id"], **options)
        return [
            set([row["id"] for row in rows if row["id"] != own][: self._k])
            for own, rows in zip(self._ids, results)
        ]


def _tune_nprobes(index: ImageIndex, partitions: int) -> dict[str, Any]:
    """Return the number of partitions to search, doubled until the recall suffices, and that recall."""
    probe = _RecallProbe(index)
    nprobes = min(8, partitions)
    while (recall := probe.recall(nprobes)) < RECALL and nprobes < partitions:
        nprobes = min(2 * nprobes, partitions)
    return {"recall": recall, "nprobes": nprobes}


def _n_partitions(count: int) -> int:
    """Return the number of partitions: the square root of `count`, with enough samples to train each."""
    return max(1, min(round(math.sqrt(count)), count // _SAMPLES))
