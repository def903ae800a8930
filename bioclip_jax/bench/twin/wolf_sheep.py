"""Wolf-Sheep predation: rules, sizes and the initial state that all sides of the benchmark share.

Rules (Wilensky 1997, NetLogo Wolf Sheep Predation): the grid is a torus. In a step every sheep, in random order,
moves to one of the four cells beside its own, loses 1 energy, eats the cell's grass if it is grown, dies below
0 energy, and else halves its energy with a child in its cell by chance. Then every wolf does the same, but eats
one random sheep of its cell. Eaten grass is grown again `regrowth` steps later.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class WolfSheep:
    """A size of the model. Defaults: ABMax's published large case (Chaturvedi et al. 2025, arXiv:2508.16508)."""

    side: int = 1000  # cells
    sheep: int = 6000
    wolves: int = 4000
    sheep_gain: float = 5.0  # energy
    wolf_gain: float = 30.0
    sheep_birth: float = 0.01  # probability a step
    wolf_birth: float = 0.09
    regrowth: int = 20  # steps
    steps: int = 100
    # Slots of each species / its animals at the start; ABMax's case has 2 and 3.
    room: float = 3.0

    @classmethod
    def scaled(cls, animals: int, steps: int = 100) -> WolfSheep:
        """Return the case with `animals` at the start in the same proportions and density."""
        sheep = max(1, round(0.6 * animals))
        side = max(2, round(math.sqrt(100 * animals)))
        return cls(side=side, sheep=sheep, wolves=max(1, animals - sheep), steps=steps)

    @property
    def slots(self) -> dict[str, int]:
        """Return the slots of sheep and wolves."""
        return {
            "sheep": math.ceil(self.room * self.sheep),
            "wolves": math.ceil(self.room * self.wolves),
        }

    def initial_state(self, seed: int) -> dict[str, np.ndarray]:
        """Return cells (row * side + column), energies, and the step from which each cell's grass is grown.

        Energies are uniform up to twice the gain of a meal; half of the cells are grown, the others at a
        uniform step up to `regrowth`.
        """
        random = np.random.default_rng(seed)
        cells = self.side**2
        state = {}
        for name, count, gain in (
            ("sheep", self.sheep, self.sheep_gain),
            ("wolves", self.wolves, self.wolf_gain),
        ):
            state[f"{name}_cell"] = random.integers(cells, size=count, dtype=np.int32)
            state[f"{name}_energy"] = random.uniform(0, 2 * gain, count).astype(np.float32)
        later = random.integers(1, self.regrowth, size=cells, dtype=np.int32, endpoint=True)
        state["grown_at"] = np.where(random.random(cells) < 0.5, 0, later).astype(np.int32)
        return state

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return dataclasses.asdict(self)
