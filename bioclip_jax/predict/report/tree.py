"""The tree of predicted taxa in a report, with the number of images of each."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from bioclip_jax.text import RANKS

from .report import Name

MOST_NODES = 2_000
# Nodes with at most this number of children are initially open, if their parent is.
_OPEN_CHILDREN = 3

Lineage = tuple[str, ...]


@dataclass
class TaxonNode:
    """A taxon of the tree. hidden: number of children without a node. open: unfolded from the start."""

    name: str
    rank: str
    common_name: str
    images: int
    children: list[TaxonNode] = field(default_factory=list)
    hidden: int = 0
    open: bool = False


def taxon_tree(best: Mapping[Name, int]) -> TaxonNode:
    """Build the tree of predictions, most images first, from images by prediction.

    Of more than MOST_NODES taxa, those with the fewest images are only counted, in their parent's `hidden`.
    Returns: the root, a node without a name.
    """
    counts: Counter[Lineage] = Counter()
    common_names: dict[Lineage, str] = {}
    for name, images in best.items():
        for depth in range(1, len(name.lineage) + 1):
            counts[name.lineage[:depth]] += images
        common_names[name.lineage] = name.common_name
    root = TaxonNode("", "", "", sum(best.values()), open=True)
    nodes: dict[Lineage, TaxonNode] = {(): root}
    # A parent has at least as many images as a child and is shorter, so it always comes first.
    for lineage in heapq.nsmallest(MOST_NODES, counts, key=lambda key: (-counts[key], len(key), key)):
        node = TaxonNode(lineage[-1], RANKS[len(lineage) - 1], common_names.get(lineage, ""), counts[lineage])
        nodes[lineage] = node
        nodes[lineage[:-1]].children.append(node)
    for lineage in counts.keys() - nodes.keys():
        if lineage[:-1] in nodes:
            nodes[lineage[:-1]].hidden += 1
    _unfold(root)
    return root


def _unfold(node: TaxonNode) -> None:
    """Open the tree from its root as far as few taxa hold most of the images."""
    for child in node.children:
        child.open = len(child.children) <= _OPEN_CHILDREN
        if child.open:
            _unfold(child)
