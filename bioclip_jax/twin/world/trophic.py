"""Trophic levels, and consumers that no producer feeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import UserError, listing

from .links import Link
from .species import Species


def trophic_levels(species: Sequence[Species], links: Sequence[Link]) -> Float[np.ndarray, " species"]:
    """Trophic level of each species: 1 of producers, else 1 + the weighted mean of its resources'.

    Prey-averaged level (Williams and Martinez 2004, American Naturalist 163:458). Feeding on the own kind
    does not count. All consumers must be fed, see check_fed.
    """
    index = {one.name: i for i, one in enumerate(species)}
    weights = np.zeros((len(species), len(species)))  # consumers x resources
    for link in links:
        if link.consumer != link.resource:
            weights[index[link.consumer], index[link.resource]] = link.weight
    total = weights.sum(axis=1, keepdims=True)
    shares = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return np.linalg.solve(np.eye(len(species)) - shares, np.ones(len(species)))


def check_fed(species: Sequence[Species], links: Sequence[Link], can_infer: bool) -> None:
    """Raise UserError if there is no producer, or a consumer that no chain of links connects to one.

    can_infer: advise to infer links, since that was not tried.
    """
    if not any(one.kind == "producer" for one in species):
        raise UserError("the world has no producer, so that nothing can live; add one, such as grass")
    fed = {one.name for one in species if one.kind == "producer"}
    while more := {link.consumer for link in links if link.resource in fed} - fed:
        fed |= more
    unfed = [one.name for one in species if one.name not in fed]
    if not unfed:
        return
    eats = {link.consumer for link in links if link.resource != link.consumer}
    starved = [name for name in unfed if name not in eats]
    names = starved or unfed
    shown = listing(names, 5)
    problem = (
        f"{len(names):,} consumers have no link to a resource ({shown})"
        if starved
        else f"no chain of links leads from {shown} to a producer"
    )
    advice = ", or set infer = true to infer links from related species" if can_infer and starved else ""
    raise UserError(f"{problem}; add what they eat to the links{advice}")
