"""The data order: a permutation an epoch, a pure function of seed and position."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.pipeline.order import DRAWS, Order

seeds = st.integers(0, 2**63)


@settings(max_examples=50)
@given(seeds, st.integers(1, 120), st.integers(0, 5))
def test_every_epoch_sees_every_sample_once(seed, samples, epoch):
    order = Order(seed, samples)
    seen = [order.index(epoch * samples + place) for place in range(samples)]
    assert sorted(seen) == list(range(samples)), f"epoch {epoch} is no permutation"


def test_epochs_and_seeds_have_orders_of_their_own():
    starts = [(Order(seed, 500), epoch * 500) for seed in range(3) for epoch in range(3)]
    orders = [tuple(order.index(start + place) for place in range(500)) for order, start in starts]
    assert len(set(orders)) == 9
    # Chance leaves about one sample of a permutation where it was.
    fixed = Counter(a == b for order in orders for a, b in zip(order, orders[0]) if order != orders[0])
    assert fixed[True] < 40, f"{fixed[True]} of 4,000 samples stand in the same place of two orders"


@given(seeds, st.integers(0, 2**40), st.integers(1, 20), st.integers(0, 19))
def test_a_position_has_its_own_numbers_in_any_batch(seed, position, count, row):
    order = Order(seed, 10)
    row %= count
    together = order.uniforms(position, count)
    assert together.shape == (count, DRAWS)
    np.testing.assert_array_equal(together[row], order.uniforms(position + row, 1)[0])


def test_numbers_are_uniform_and_of_one_kind_only():
    order = Order(7, 1000)
    numbers = order.uniforms(0, 2000)
    assert 0 <= numbers.min() and numbers.max() < 1
    np.testing.assert_allclose(numbers.mean(axis=0), 0.5, atol=0.04)
    assert np.abs(np.corrcoef(numbers.T) - np.eye(DRAWS)).max() < 0.12
    assert len(np.unique(numbers)) == numbers.size, "two positions share numbers"
    draws = {order.caption_draw(step) for step in range(1000)}
    assert len(draws) == 1000 and not draws & set(numbers.ravel().tolist())


@given(seeds, st.integers(0, 2**40))
def test_substitutes_are_determined_and_differ(seed, position):
    order = Order(seed, 10**6)
    found = [order.substitute(position, attempt) for attempt in range(1, 20)]
    assert found == [order.substitute(position, attempt) for attempt in range(1, 20)]
    assert len(set(found)) >= 18 and all(0 <= index < 10**6 for index in found)
    assert found != [order.substitute(position + 1, attempt) for attempt in range(1, 20)]
