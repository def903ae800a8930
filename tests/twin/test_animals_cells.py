"""Neighbor search in cells against all pairs by brute force."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.twin.animals import Grid, Words, founder_identity, neighbor_sum, sort_into_cells

# Sizes are drawn from a few, since each shape is compiled.
ANIMALS = 40


def count_and_sum(_: jax.Array, other: jax.Array, way: jax.Array, squared: jax.Array) -> tuple:
    return jnp.ones_like(squared), other, way


@functools.partial(jax.jit, static_argnums=(0, 5))
def sums(
    grid: Grid,
    position: jax.Array,
    alive: jax.Array,
    values: jax.Array,
    identity: Words,
    radius: float,
) -> tuple:
    cells = sort_into_cells(grid, position, alive, identity)
    return *neighbor_sum(grid, cells, position, radius, values, count_and_sum), cells.overflow


def search(grid: Grid, position: np.ndarray, alive: np.ndarray, values: np.ndarray, radius: float) -> tuple:
    return sums(grid, position, alive, values, founder_identity(np.arange(len(position))), radius)


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(1, 4, True), (2, 2, False), (7, 3, True), (4, 3, False)]),
)
@settings(max_examples=20)
def test_sums_equal_those_over_all_pairs(seed: int, shape: tuple[int, int, bool]) -> None:
    random = np.random.default_rng(seed)
    grid = Grid(70.0, 40.0, *shape, per_cell=ANIMALS)
    radius = min(grid.reach, 30.0)
    position = random.uniform(0, [70, 40], (ANIMALS, 2)).astype(np.float32)
    alive = random.random(ANIMALS) < 0.8
    values = random.normal(size=ANIMALS).astype(np.float32)

    number, total, ways, overflow = search(grid, position, alive, values, radius)

    way = position[None].astype(float) - position[:, None]
    if grid.periodic:
        way -= [70, 40] * np.round(way / [70, 40])
    near = (
        (np.linalg.norm(way, axis=-1) <= radius) & alive[None] & alive[:, None] & ~np.eye(ANIMALS, dtype=bool)
    )
    assert overflow == 0
    np.testing.assert_array_equal(number, near.sum(1))
    np.testing.assert_allclose(total, near @ values, atol=1e-5)
    np.testing.assert_allclose(ways, (near[..., None] * way).sum(1), atol=1e-3)


@given(seed=st.integers(0, 2**32 - 1), per_cell=st.sampled_from([1, 3]))
@settings(max_examples=10)
def test_animals_beyond_a_full_cell_are_counted(seed: int, per_cell: int) -> None:
    random = np.random.default_rng(seed)
    grid = Grid(30.0, 30.0, 3, 3, per_cell=per_cell)
    position = random.uniform(0, 30, (ANIMALS, 2)).astype(np.float32)
    alive = random.random(ANIMALS) < 0.8
    number, *_, overflow = search(grid, position, alive, np.zeros(ANIMALS, np.float32), 9.9)
    held = np.bincount((position[alive] // 10).astype(int) @ [1, 3], minlength=9)
    assert overflow == np.maximum(held - per_cell, 0).sum()
    assert number.max() <= 9 * per_cell


def test_sums_do_not_depend_on_slots() -> None:
    random = np.random.default_rng(0)
    grid = Grid.for_radius(100.0, 100.0, 20.0)
    position = random.uniform(0, 100, (300, 2)).astype(np.float32)
    identity = founder_identity(jnp.arange(300))
    values = random.normal(size=300).astype(np.float32)
    mixed = random.permutation(300)

    def sums_by_slot(order: np.ndarray) -> tuple:
        named = jax.tree.map(lambda words: words[order], identity)
        return sums(grid, position[order], np.ones(300, bool), values[order], named, 20.0)

    for ours, other in zip(sums_by_slot(np.arange(300))[:3], sums_by_slot(mixed)[:3]):
        assert np.asarray(ours)[mixed].tobytes() == np.asarray(other).tobytes()


def test_a_radius_beyond_the_cells_is_refused() -> None:
    grid = Grid(100.0, 100.0, 10, 10)
    with pytest.raises(ValueError, match="the radius is 11 m; cells of this grid reach 9.99"):
        search(grid, np.zeros((2, 2), np.float32), np.ones(2, bool), np.zeros(2), 11.0)


@pytest.mark.parametrize("periodic", [True, False])
def test_positions_stay_in_the_world(periodic: bool) -> None:
    grid = Grid(10.0, 20.0, 2, 2, periodic)
    outside = jnp.array([[-1.0, 21.0], [10.5, -0.5], [3.0, 4.0], [-1e-9, 20.0]])
    expected = {
        True: [[9.0, 1.0], [0.5, 19.5], [3.0, 4.0], [0.0, 0.0]],
        False: [[1.0, 19.0], [9.5, 0.5], [3.0, 4.0], [1e-9, 20.0]],
    }[periodic]
    np.testing.assert_allclose(grid.confine(outside), expected, atol=1e-6)
