"""Exact search on the device, against NumPy."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.predict.search import exact
from bioclip_jax.predict.search.exact import ExactIndex


@settings(max_examples=25)
@given(
    number=st.sampled_from([1, 7, 8, 20]),
    queries=st.sampled_from([0, 1, 3]),
    k=st.sampled_from([1, 5, 30]),
    seed=st.integers(0, 99),
    chosen=st.sampled_from([None, 0.0, 0.5]),
)
def test_the_nearest_are_those_of_a_full_comparison(number, queries, k, seed, chosen):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((number, 4)).astype(np.float32) * rng.uniform(0.1, 9, (number, 1)).astype(
        np.float32
    )
    asked = rng.standard_normal((queries, 4)).astype(np.float32)
    among = None if chosen is None else rng.random(number) < chosen
    before, exact._BLOCK = exact._BLOCK, 8
    try:
        scores, places = ExactIndex(vectors).nearest(asked, k, among)
    finally:
        exact._BLOCK = before
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = unit(asked) @ unit(vectors).T
    allowed = np.arange(number) if among is None else np.flatnonzero(among)
    assert scores.shape == places.shape == (queries, min(k, len(allowed)))
    for row, score, place in zip(cosines, scores, places):
        expected = np.sort(row[allowed])[::-1][:k]
        np.testing.assert_allclose(score, expected, atol=1e-5, err_msg="not the best, or not in order")
        np.testing.assert_allclose(
            row[place], score, atol=1e-5, err_msg="places and scores do not belong together"
        )
        assert set(place) <= set(allowed) and len(set(place)) == len(place)


def test_of_equal_vectors_the_first_comes_first():
    vectors = np.tile(np.eye(3, dtype=np.float32), (4, 1))
    rows = [{"path": f"{number}.png"} for number in range(12)]
    found = ExactIndex(vectors, rows).search(np.eye(3, dtype=np.float32)[1:2] * 5, 4)
    assert found == [[{"path": f"{number}.png", "score": 1.0} for number in (1, 4, 7, 10)]]
    assert rows[1] == {"path": "1.png"}, "the rows given were changed"
