"""Trees of species or taxa: from distances, from lineages, and both untangled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

_ROUNDS = 8
_STARTS = 40


@dataclass(frozen=True)
class Node:
    """A branching of a tree, at its height above the leaves; or a leaf, with its number."""

    height: float = 0.0
    children: tuple[Node, ...] = ()
    leaf: int = -1

    def leaves(self) -> list[int]:
        """Return the numbers of the leaves in drawing order."""
        leaves, stack = [], [self]
        while stack:
            node = stack.pop()
            if node.children:
                stack.extend(reversed(node.children))
            else:
                leaves.append(node.leaf)
        return leaves


def average_linkage(distances: Float[np.ndarray, " pairs"]) -> Float[np.ndarray, "merges 4"]:
    """Return the UPGMA linkage (Sokal and Michener 1958) of condensed distances, in SciPy's format."""
    from scipy.cluster.hierarchy import linkage

    return linkage(distances, "average")


def cut(linkage: Float[np.ndarray, "merges 4"], number: int) -> Int[np.ndarray, " leaves"]:
    """Cut the tree into exactly `number` clusters; of merges at equal height, the first come first."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    leaves = len(linkage) + 1
    merges = leaves - number
    parents = np.repeat(np.arange(leaves, leaves + merges), 2)
    children = linkage[:merges, :2].astype(np.int64).ravel()
    graph = coo_matrix((np.ones(len(parents)), (parents, children)), (leaves + merges, leaves + merges))
    return connected_components(graph, directed=False)[1][:leaves]


def tree_of_linkage(linkage: Float[np.ndarray, "merges 4"]) -> Node:
    """Convert a linkage to a tree; leaves are numbered as its points."""
    nodes = [Node(leaf=leaf) for leaf in range(len(linkage) + 1)]
    for left, right, height, _ in linkage:
        nodes.append(Node(float(height), (nodes[int(left)], nodes[int(right)])))
    return nodes[-1]


def tree_of_lineages(lineages: Int[np.ndarray, "leaves ranks"]) -> Node:
    """Build the tree of numbered taxa, highest rank first, with nodes at the height of their rank.

    A rank without branching has no node; leaves are one rank below the last.
    """
    ranks = lineages.shape[1]

    def grow(rows: np.ndarray, rank: int) -> Node:
        if len(rows) == 1:
            return Node(leaf=int(rows[0]))
        if rank == ranks:
            return Node(1.0, tuple(Node(leaf=int(row)) for row in rows))
        codes = lineages[rows, rank]
        taxa = [rows[codes == taxon] for taxon in dict.fromkeys(codes.tolist())]
        if len(taxa) == 1:
            return grow(rows, rank + 1)
        return Node(float(ranks - rank + 1), tuple(grow(taxon, rank + 1) for taxon in taxa))

    return grow(np.arange(len(lineages)), 0)


def untangle(left: Node, right: Node, *, seed: int = 0) -> tuple[Node, Node]:
    """Rotate the branches of both trees so that equal leaves are in similar rows.

    Branches are sorted alternately by the mean row of their leaves in the other tree, from several initial
    orders; the least total difference of rows wins. The exact optimum is NP-hard (Fernau et al. 2010).
    """
    random = np.random.default_rng(seed)
    best, least = (left, right), np.inf
    for start in range(_STARTS):
        one, other = (left, right) if not start else (_shuffled(left, random), right)
        last = np.inf
        for _ in range(_ROUNDS):
            other = _sorted(other, _rows(one))[0]
            one = _sorted(one, _rows(other))[0]
            left_rows, right_rows = _rows(one), _rows(other)
            difference = sum(abs(row - right_rows[leaf]) for leaf, row in left_rows.items())
            if difference < least:
                best, least = (one, other), difference
            if difference >= last:
                break
            last = difference
    return best


def _shuffled(node: Node, random: np.random.Generator) -> Node:
    """Return the tree with the branches of every node in random order."""
    if not node.children:
        return node
    order = random.permutation(len(node.children))
    return Node(node.height, tuple(_shuffled(node.children[index], random) for index in order))


def _rows(tree: Node) -> dict[int, int]:
    return {leaf: row for row, leaf in enumerate(tree.leaves())}


def _sorted(node: Node, rows: Mapping[int, int]) -> tuple[Node, float, int]:
    """Return the tree with sorted branches, the mean row of its leaves, and their number."""
    if not node.children:
        return node, float(rows[node.leaf]), 1
    parts: Sequence[tuple[Node, float, int]] = sorted(
        (_sorted(child, rows) for child in node.children), key=lambda part: part[1]
    )
    number = sum(part[2] for part in parts)
    mean = sum(part[1] * part[2] for part in parts) / number
    return Node(node.height, tuple(part[0] for part in parts)), mean, number
