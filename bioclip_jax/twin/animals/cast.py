"""Cast of a scene: which animals, and how many, a visitor sees of a community."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bioclip_jax.twin.scenario import Run
from bioclip_jax.twin.world import Species

from .traits import CARNIVORES, guild_of

# Animals that are too small to be seen do not appear.
_LEAST_KG = 0.8
# A group of each predator, whatever its density: at one lion in 8 km² a visitor would wait for days.
GROUPS = {"lion": 5, "hyena": 6, "jackal": 2, "cat": 1}
# Vultures follow carcasses wherever there are predators, although communities have no species for them.
VULTURES = ("Gyps africanus", 8)
_MOST = 200


def cast_of(run: Run, branch: int, species: Sequence[Species], *, prey: int = 160) -> dict[str, int]:
    """Return the numbers of animals of a scene at the end of a branch, by species.

    prey: sum of the prey of the baseline, in proportion to the median density of members. A branch has the
    baseline's number times the ratio of its density, at least one where the species survives, and all are
    scaled down together if they would be more than 200. Predators that survive appear as one group each, and
    with them vultures.
    """
    if not 1 <= prey <= _MOST:
        raise ValueError(f"prey is {prey}; it must be between 1 and {_MOST}")
    known = {one.name: one for one in species}
    seen = [
        (column, known[name], guild_of(known[name]))
        for column, name in enumerate(run.species)
        if known[name].kind == "endotherm" and known[name].mass_g >= 1000 * _LEAST_KG
    ]
    start, end = (np.median(run.total(of)[:, -1], axis=0) for of in (0, branch))
    grazers = [(column, one) for column, one, guild in seen if guild not in CARNIVORES]
    density = {one.name: end[column] / one.mass_g for column, one in grazers}
    total = sum(start[column] / one.mass_g for column, one in grazers)
    scale = prey / total if total else 0.0
    scale *= min(1.0, _MOST / max(scale * sum(density.values()), 1))
    cast = {name: max(1, round(scale * value)) for name, value in density.items() if value > 0}
    predators = {
        one.name: GROUPS[guild] for column, one, guild in seen if guild in GROUPS and end[column] > 0
    }
    name, number = VULTURES
    return cast | predators | ({name: number} if predators else {})
