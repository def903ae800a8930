"""Mixtures of sources: shares, epochs per source, exact resumption."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_shards import good_sample, write_tar

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.batches import DataConfig, train_batches
from bioclip_jax.pipeline.order import PATTERN, Mixture, Shuffled, pattern_counts
from bioclip_jax.pipeline.sampling import Sampling, epoch_samples, make_order
from bioclip_jax.pipeline.sources import open_source


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> str:
    """Two folders of 30 and 10 samples, as one location."""
    folder = tmp_path_factory.mktemp("two")
    write_tar(folder / "large" / "a.tar", [good_sample(number) for number in range(20)])
    write_tar(folder / "large" / "b.tar", [good_sample(number) for number in range(20, 30)])
    write_tar(folder / "small" / "a.tar", [good_sample(number) for number in range(100, 110)])
    return f"{folder / 'large'}::{folder / 'small'}"


shares = st.lists(st.floats(1, 100), min_size=1, max_size=8)


@given(shares)
def test_pattern_counts_match_the_shares(shares):
    counts = pattern_counts(shares)
    assert counts.sum() == PATTERN and counts.min() >= 1
    wanted = np.array(shares) / sum(shares) * PATTERN
    assert np.abs(counts - wanted).max() < len(shares), f"{counts} for {wanted}"


@settings(max_examples=30)
@given(shares, st.integers(0, 10**9), st.integers(1, 600))
def test_any_range_holds_each_source_by_its_share(shares, start, length):
    firsts = np.arange(len(shares) + 1) * 1000
    mixture = Mixture([Shuffled(3, 1000, number) for number in range(len(shares))], firsts, shares)
    counts = Counter(mixture.index(position) // 1000 for position in range(start, start + length))
    for number, count in enumerate(pattern_counts(shares)):
        assert abs(counts[number] - length * count / PATTERN) <= len(shares) + 1


def test_a_tiny_source_has_at_least_one_slot():
    assert pattern_counts((214e6, 20e3)).tolist() == [PATTERN - 1, 1]


def test_each_source_has_its_own_epochs(two):
    source = open_source(two)
    assert len(source) == 40 and source[35].key == "sample-0105"
    order = make_order(source, Sampling(weights=(1.0, 1.0)), seed=5, global_batch_size=8)
    indexes = [order.index(position) for position in range(120)]
    large, small = [i for i in indexes if i < 30], [i for i in indexes if i >= 30]
    assert len(large) == len(small) == 60
    assert sorted(large[:30]) == sorted(large[30:]) == list(range(30))
    for epoch in range(6):
        assert sorted(small[10 * epoch : 10 * epoch + 10]) == list(range(30, 40))
    substitutes = {
        order.substitute(position, attempt) < 30 for position in range(0, 120, 2) for attempt in (1, 2)
    }
    assert substitutes == {indexes[0] < 30}, "a substitute comes from another source"


@pytest.mark.parametrize(
    "sampling, share, epoch",
    [
        (Sampling(), 0.25, 40),
        (Sampling(upsample=(1.0, 3.0)), 0.5, 60),
        (Sampling(weights=(9.0, 1.0)), 0.1, 40),
        (Sampling(weights=(9.0, 1.0), window=2), 0.1, 40),
    ],
)
def test_shares_and_epochs(two, sampling, share, epoch):
    source = open_source(two)
    order = make_order(source, sampling, seed=1, global_batch_size=8)
    actual = np.mean([order.index(position) >= 30 for position in range(PATTERN)])
    assert actual == pytest.approx(share, abs=1e-3) and epoch_samples(source, sampling) == epoch


@pytest.mark.parametrize("sampling", [Sampling(upsample=(1.0, 3.0)), Sampling(weights=(3.0, 1.0), window=2)])
def test_a_mixture_resumes_exactly_for_any_hosts_and_workers(two, sampling):
    def take(count, **arguments):
        options = {"image_size": 32, "seed": 3, "global_batch_size": 16, "sampling": sampling} | arguments
        batches = train_batches(open_source(two, forward=bool(sampling.window)), **options)
        try:
            return [next(batches) for _ in range(count)]
        finally:
            batches.close()

    whole = take(6)
    for step, batch in enumerate(take(3, start_step=3, workers=1)):
        np.testing.assert_array_equal(
            batch["image"], whole[3 + step]["image"], err_msg=f"step {step} after resuming"
        )
    halves = [take(6, host=host, hosts=2) for host in range(2)]
    for step, batch in enumerate(whole):
        joined = np.concatenate([half[step]["tokens"] for half in halves])
        np.testing.assert_array_equal(joined, batch["tokens"], err_msg=f"hosts at step {step}")


def test_invalid_sampling_options_are_errors(two, tmp_path):
    source = open_source(two)
    with pytest.raises(UserError, match="data.weights has 3 values for 2 sources"):
        make_order(source, Sampling(weights=(1.0, 1.0, 1.0)), 0, 8)
    with pytest.raises(UserError, match="both set"):
        DataConfig(weights=(1.0,), upsample=(1.0,))
    with pytest.raises(UserError, match=r"data.upsample is \(1.0, 0.0\); each must be above 0"):
        DataConfig(upsample=(1.0, 0.0))
    with pytest.raises(UserError, match="data.window is -1"):
        DataConfig(window=-1)
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "metadata.csv").write_text("filepath,genus\na.png,Malus\n")
    with pytest.raises(UserError, match="the data has no shards"):
        make_order(open_source(tmp_path), Sampling(window=4), 0, 8)
    with pytest.raises(UserError, match="nothing/here"):
        open_source(f"{two}::nothing/here")
