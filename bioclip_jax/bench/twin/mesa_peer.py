"""The benchmark's Wolf-Sheep and flocking in Mesa: its cell space, property layers and AgentSets."""

from __future__ import annotations

import math
from typing import Any

import mesa
import numpy as np
from mesa.discrete_space import CellAgent, OrthogonalVonNeumannGrid, PropertyLayer
from mesa.experimental.continuous_space import ContinuousSpace, ContinuousSpaceAgent

from .cases import Flocking, WolfSheep


class MesaWolfSheep(mesa.Model):
    """Wolf-Sheep with the grass in a property layer, so that growing costs nothing a step."""

    def __init__(self, case: WolfSheep, state: dict[str, np.ndarray], seed: int) -> None:
        super().__init__(seed=seed)
        self.case = case
        self.grid = OrthogonalVonNeumannGrid(
            (case.side, case.side), torus=True, capacity=math.inf, random=self.random
        )
        grown_at = state["grown_at"].reshape(case.side, case.side).astype(np.int64)
        self.grid.add_property_layer(PropertyLayer.from_data("grown_at", grown_at))
        cells = self.grid.all_cells.cells
        for kind, name in ((Sheep, "sheep"), (Wolf, "wolves")):
            kind.create_agents(
                self,
                len(state[f"{name}_cell"]),
                cell=[cells[index] for index in state[f"{name}_cell"]],
                energy=state[f"{name}_energy"].tolist(),
            )

    def step(self) -> None:
        """Activate all sheep, then all wolves, both in random order."""
        self.agents_by_type[Sheep].shuffle_do("step")
        self.agents_by_type[Wolf].shuffle_do("step")

    def counts(self) -> tuple[int, int]:
        """Return the numbers of sheep and wolves."""
        return len(self.agents_by_type[Sheep]), len(self.agents_by_type[Wolf])


class Animal(CellAgent):
    """An animal on a cell."""

    def __init__(self, model: MesaWolfSheep, cell: Any, energy: float) -> None:
        super().__init__(model)
        self.cell = cell
        self.energy = energy

    def step(self) -> None:
        """Move, eat, and die or perhaps give birth."""
        self.cell = self.cell.neighborhood.select_random_cell()
        self.energy -= 1
        self.eat()
        if self.energy < 0:
            self.remove()
        elif self.random.random() < self.birth:
            self.energy /= 2
            type(self)(self.model, self.cell, self.energy)

    def eat(self) -> None:
        """Eat what the cell has."""
        raise NotImplementedError

    @property
    def birth(self) -> float:
        """Return the probability of a birth in a step."""
        raise NotImplementedError


class Sheep(Animal):
    """An eater of grass."""

    @property
    def birth(self) -> float:
        """Return the probability of a birth in a step."""
        return self.model.case.sheep_birth

    def eat(self) -> None:
        """Eat the cell's grass, if it is grown."""
        if self.cell.grown_at <= self.model.steps:
            self.energy += self.model.case.sheep_gain
            self.cell.grown_at = self.model.steps + self.model.case.regrowth


class Wolf(Animal):
    """An eater of sheep."""

    @property
    def birth(self) -> float:
        """Return the probability of a birth in a step."""
        return self.model.case.wolf_birth

    def eat(self) -> None:
        """Eat a random sheep of the cell, if there is one."""
        sheep = [agent for agent in self.cell.agents if isinstance(agent, Sheep)]
        if sheep:
            self.random.choice(sheep).remove()
            self.energy += self.model.case.wolf_gain


class MesaFlocking(mesa.Model):
    """Flocking as in Mesa's example, but all birds look before any of them moves."""

    def __init__(self, case: Flocking, state: dict[str, np.ndarray], seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.case = case
        sides = [[0, case.side], [0, case.side]]
        self.space = ContinuousSpace(sides, torus=True, random=self.random, n_agents=case.birds)
        Bird.create_agents(
            self,
            case.birds,
            self.space,
            position=state["position"].astype(float),
            direction=state["direction"].astype(float),
        )

    def step(self) -> None:
        """Let all birds look around, then fly."""
        self.agents.do("look")
        self.agents.do("fly")


class Bird(ContinuousSpaceAgent):
    """A bird of a flock."""

    def __init__(
        self, model: MesaFlocking, space: ContinuousSpace, position: np.ndarray, direction: np.ndarray
    ) -> None:
        super().__init__(space, model)
        self.position = position
        self.direction = self.wanted = direction

    def look(self) -> None:
        """Choose the next direction."""
        case = self.model.case
        neighbors, distances = self.get_neighbors_in_radius(radius=case.vision)
        if not neighbors:
            return
        ways = self.space.calculate_difference_vector(self.position, agents=neighbors)
        change = ways.sum(axis=0) * case.cohere
        change -= ways[distances < case.separation].sum(axis=0) * case.separate
        change += np.asarray([bird.direction for bird in neighbors]).sum(axis=0) * case.match
        wanted = self.direction + change / len(neighbors)
        self.wanted = wanted / np.linalg.norm(wanted)

    def fly(self) -> None:
        """Take the direction and move."""
        self.direction = self.wanted
        self.position += self.direction * self.model.case.speed
