"""Trees of species or taxa: from distances, from lineages, and both in an order that crosses little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

_ROUNDS = 8
_STARTS = 40


@dataclass(frozen=True)
class Node:
    """A fork of a tree, or with `leaf`, the number of the thing at its end; `height`: its distance from the leaves."""

    height: float = 0.0
    children: tuple[Node, ...] = ()
    leaf: int = -1

    def leaves(self) -> list[int]:
        """Their numbers, in the order in which they are drawn."""
        found, waiting = [], [self]
        while waiting:
            node = waiting.pop()
            if node.children:
                waiting.extend(reversed(node.children))
            else:
                found.append(node.leaf)
        return found


def average_linkage(distances: Float[np.ndarray, " pairs"]) -> Float[np.ndarray, "merges 4"]:
    """UPGMA (Sokal and Michener 1958) of condensed distances, in SciPy's form."""
    from scipy.cluster.hierarchy import linkage

    return linkage(distances, "average")


def cut(linkage: Float[np.ndarray, "merges 4"], number: int) -> Int[np.ndarray, " leaves"]:
    """The cluster of every leaf where the tree is cut into exactly `number`, among equal heights the first merges."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    leaves = len(linkage) + 1
    merges = leaves - number
    parents = np.repeat(np.arange(leaves, leaves + merges), 2)
    children = linkage[:merges, :2].astype(np.int64).ravel()
    graph = coo_matrix((np.ones(len(parents)), (parents, children)), (leaves + merges, leaves + merges))
    return connected_components(graph, directed=False)[1][:leaves]


def tree_of_linkage(linkage: Float[np.ndarray, "merges 4"]) -> Node:
    """The tree of a linkage; leaves are numbered as its points."""
    nodes = [Node(leaf=leaf) for leaf in range(len(linkage) + 1)]
    for left, right, height, _ in linkage:
        nodes.append(Node(float(height), (nodes[int(left)], nodes[int(right)])))
    return nodes[-1]


def tree_of_lineages(lineages: Int[np.ndarray, "leaves ranks"]) -> Node:
    """The tree of numbered taxa, the highest rank first, with forks at the rank's height above the leaves.

    A rank at which nothing forks is no node; the leaves stand one rank below the last.
    """
    ranks = lineages.shape[1]

    def grow(rows: np.ndarray, rank: int) -> Node:
        if len(rows) == 1:
            return Node(leaf=int(rows[0]))
        if rank == ranks:
            return Node(1.0, tuple(Node(leaf=int(row)) for row in rows))
        of = lineages[rows, rank]
        taxa = [rows[of == taxon] for taxon in dict.fromkeys(of.tolist())]
        if len(taxa) == 1:
            return grow(rows, rank + 1)
        return Node(float(ranks - rank + 1), tuple(grow(taxon, rank + 1) for taxon in taxa))

    return grow(np.arange(len(lineages)), 0)


def untangle(left: Node, right: Node, *, seed: int = 0) -> tuple[Node, Node]:
    """Both trees with their forks turned so that the same leaves stand at about the same height.

    Forks are sorted by the mean place of their leaves in the other tree, in turns, from several orders to
    start with, and the least total difference of places wins: to find the least of all is NP-hard (Fernau et
    al. 2010).
    """
    random = np.random.default_rng(seed)
    best, least = (left, right), np.inf
    for start in range(_STARTS):
        one, other = (left, right) if not start else (_turned(left, random), right)
        last = np.inf
        for _ in range(_ROUNDS):
            other = _sorted(other, _places(one))[0]
            one = _sorted(one, _places(other))[0]
            here, there = _places(one), _places(other)
            difference = sum(abs(here[leaf] - there[leaf]) for leaf in here)
            if difference < least:
                best, least = (one, other), difference
            if difference >= last:
                break
            last = difference
    return best


def _turned(node: Node, random: np.random.Generator) -> Node:
    """The tree with every fork's branches in an order by chance."""
    if not node.children:
        return node
    order = random.permutation(len(node.children))
    return Node(node.height, tuple(_turned(node.children[place], random) for place in order))


def _places(tree: Node) -> dict[int, int]:
    return {leaf: place for place, leaf in enumerate(tree.leaves())}


def _sorted(node: Node, places: Mapping[int, int]) -> tuple[Node, float, int]:
    """The tree with sorted forks, the mean place of its leaves, and their number."""
    if not node.children:
        return node, float(places[node.leaf]), 1
    parts: Sequence[tuple[Node, float, int]] = sorted(
        (_sorted(child, places) for child in node.children), key=lambda part: part[1]
    )
    number = sum(part[2] for part in parts)
    mean = sum(part[1] * part[2] for part in parts) / number
    return Node(node.height, tuple(part[0] for part in parts)), mean, number
