"""Neighbor search by sorting animals into the cells of a grid.

A cell is at least as wide as the distance that is asked for, so that all neighbors of an animal are in its
own cell and the eight around it. Animals are sorted by (cell, identity), and sums over neighbors are taken
one after another in that order: they depend neither on slots nor on the number of devices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .keys import Words

# Cells are wider than the radius by more than the rounding of positions in float32.
_MARGIN = 1.001


class Grid(eqx.Module):
    """A rectangular world in cells, static under jit.

    width, height: m. columns, rows: cells east and north. periodic: leaving by one side is entering by the
    other; otherwise positions are reflected at the border.
    per_cell: most animals that a search looks at in a cell; more are counted as overflow.
    """

    width: float = eqx.field(static=True)
    height: float = eqx.field(static=True)
    columns: int = eqx.field(static=True)
    rows: int = eqx.field(static=True)
    periodic: bool = eqx.field(static=True, default=True)
    per_cell: int = eqx.field(static=True, default=32)

    @classmethod
    def for_radius(
        cls, width: float, height: float, radius: float, *, periodic: bool = True, per_cell: int = 32
    ) -> Grid:
        """Return the grid with the smallest cells that hold all neighbors within `radius` m."""
        columns, rows = (max(1, int(size // (radius * _MARGIN))) for size in (width, height))
        return cls(float(width), float(height), columns, rows, periodic, per_cell)

    @property
    def n_cells(self) -> int:
        """Cells of the world."""
        return self.columns * self.rows

    @property
    def reach(self) -> float:
        """Largest distance, m, at which neighbor_sum finds all neighbors."""
        return min(
            _reach(self.width, self.columns, self.periodic), _reach(self.height, self.rows, self.periodic)
        )

    def cell(self, position: Float[Array, "*animals 2"]) -> Int[Array, "*animals"]:
        """Return the cell of each position, row by row from the south-west; outside counts to the border."""
        column = jnp.clip(
            (position[..., 0] * (self.columns / self.width)).astype(jnp.int32), 0, self.columns - 1
        )
        row = jnp.clip((position[..., 1] * (self.rows / self.height)).astype(jnp.int32), 0, self.rows - 1)
        return row * self.columns + column

    def confine(self, position: Float[Array, "*animals 2"]) -> Float[Array, "*animals 2"]:
        """Return positions in the world: wrapped if it is periodic, otherwise reflected at its border."""
        size = jnp.array([self.width, self.height], position.dtype)
        if self.periodic:
            wrapped = position - size * jnp.floor(position / size)
            # Rounding may give the size itself, which is 0.
            return jnp.where(wrapped >= size, 0.0, wrapped)
        folded = jnp.abs(position - 2 * size * jnp.round(position / (2 * size)))
        return jnp.minimum(folded, size)

    def offset(
        self, origin: Float[Array, "*animals 2"], target: Float[Array, "*animals 2"]
    ) -> Float[Array, "*animals 2"]:
        """Return the shortest way from origin to target, m."""
        way = target - origin
        if not self.periodic:
            return way
        size = jnp.array([self.width, self.height], way.dtype)
        return way - size * jnp.round(way / size)


def _reach(size: float, cells: int, periodic: bool) -> float:
    if cells > 2:
        return size / cells / _MARGIN
    # So few cells are searched whole; in a periodic world the nearest image is at most half of it away.
    return size / 2 if periodic else math.inf


class Cells(NamedTuple):
    """Animals sorted by (cell, identity).

    order: slots in that order, those not alive last. cell: of each slot, n_cells for those not alive.
    start, count: of each cell in the order. overflow: animals beyond per_cell, which no search sees.
    """

    order: Int[Array, " animals"]
    cell: Int[Array, " animals"]
    start: Int[Array, " cells"]
    count: Int[Array, " cells"]
    overflow: Int[Array, ""]


def sort_into_cells(
    grid: Grid, position: Float[Array, "animals 2"], alive: Bool[Array, " animals"], identity: Words
) -> Cells:
    """Sort animals into the cells of a grid."""
    cell = jnp.where(alive, grid.cell(position), grid.n_cells)
    slots = jnp.arange(cell.shape[0], dtype=jnp.int32)
    *_, order = jax.lax.sort((cell, identity.high, identity.low, slots), num_keys=3)
    count = jnp.zeros(grid.n_cells, jnp.int32).at[cell].add(1, mode="drop")
    start = jnp.cumsum(count) - count
    overflow = jnp.maximum(count - grid.per_cell, 0).sum()
    return Cells(order, cell, start, count, overflow)


def neighbor_sum(
    grid: Grid,
    cells: Cells,
    position: Float[Array, "animals 2"],
    radius: float,
    values: Any,
    pair: Callable[[Any, Any, Array, Array], Any],
) -> Any:
    """Return Σ pair(mine, other, offset, squared distance) over each animal's neighbors within `radius`.

    position, values: by slot; values a pytree of arrays [animals, ...]. pair: of the values of all animals
    and of one neighbor of each, the way to the neighbor [animals, 2] and its squared length, returns a pytree
    of arrays [animals, ...], whose sums are returned by slot; 0 for slots that are not alive. Neighbors that
    overflowed (cells.overflow) are not seen. Raises ValueError for a radius beyond grid.reach.
    """
    if radius > grid.reach:
        raise ValueError(f"the radius is {radius:g} m; cells of this grid reach {grid.reach:g} m")
    mine = jax.tree.map(jnp.asarray, (position, values))
    # In the order of cells, neighbors are near in memory too.
    ordered = jax.tree.map(lambda leaf: leaf[cells.order], mine)
    cell = cells.cell[cells.order]
    present = cell < grid.n_cells
    row, column = jnp.minimum(cell, grid.n_cells - 1) // grid.columns, cell % grid.columns
    longest = jnp.minimum(cells.count.max(), grid.per_cell)
    ranks = jnp.arange(cell.shape[0], dtype=jnp.int32)
    squared_radius = jnp.asarray(radius, position.dtype) ** 2

    def add_cell(sums: Any, start: Array, count: Array) -> Any:
        def add_neighbor(number: Array, sums: Any) -> Any:
            rank = jnp.where(number < count, start + number, 0)
            other_position, other = jax.tree.map(lambda leaf: leaf[rank], ordered)
            way = grid.offset(ordered[0], other_position)
            squared = (way**2).sum(-1)
            near = present & (number < count) & (rank != ranks) & (squared <= squared_radius)
            terms = pair(ordered[1], other, way, squared)
            return jax.tree.map(
                lambda total, term: total + jnp.where(_like(near, term), term, 0), sums, terms
            )

        return jax.lax.fori_loop(0, longest, add_neighbor, sums)

    shapes = jax.eval_shape(pair, values, values, position, position[:, 0])
    sums = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    # A loop rather than nine copies of its body, which would take nine times as long to compile.
    around = jnp.array(_around(grid), jnp.int32)

    def add_around(number: Array, sums: Any) -> Any:
        north, east = around[number]
        start, count = _cell_at(grid, cells, row + north, column + east)
        return add_cell(sums, start, jnp.minimum(count, grid.per_cell))

    sums = jax.lax.fori_loop(0, len(around), add_around, sums)
    return jax.tree.map(lambda leaf: jnp.zeros_like(leaf).at[cells.order].set(leaf), sums)


def _around(grid: Grid) -> list[tuple[int, int]]:
    """Return the cells around one, each once even if a periodic world is one or two cells wide."""
    norths = (-1, 0, 1) if grid.rows > 2 or not grid.periodic else tuple(range(grid.rows))
    easts = (-1, 0, 1) if grid.columns > 2 or not grid.periodic else tuple(range(grid.columns))
    return [(north, east) for north in norths for east in easts]


def _cell_at(grid: Grid, cells: Cells, row: Array, column: Array) -> tuple[Array, Array]:
    """Return where a cell starts and how many are in it; none outside of the world."""
    inside = jnp.ones(row.shape, bool)
    if grid.periodic:
        row, column = row % grid.rows, column % grid.columns
    else:
        inside = (row >= 0) & (row < grid.rows) & (column >= 0) & (column < grid.columns)
        row, column = jnp.clip(row, 0, grid.rows - 1), jnp.clip(column, 0, grid.columns - 1)
    at = row * grid.columns + column
    return cells.start[at], jnp.where(inside, cells.count[at], 0)


def _like(mask: Array, term: Array) -> Array:
    return mask.reshape(mask.shape + (1,) * (term.ndim - 1))
