"""The tree of life as far as the icicle shows it: the largest taxa, the others of each parent as one."""

import heapq
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np

from bioclip_jax.curate.stats.counts import Lineage, TaxonCounts
from bioclip_jax.text import RANKS

# What keeps the page below 3 MB with a million taxa, and every row of a full parent as high as its name.
MOST_NODES = 30_000
MOST_CHILDREN = 40
_LONGEST_NAME = 60

# Kinds of nodes beside the named ones: a rank that is not known, no lower rank known, the merged others.
UNKNOWN_RANK, NOT_NAMED_FURTHER, OTHERS = 1, 2, 3

Node = dict[str, Any]


def pruned_tree(taxa: Mapping[Lineage, TaxonCounts], without_taxon: int = 0) -> Node:
    """The tree of the taxa with the most images, kingdom by kingdom, for icicle.js.

    A node is {"n": name, "i": images, "s": lineages in it}, and where that says more "c": common name, "t":
    UNKNOWN_RANK, NOT_NAMED_FURTHER or OTHERS ("s" then counts the merged siblings), "k": children, most
    images first,
    "u": 1 if it has children that are not in the tree. Nodes are opened from the largest on until there are
    MOST_NODES, the first MOST_CHILDREN children of each are kept, and the rest is merged, so that the images
    of the children add up to the parent's.
    """
    lineages = sorted(taxa)
    images = np.array([taxa[lineage].images for lineage in lineages], np.int64)
    upto = np.concatenate([[0], np.cumsum(images)])
    root: Node = {"n": "", "i": int(upto[-1]) + without_taxon, "s": len(lineages)}
    # The largest first; of equals, the first in the order of the lineages.
    waiting = [(-root["i"], 0, len(lineages), 0, root)]
    count = 1
    while waiting:
        _, first, end, depth, node = heapq.heappop(waiting)
        groups = list(_groups(lineages, first, end, depth))
        children = []
        for name, start, stop in groups:
            child: Node = {"n": _short(name), "i": int(upto[stop] - upto[start]), "s": stop - start}
            if not name:
                child["t"] = NOT_NAMED_FURTHER if not any(lineages[start][depth:]) else UNKNOWN_RANK
            if depth == len(RANKS) - 1 and (common := taxa[lineages[start]].common_name):
                child["c"] = _short(common)
            children.append((-child["i"], start, stop, depth + 1, child))
        if depth == 0 and without_taxon:
            nothing = {"n": "", "i": without_taxon, "s": 0, "t": NOT_NAMED_FURTHER}
            children.append((-without_taxon, 0, 0, len(RANKS), nothing))
        children.sort(key=lambda child: child[:2])
        kept = children[:MOST_CHILDREN] if len(children) > MOST_CHILDREN + 1 else children
        others = children[len(kept) :]
        if count + len(kept) + bool(others) > MOST_NODES:
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
                heapq.heappush(waiting, child)
    return root


def _groups(lineages: list[Lineage], first: int, end: int, depth: int) -> Iterator[tuple[str, int, int]]:
    """(name, start, end) of the runs of one name at a depth; what is not named further is a run of its own."""
    start = first
    if start < end and not any(lineages[start][depth:]):
        # Sorted lineages begin with it, and there is but one.
        yield "", start, start + 1
        start += 1
    for name, run in groupby(range(start, end), lambda place: lineages[place][depth]):
        stop = start + sum(1 for _ in run)
        yield name, start, stop
        start = stop


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
