"""Duplicate decisions: against a sequential reference, and for more copies than pairs can be listed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.curate.dedup import decide_duplicates, decide_leakage, duplicates


def near_hashes(rng: np.random.Generator, count: int, centers: int, spread: int) -> np.ndarray:
    bits = rng.integers(0, 2, (centers, 256), dtype=np.uint8)[rng.integers(0, centers, count)]
    for row in bits:
        row[rng.choice(256, rng.integers(0, spread + 1), replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def reference_decisions(contents, hashes, quality, priority, observations, distance, observation_distance):
    """Reference: compare each sample in turn with all kept ones, then the removed ones with all kept.

    Returns decision, distance and the first sample of equal bytes, for each sample.
    """
    order = sorted(range(len(contents)), key=lambda i: (-priority[i], i))
    first = {contents[i]: i for i in reversed(order)}

    def neighbors(i, others):
        bits = {j: int(np.bitwise_count(hashes[i] ^ hashes[j]).sum()) for j in others if quality[j] >= 50}
        together = [bits[j] for j in bits if observations[i] >= 0 and observations[i] == observations[j]]
        together = [value for value in together if value <= observation_distance]
        return together, [value for value in bits.values() if value <= distance]

    kept = []
    for i in order:
        if first[contents[i]] == i and (quality[i] < 50 or not any(neighbors(i, kept))):
            kept.append(i)
    decisions = []
    for i in range(len(contents)):
        together, anywhere = neighbors(i, kept)
        if i in kept:
            decisions.append(("kept", -1, i))
        elif first[contents[i]] != i:
            decisions.append(("exact_duplicate", None, first[contents[i]]))
        elif together:
            decisions.append(("observation_duplicate", min(together), i))
        else:
            decisions.append(("near_duplicate", min(anywhere), i))
    return decisions


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([10, 25, 40]), st.booleans())
def test_decisions_equal_the_sequential_reference(seed, count, spread, halve):
    rng = np.random.default_rng(seed)
    hashes = near_hashes(rng, count, 3, spread)
    contents = [f"{number:032x}" for number in rng.integers(0, 2 * count, count)]
    # Equal bytes have equal hashes.
    hashes = hashes[[contents.index(content) for content in contents]]
    quality, priority = (
        rng.choice([-1, 49, 50, 100], count, p=[0.1, 0.1, 0.4, 0.4]),
        rng.integers(0, 3, count),
    )
    quality = quality[[contents.index(content) for content in contents]]
    observations = rng.integers(-1, 2, count)
    limit = duplicates._max_pairs
    duplicates._max_pairs = (lambda count: 1) if halve else limit
    try:
        result = decide_duplicates(
            contents, hashes, quality, priority, observations, distance=24, observation_distance=36
        )
    finally:
        duplicates._max_pairs = limit
    expected = reference_decisions(contents, hashes, quality, priority, observations, 24, 36)
    assert result.decision.tolist() == [decision for decision, _, _ in expected]
    for i, (decision, bits, original) in enumerate(expected):
        if decision == "kept":
            assert (result.instead[i], result.distance[i]) == (-1, -1)
            continue
        assert result.decision[result.instead[i]] == "kept", (
            f"{i} is removed for {result.instead[i]}, which is not kept"
        )
        if decision == "exact_duplicate":
            assert result.instead[i] == (
                original if result.instead[original] < 0 else result.instead[original]
            )
        else:
            assert result.distance[i] == bits == np.bitwise_count(hashes[i] ^ hashes[result.instead[i]]).sum()


def test_chain_of_neighbors_is_not_one_group():
    bits = np.zeros((3, 256), np.uint8)
    bits[1, :30] = bits[2, :60] = 1
    hashes = np.packbits(bits, axis=1)
    result = decide_duplicates(["a", "b", "c"], hashes, np.full(3, 100), np.array([5, 5, 5]))
    assert result.decision.tolist() == ["kept", "near_duplicate", "kept"]
    result = decide_duplicates(["a", "b", "c"], hashes, np.full(3, 100), np.array([5, 6, 5]))
    assert result.decision.tolist() == ["near_duplicate", "kept", "near_duplicate"]
    assert result.instead.tolist() == [1, -1, 1] and result.distance.tolist() == [30, -1, 30]


def test_comparisons_turned_off_and_no_samples():
    hashes = np.zeros((3, 32), np.uint8)
    arguments = (["a", "a", "b"], hashes, np.full(3, 100), np.zeros(3), np.full(3, 7))
    off = decide_duplicates(*arguments, distance=-1, observation_distance=-1)
    assert off.decision.tolist() == ["kept", "exact_duplicate", "kept"]
    only = decide_duplicates(*arguments, distance=-1, observation_distance=0)
    assert only.decision.tolist() == ["kept", "exact_duplicate", "observation_duplicate"]
    assert len(decide_duplicates([], hashes[:0], np.zeros(0), np.zeros(0), np.zeros(0, int)).decision) == 0


def test_thousands_of_copies_of_one_picture_leave_one():
    rng = np.random.default_rng(0)
    hashes = near_hashes(rng, 6_000, 1, 10)
    hashes[::2] = hashes[0]
    hashes[-3_000:] = rng.integers(0, 256, (3_000, 32), dtype=np.uint8)
    result = decide_duplicates([str(i) for i in range(6_000)], hashes, np.full(6_000, 100), np.zeros(6_000))
    assert (result.decision[:3_000] == "kept").sum() == 1 and result.decision[0] == "kept"
    assert (result.instead[1:3_000] == 0).all()
    assert (result.decision[-3_000:] == "kept").all()


def test_leakage_returns_the_nearest_evaluation_image():
    rng = np.random.default_rng(0)
    evaluation = rng.integers(0, 256, (4, 3, 32), dtype=np.uint8)
    bits = np.unpackbits(evaluation[[2, 3, 0], [1, 0, 2]], axis=1)
    bits[0, :20] ^= 1
    bits[1, :5] ^= 1
    bits[2, :40] ^= 1
    hashes = np.concatenate([np.packbits(bits, axis=1), evaluation[1, :1], evaluation[1, :1]])
    quality, evaluation_quality = np.array([100, 100, 100, 49, 50]), np.array([100, 100, 100, 20])
    index, distance = decide_leakage(hashes, quality, evaluation, evaluation_quality)
    assert index.tolist() == [2, -1, -1, -1, 1]
    assert distance.tolist() == [20, -1, -1, -1, 0]
    index, _ = decide_leakage(hashes, quality, evaluation[:, 0], np.full(4, 100))
    assert index.tolist() == [-1, 3, -1, -1, 1]
    with pytest.raises(ValueError, match="must be uint8"):
        decide_leakage(hashes, quality, evaluation[:, 0].astype(int), np.full(4, 100))
