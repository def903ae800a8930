"""Models of individuals: rules, sizes and initial states that all sides of the benchmark share.

Wolf-Sheep (Wilensky 1997, NetLogo Wolf Sheep Predation): the grid is a torus. In a step every sheep, in
random order, moves to one of the four cells beside its own, loses 1 energy, eats the cell's grass if it is
grown, dies below 0 energy, and else by chance halves its energy with a child in its cell. Then every wolf
does the same, but eats one random sheep of its cell. Eaten grass is grown again `regrowth` steps later.

Flocking (Reynolds 1987, SIGGRAPH '87, with the weights of Mesa's example): every bird looks at the birds
within `vision`, adds to its direction the mean of cohesion, separation and alignment, and flies on. All birds
see the same moment, so that the outcome does not depend on an order.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class WolfSheep:
    """A size of the model. Defaults: the large case of ABMax's predation example."""

    side: int = 1000  # cells
    sheep: int = 6000
    wolves: int = 4000
    sheep_gain: float = 5.0  # energy
    wolf_gain: float = 30.0
    sheep_birth: float = 0.01  # probability a step
    wolf_birth: float = 0.09
    regrowth: int = 20  # steps
    steps: int = 100
    # Slots of each species / its animals at the start.
    room: float = 2.5

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


@dataclasses.dataclass(frozen=True)
class Flocking:
    """A size of the model. Defaults: the weights and the density of Mesa's example; lengths without unit."""

    birds: int = 10_000
    side: float = 1000.0
    speed: float = 1.0  # a step
    vision: float = 10.0
    separation: float = 2.0
    cohere: float = 0.03
    separate: float = 0.015
    match: float = 0.05
    steps: int = 100

    @classmethod
    def scaled(cls, birds: int, steps: int = 100) -> Flocking:
        """Return the case with `birds` at the same density."""
        return cls(birds=birds, side=10.0 * math.sqrt(birds), steps=steps)

    def initial_state(self, seed: int) -> dict[str, np.ndarray]:
        """Return position [birds, 2] in the square, a torus, and direction [birds, 2], unit vectors."""
        random = np.random.default_rng(seed)
        angle = random.uniform(0, 2 * math.pi, self.birds)
        return {
            "position": random.uniform(0, self.side, (self.birds, 2)).astype(np.float32),
            "direction": np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32),
        }


@dataclasses.dataclass(frozen=True)
class HourClock:
    """A size of a population of twin/animals; steps of an hour."""

    animals: int = 1_000_000
    steps: int = 10

    def initial_state(self, _: int) -> dict[str, np.ndarray]:
        """Return nothing, as there is no peer to share it with."""
        return {}

    @classmethod
    def scaled(cls, animals: int, steps: int) -> HourClock:
        """Return the case with `animals`."""
        return cls(animals, steps)


CASES = {"wolf_sheep": WolfSheep, "flocking": Flocking, "hour_clock": HourClock}
