"""Keyed random numbers and births into slots."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bioclip_jax.errors import UserError
from bioclip_jax.twin.animals import (
    Words,
    bits,
    fold,
    found_animals,
    founder_identity,
    newborn_identity,
    place,
    seed_key,
    uniforms,
)


def as_integers(words: Words) -> np.ndarray:
    return np.asarray(words.high, np.uint64) << np.uint64(32) | np.asarray(words.low, np.uint64)


@jax.jit
def fold_number(key: Words, number: jax.Array) -> Words:
    return fold(key, Words(jnp.uint32(0), number))


@functools.partial(jax.jit, static_argnums=3)
def placed(occupants: dict, alive: jax.Array, born: jax.Array, limit: int) -> tuple:
    def newborn_of(parents: dict) -> dict:
        return {"name": parents["name"] + 100, "alive": jnp.ones_like(parents["alive"])}

    return place(occupants, alive, born, newborn_of, limit)


@given(seed=st.integers(0, 2**31 - 1), number=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_keys_are_those_of_fold_in(seed: int, number: int) -> None:
    key = seed_key(seed)
    np.testing.assert_array_equal(
        np.stack(key), jax.random.key_data(jax.random.key(seed, impl="threefry2x32"))
    )
    ours = fold_number(key, np.uint32(number))
    theirs = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), number)
    np.testing.assert_array_equal(np.stack(ours), jax.random.key_data(theirs))


def test_draws_are_uniform_and_independent() -> None:
    key = fold(seed_key(7), founder_identity(jnp.arange(20_000)))
    draws = np.stack(
        [draw for step in (0, 1) for purpose in (0, 1) for draw in uniforms(key, jnp.uint32(step), purpose)]
    )
    for number, draw in enumerate(draws):
        least = stats.kstest(draw, "uniform").pvalue
        assert least > 1e-4, f"draw {number} is not uniform: p = {least:.2g}"
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000), "draws of one animal are correlated"
    assert draws.min() > 0 and draws.max() < 1


def test_no_two_draws_collide() -> None:
    key = fold(seed_key(1), founder_identity(jnp.arange(10_000)))
    drawn = [as_integers(bits(key, jnp.uint32(step), purpose)) for step in range(5) for purpose in range(4)]
    assert len(np.unique(np.concatenate(drawn))) == 200_000


def test_removing_an_animal_leaves_the_draws_of_others() -> None:
    identity = founder_identity(jnp.arange(50))
    kept = np.delete(np.random.default_rng(0).permutation(50), 17)
    all_draws = as_integers(bits(fold(seed_key(3), identity), jnp.uint32(9), 2))
    fewer = jax.tree.map(lambda words: words[kept], identity)
    np.testing.assert_array_equal(
        all_draws[kept], as_integers(bits(fold(seed_key(3), fewer), jnp.uint32(9), 2))
    )


def test_identities_of_founders_and_newborns_are_unique() -> None:
    generation = founder_identity(jnp.arange(2000))
    seen = [as_integers(generation), as_integers(founder_identity(jnp.arange(2000), 1))]
    for _ in range(4):
        births = [newborn_identity(generation, jnp.full(2000, birth, jnp.uint32)) for birth in range(3)]
        seen += [as_integers(identity) for identity in births]
        generation = births[1]
    assert len(np.unique(np.concatenate(seen))) == 2000 * (2 + 4 * 3)


@given(
    alive=st.lists(st.booleans(), min_size=12, max_size=12),
    wanted=st.lists(st.booleans(), min_size=12, max_size=12),
    limit=st.sampled_from([3, 12]),
)
def test_births_go_to_free_slots_and_none_is_lost(alive: list[bool], wanted: list[bool], limit: int) -> None:
    alive, born = np.array(alive), np.array(wanted) & np.array(alive)
    occupants = {"name": jnp.arange(12), "alive": jnp.asarray(alive)}
    after, without = placed(occupants, alive, born, limit)
    room = min(limit, (~alive).sum())
    assert without == max(born.sum() - room, 0)
    names = np.asarray(after["name"])[np.asarray(after["alive"])]
    expected = [*np.arange(12)[alive], *(100 + np.flatnonzero(born))[:room]]
    assert sorted(names) == expected, "an occupant was overwritten or a newborn lost"


def test_more_founders_than_slots_are_an_error() -> None:
    with pytest.raises(UserError, match="3 animals do not fit into a capacity of 2; raise it"):
        found_animals(np.zeros(3, int), np.zeros((3, 2)), np.ones(3), capacity=2)
