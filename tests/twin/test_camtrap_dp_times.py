"""Timestamps with zones, against Python's datetime."""

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.errors import UserError
from bioclip_jax.twin.observe.camtrap_dp import parse_times


def test_zones_and_fractions():
    texts = [
        "2020-05-30T04:57:37+02:00",
        "2020-05-30T04:57:37-0330",
        "2020-05-30T04:57:37Z",
        "2020-05-30T04:57:37.25Z",
        "",
        "NA",
    ]
    times = parse_times(pl.Series("timestamp", texts), "media")
    assert times.dtype == pl.Datetime("us", "UTC") and times.name == "timestamp"
    assert times.to_list() == [
        datetime(2020, 5, 30, 2, 57, 37, tzinfo=UTC),
        datetime(2020, 5, 30, 8, 27, 37, tzinfo=UTC),
        datetime(2020, 5, 30, 4, 57, 37, tzinfo=UTC),
        datetime(2020, 5, 30, 4, 57, 37, 250_000, tzinfo=UTC),
        None,
        None,
    ]


@pytest.mark.parametrize(
    "text",
    [
        "2020-05-30T04:57:37",
        "2020-05-30 04:57:37Z",
        "2020-02-30T04:57:37Z",
        "2020-05-30T24:00:00Z",
        "2020-05-30T04:57:60Z",
        "2020-05-30T04:57:37+24:00",
        "2020-05-30T04:57:37+02",
        "30/05/2020 04:57",
        " 2020-05-30T04:57:37Z",
        "2020-05-30T04:57:37Z\n",
    ],
)
def test_malformed_timestamps_name_their_row(text):
    column = pl.Series("timestamp", ["2020-05-30T04:57:37Z", "", text, text])
    with pytest.raises(
        UserError, match=r"^media, row 4: timestamp is '.*' \(2 such rows\); write it with its"
    ):
        parse_times(column, "media")


@settings(max_examples=50)
@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), st.integers(-1439, 1439))
def test_times_as_python_reads_them(time, offset):
    text = time.replace(tzinfo=timezone(timedelta(minutes=offset))).isoformat()
    assert parse_times(pl.Series("t", [text]), "media").to_list() == [datetime.fromisoformat(text)]
