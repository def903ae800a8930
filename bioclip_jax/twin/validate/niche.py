"""Food webs of the niche model (Williams and Martinez 2000, Nature 404:180), and trophic levels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

# Webs whose connectance is further from the target are drawn again.
_CONNECTANCE_ERROR = 0.02


def niche_web(
    n: int, connectance: float, random: np.random.Generator
) -> Bool[np.ndarray, "resources consumers"]:
    """Draw a web of n species: [j, i] is True where i eats j.

    Each species has a niche value, uniform in 0 to 1, and eats all species within a range, of a mean that
    gives the connectance (links / n²), around a center that is uniform from half the range to its own niche
    value. The lowest species eats nothing. A web is drawn again if its connectance is off by more than 0.02,
    a species has no link, two species have the same prey and predators, or one lives on no producer.
    """
    while True:
        niche = np.sort(random.random(n))
        width = niche * random.beta(1, 1 / (2 * connectance) - 1, n)
        width[0] = 0.0
        center = random.uniform(width / 2, niche)
        web = (np.abs(niche[:, None] - center) <= width / 2) & (width > 0)
        if abs(web.mean() - connectance) <= _CONNECTANCE_ERROR and _is_valid(web):
            return web


def trophic_levels(web: Bool[np.ndarray, "resources consumers"]) -> Float[np.ndarray, " species"]:
    """Return prey-averaged trophic levels: 1 for producers, else 1 + the mean level of the prey."""
    share = web / np.maximum(web.sum(axis=0), 1)
    return np.linalg.solve(np.eye(len(web)) - share.T, np.ones(len(web)))


def _is_valid(web: Bool[np.ndarray, "resources consumers"]) -> bool:
    others = web & ~np.eye(len(web), dtype=bool)
    linked = others.any(axis=0) | others.any(axis=1)
    roles = np.concatenate([web, web.T])
    distinct = len(np.unique(roles, axis=1).T) == len(web)
    fed = ~web.any(axis=0)
    for _ in range(len(web)):
        fed = fed | web[fed].any(axis=0)
    return bool(linked.all() and distinct and fed.all())
