"""Pruned tree of taxa for the report's icicle chart: the largest taxa, the rest of each parent merged."""

import heapq
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np

from bioclip_jax.text import RANKS

from .counts import Lineage, TaxonCounts

# Limits that keep the page below 3 MB with a million taxa, and the rows of a full parent as high as their
# names.
MAX_NODES = 30_000
MAX_CHILDREN = 40
_MAX_NAME = 60

# Kinds of unnamed nodes: an unknown rank above a known one, no lower rank known, merged siblings.
UNKNOWN_RANK, NOT_NAMED_FURTHER, OTHERS = 1, 2, 3

Node = dict[str, Any]


def pruned_tree(taxa: Mapping[Lineage, TaxonCounts], without_taxon: int = 0) -> Node:
    """Return the tree of the taxa with the most images, for shard_stats.js.

    A node has n (name), i (images) and s (number of lineages), and optionally c (common name), t
    (UNKNOWN_RANK, NOT_NAMED_FURTHER or OTHERS; s then counts the merged siblings), k (children, most images
    first) and u (1 if its children are omitted). The largest nodes are expanded first, up to MAX_NODES; each
    keeps its first MAX_CHILDREN children, and the rest are merged, so that the children's images add up to
    the parent's.
    """
    lineages = sorted(taxa)
    images = np.array([taxa[lineage].images for lineage in lineages], np.int64)
    cumulative = np.concatenate([[0], np.cumsum(images)])
    root: Node = {"n": "", "i": int(cumulative[-1]) + without_taxon, "s": len(lineages)}
    # A heap: largest first, ties in the order of the lineages.
    pending = [(-root["i"], 0, len(lineages), 0, root)]
    count = 1
    while pending:
        _, first, end, depth, node = heapq.heappop(pending)
        groups = list(_groups(lineages, first, end, depth))
        children = []
        for name, start, stop in groups:
            child: Node = {
                "n": _short(name),
                "i": int(cumulative[stop] - cumulative[start]),
                "s": stop - start,
            }
            if not name:
                child["t"] = NOT_NAMED_FURTHER if not any(lineages[start][depth:]) else UNKNOWN_RANK
            if depth == len(RANKS) - 1 and (common := taxa[lineages[start]].common_name):
                child["c"] = _short(common)
            children.append((-child["i"], start, stop, depth + 1, child))
        if depth == 0 and without_taxon:
            unlabeled = {"n": "", "i": without_taxon, "s": 0, "t": NOT_NAMED_FURTHER}
            children.append((-without_taxon, 0, 0, len(RANKS), unlabeled))
        children.sort(key=lambda child: child[:2])
        kept = children[:MAX_CHILDREN] if len(children) > MAX_CHILDREN + 1 else children
        others = children[len(kept) :]
        if count + len(kept) + bool(others) > MAX_NODES:
            node["u"] = 1
            continue
        count += len(kept) + bool(others)
        node["k"] = [child[-1] for child in kept]
        if others:
            node["k"].append(
                {"n": "", "i": -sum(child[0] for child in others), "s": len(others), "t": OTHERS},
            )
        for child in kept:
            if child[3] < len(RANKS) and child[-1].get("t") != NOT_NAMED_FURTHER:
                heapq.heappush(pending, child)
    return root


def _groups(lineages: list[Lineage], first: int, end: int, depth: int) -> Iterator[tuple[str, int, int]]:
    """Yield (name, start, end) of runs of equal names at a depth; a lineage that ends above is one run."""
    start = first
    if start < end and not any(lineages[start][depth:]):
        # It sorts first and is unique.
        yield "", start, start + 1
        start += 1
    for name, run in groupby(range(start, end), lambda index: lineages[index][depth]):
        stop = start + sum(1 for _ in run)
        yield name, start, stop
        start = stop


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"
