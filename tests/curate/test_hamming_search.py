"""Near-duplicate search against comparing everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.curate.dedup import hamming_search
from bioclip_jax.curate.dedup.hamming_search import TooManyPairs, nearest_within, pairs_within


def clustered(seed: int, count: int, spread: int) -> np.ndarray:
    """Hashes around a few centers, each up to `spread` bits away, so that all distances occur."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (max(1, count // 4), 256), dtype=np.uint8)[
        rng.integers(0, max(1, count // 4), count)
    ]
    for row in bits:
        row[rng.choice(256, rng.integers(0, spread + 1), replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def all_distances(queries: np.ndarray, base: np.ndarray) -> np.ndarray:
    return np.bitwise_count(queries[:, None] ^ base[None]).sum(axis=-1, dtype=int)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(0, 40), st.sampled_from([0, 1, 7, 16, 31]))
def test_all_pairs_are_found_by_bands_and_by_comparing_everything(seed, count, spread, distance):
    hashes = clustered(seed, count, spread)
    expected = np.argwhere(np.triu(all_distances(hashes, hashes) <= distance, 1))
    np.testing.assert_array_equal(pairs_within(hashes, distance), expected)
    for many in (10**4, 10**6):
        # Few hashes are compared exhaustively; force the bands of many, without their large tables.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hamming_search, "_MAX_WIDTH", 18)
            bands = hamming_search._bands(many, many, distance)
            assert sum(band.radius + 1 for band in bands) > distance and len(bands) > distance // 16
            patch.setattr(hamming_search, "_bands", lambda *_, bands=bands: bands)
            np.testing.assert_array_equal(pairs_within(hashes, distance), expected)


@settings(max_examples=12)
@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(0, 40), st.sampled_from([40, 64, 128, 256]))
def test_all_pairs_within_large_distances(seed, count, spread, distance):
    hashes = clustered(seed, count, spread)
    expected = np.argwhere(np.triu(all_distances(hashes, hashes) <= distance, 1))
    np.testing.assert_array_equal(pairs_within(hashes, distance), expected)


@settings(max_examples=40)
@given(
    st.integers(0, 2**32),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 40),
    st.sampled_from([0, 16, 31]),
)
def test_nearest_within_returns_the_first_of_the_nearest(seed, count, others, spread, distance):
    hashes = clustered(seed, count + others, spread)
    queries, base = hashes[:count], hashes[count:]
    groups = np.random.default_rng(seed).integers(-1, 3, count + others)
    for kind in (None, (groups[:count], groups[count:])):
        distances = all_distances(queries, base)
        if kind is not None:
            distances[(kind[0][:, None] != kind[1]) | (kind[0][:, None] < 0)] = 999
        index, bits = nearest_within(queries, base, distance, groups=kind)
        for query in range(count):
            nearest = distances[query].min(initial=999)
            expected = (int(distances[query].argmin()), nearest) if nearest <= distance else (-1, -1)
            assert (index[query], bits[query]) == expected, f"query {query}: {distances[query]}"


def test_planted_neighbors_among_a_hundred_thousand_hashes_are_found():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 256, (100_000, 32), dtype=np.uint8)
    sources, copies = rng.permutation(100_000).reshape(2, -1)[:, :500]
    bits = np.unpackbits(hashes[sources], axis=1)
    for row, flips in zip(bits, np.arange(500) % 32):
        row[rng.choice(256, flips, replace=False)] ^= 1
    hashes[copies] = np.packbits(bits, axis=1)
    assert len(hamming_search._bands(100_000, 100_000, 31)) > 10, "the search compares everything"
    expected = sorted((min(pair), max(pair)) for pair in zip(sources.tolist(), copies.tolist()))
    assert [tuple(pair) for pair in pairs_within(hashes).tolist()] == expected


def test_pairs_are_restricted_to_groups():
    hashes = np.zeros((5, 32), np.uint8)
    pairs = pairs_within(hashes, 0, groups=np.array([7, -1, 7, -1, 3]))
    assert pairs.tolist() == [[0, 2]]


def test_pairs_beyond_the_limit_raise():
    with pytest.raises(TooManyPairs, match="more than 1000 pairs within 31 bits among 100 hashes"):
        pairs_within(np.zeros((100, 32), np.uint8), limit=1000)
    assert len(pairs_within(np.zeros((100, 32), np.uint8), limit=4950)) == 4950


def test_hashes_of_another_type_or_shape_are_refused():
    with pytest.raises(ValueError, match=r"bool \(3, 256\)"):
        pairs_within(np.zeros((3, 256), bool))
