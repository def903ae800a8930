"""Data order: one permutation per epoch, a pure function of seed and position."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.pipeline.order import DRAWS, Draws, Shuffled, Windowed

seeds = st.integers(0, 2**63)


@settings(max_examples=50)
@given(seeds, st.integers(1, 120), st.integers(0, 5))
def test_every_epoch_sees_every_sample_once(seed, samples, epoch):
    order = Shuffled(seed, samples)
    seen = [order.index(epoch * samples + offset) for offset in range(samples)]
    assert sorted(seen) == list(range(samples)), f"epoch {epoch} is not a permutation"


def test_epochs_and_seeds_have_different_orders():
    starts = [(Shuffled(seed, 500), epoch * 500) for seed in range(3) for epoch in range(3)]
    orders = [tuple(order.index(start + offset) for offset in range(500)) for order, start in starts]
    assert len(set(orders)) == 9
    # A random permutation has about one fixed point.
    fixed = Counter(a == b for order in orders for a, b in zip(order, orders[0]) if order != orders[0])
    assert fixed[True] < 40, f"{fixed[True]} of 4,000 samples have the same position in two orders"


@given(seeds, st.integers(0, 2**40), st.integers(1, 20), st.integers(0, 19))
def test_uniforms_of_a_position_are_independent_of_the_batch(seed, position, count, row):
    draws = Draws(seed)
    row %= count
    together = draws.uniforms(position, count)
    assert together.shape == (count, DRAWS)
    np.testing.assert_array_equal(together[row], draws.uniforms(position + row, 1)[0])


def test_draws_are_uniform_and_independent():
    source = Draws(7)
    numbers = source.uniforms(0, 2000)
    assert 0 <= numbers.min() and numbers.max() < 1
    np.testing.assert_allclose(numbers.mean(axis=0), 0.5, atol=0.04)
    assert np.abs(np.corrcoef(numbers.T) - np.eye(DRAWS)).max() < 0.12
    assert len(np.unique(numbers)) == numbers.size, "two positions share numbers"
    draws = {source.caption_draw(step) for step in range(1000)}
    assert len(draws) == 1000 and not draws & set(numbers.ravel().tolist())


@given(seeds, st.integers(0, 2**40))
def test_substitutes_are_deterministic_and_differ(seed, position):
    order = Shuffled(seed, 10**6)
    substitutes = [order.substitute(position, attempt) for attempt in range(1, 20)]
    assert substitutes == [order.substitute(position, attempt) for attempt in range(1, 20)]
    assert len(set(substitutes)) >= 18 and all(0 <= index < 10**6 for index in substitutes)
    assert substitutes != [order.substitute(position + 1, attempt) for attempt in range(1, 20)]


shard_sizes = st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(sum)


@settings(max_examples=80)
@given(seeds, shard_sizes, st.integers(1, 9), st.integers(1, 7), st.integers(0, 3))
def test_a_windowed_epoch_skips_fewer_samples_than_the_window(seed, sizes, window, run, epoch):
    order, total = Windowed(seed, sizes, window, run), sum(sizes)
    lanes = min(window, total)
    length = total // lanes
    # Each lane has its own epochs, so select the positions of this epoch.
    seen = [
        order.index((offset // run * lanes + lane) * run + offset % run)
        for lane in range(lanes)
        for offset in range(epoch * length, (epoch + 1) * length)
    ]
    assert len(set(seen)) == len(seen) == length * lanes, (
        f"a sample comes twice: {Counter(seen).most_common(3)}"
    )
    assert total - len(seen) < lanes and set(seen) <= set(range(total))


@given(seeds, st.integers(2, 40), st.integers(1, 5), st.integers(0, 10**7))
def test_a_windowed_lane_reads_sequentially_and_keeps_its_rows(seed, shards, window, step):
    sizes, batch = [1000 + number for number in range(shards)], 8 * window
    order = Windowed(seed, sizes, window, run=8)
    ends = np.cumsum(sizes)
    for lane in range(window):
        this_step = [order.index(step * batch + lane * 8 + offset) for offset in range(8)]
        next_step = [order.index((step + 1) * batch + lane * 8 + offset) for offset in range(8)]
        jumps = np.diff(this_step + next_step) != 1
        # One for the end of a shard, one for the end of the lane's epoch.
        assert jumps.sum() <= 2, (
            f"lane {lane} jumps within its rows: {this_step + next_step} (shards end at {ends})"
        )


def test_windowed_shards_are_shuffled_each_epoch():
    order = Windowed(3, [10] * 50, window=1)
    lines = [[order.index(epoch * 500 + number * 10) // 10 for number in range(50)] for epoch in range(4)]
    assert all(sorted(line) == list(range(50)) for line in lines)
    assert len({tuple(line) for line in lines}) == 4


def test_windowed_substitutes_stay_near_until_a_whole_shard_is_bad():
    order = Windowed(5, [20, 30, 40], window=3)
    for position in range(200):
        index = order.index(position)
        shard = int(np.searchsorted([20, 50, 90], index, "right"))
        near = [order.substitute(position, attempt) for attempt in range(1, 9)]
        assert all(int(np.searchsorted([20, 50, 90], other, "right")) == shard for other in near)
        assert index not in near and len(set(near)) == 8
        far = [order.substitute(position, attempt) for attempt in range(9, 100)]
        assert len({int(np.searchsorted([20, 50, 90], other, "right")) for other in far}) == 3
        assert far[0] == order.index(position + 1), "not from the next lane"
