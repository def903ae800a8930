"""From parents to lineages: each taxon's ancestors at the ranks from kingdom to genus."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int8, Int32

# A backbone's tree has some 30 levels; more are a circle.
_LEVELS = 64


def ancestors(
    parents: Int32[np.ndarray, " taxa"], ranks: Int8[np.ndarray, " taxa"], nodes: Int32[np.ndarray, " nodes"]
) -> Int32[np.ndarray, "nodes 6"]:
    """The row of each node's nearest ancestor-or-self at each rank, -1 where it has none.

    `parents`: each taxon's parent's row, -1 at the root. `ranks`: 0 kingdom to 5 genus, -1 for any other
    rank.
    """
    found = np.full((len(nodes), 6), -1, np.int32)
    active = np.arange(len(nodes))
    current = nodes.copy()
    for _ in range(_LEVELS):
        if not len(active):
            break
        rank = ranks[current]
        new = rank >= 0
        new[new] = found[active[new], rank[new]] < 0
        found[active[new], rank[new]] = current[new]
        current = parents[current]
        alive = current >= 0
        active, current = active[alive], current[alive]
    return found
