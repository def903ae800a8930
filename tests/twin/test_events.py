"""Events of bursts, against hand counts and a plain loop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.errors import UserError
from bioclip_jax.twin.observe import group_events

START = datetime(2021, 5, 31, 6, 25, 38, tzinfo=UTC)


def _frame(rows: list[tuple[str, float]]) -> pl.DataFrame:
    times = [START + timedelta(seconds=seconds) for _, seconds in rows]
    return pl.DataFrame(
        {"deploymentID": [name for name, _ in rows], "time": times},
        schema={"deploymentID": pl.String, "time": pl.Datetime("us", "UTC")},
    )


def test_events_end_at_gaps_and_deployments():
    rows = [("b", 0), ("a", 500), ("a", 0), ("a", 120), ("a", 240.5), ("a", 361), ("b", 90)]
    # a: 0 and 120 (a gap of exactly 120 s), 240.5 (120.5 s later), 361 (120.5 s), 500 (139 s); b: 0 and 90.
    assert group_events(_frame(rows)).to_list() == [4, 3, 0, 0, 1, 2, 4]
    assert group_events(_frame(rows), gap_seconds=121).to_list() == [2, 1, 0, 0, 0, 0, 2]
    assert group_events(_frame([])).to_list() == []


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 900)), max_size=30),
    st.integers(0, 200),
    st.randoms(use_true_random=False),
)
def test_events_as_a_loop_makes_them(rows, gap, random):
    expected, number, last = {}, -1, None
    for name, seconds in sorted(rows):
        if last is None or last[0] != name or seconds - last[1] > gap:
            number += 1
        expected[name, seconds] = number
        last = name, seconds
    random.shuffle(rows)
    assert group_events(_frame(rows), gap).to_list() == [expected[row] for row in rows]


def test_negative_gap():
    with pytest.raises(UserError, match="gap between events is -1"):
        group_events(_frame([("a", 0)]), -1)
