"""Times as tables and EXIF write them, and the events of frames."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.errors import UserError
from bioclip_jax.predict import PredictOptions
from bioclip_jax.predict.events import event_numbers, find_events, parse_time
from bioclip_jax.predict.inputs import ImageFile

LABELS = ["apple", "a ripe banana", "Solanum lycopersicum", "mushroom"]
START = datetime(2021, 5, 31, 6, 25, 38)


def frames_of(rows: list[tuple[str, str]], gap: float = 60) -> list[int]:
    """Group (deploymentID, time) rows as a table gives them."""
    table = pa.table({"deploymentID": [place for place, _ in rows], "timestamp": [time for _, time in rows]})
    images = [ImageFile(f"f/{index}.jpg", f"f/{index}.jpg") for index in range(len(rows))]
    return find_events(images, table, gap, lambda images: [""] * len(images)).numbers.tolist()


def test_a_time_without_a_zone_has_that_of_its_place():
    assert frames_of([("a", "2020-01-01T10:00:00+02:00"), ("a", "2020-01-01 10:00:30")]) == [0, 0]
    assert frames_of([("a", "2020-01-01T10:00:00+02:00"), ("b", "2020-01-01 10:00:30")]) == [0, 1]
    assert frames_of([("a", "2020-01-01T10:00:00+02:00"), ("a", "2020-01-01T08:00:30Z")]) == [0, 0]
    assert frames_of([("a", "2020-01-01T10:00:00+02:00"), ("a", "2020-01-01T10:00:30Z")]) == [0, 1]
    assert frames_of([("a", ""), ("a", "0000:00:00 00:00:00"), ("a", "")]) == [0, 1, 2]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 900)), min_size=1, max_size=30),
    st.integers(0, 200),
)
def test_events_are_those_of_a_plain_loop(rows, gap):
    given_rows = [(place, (START + timedelta(seconds=seconds)).isoformat()) for place, seconds in rows]
    numbers = frames_of(given_rows, gap)
    for one, (place, seconds) in enumerate(rows):
        for other, (place2, seconds2) in enumerate(rows):
            between = sorted(
                s for p, s in rows if p == place and min(seconds, seconds2) <= s <= max(seconds, seconds2)
            )
            joined = place == place2 and all(b - a <= gap for a, b in zip(between, between[1:]))
            assert (numbers[one] == numbers[other]) == joined
    assert list(dict.fromkeys(numbers)) == list(range(len(set(numbers)))), (
        "events are in the order of the inputs"
    )


def test_crops_of_an_undated_picture_and_frames_of_a_clip_are_one_event():
    names = ["x/a.jpg", "x/a.jpg", "x/c.mp4#t=1", "x/c.mp4#t=2", "x/b.jpg"]
    images = [ImageFile(name, name) for name in names]
    events = find_events(images, None, 60, lambda images: [""] * len(images))
    assert events.numbers.tolist() == [0, 0, 1, 1, 2] and events.untimed == 3
    assert len({events[number].id for number in range(3)}) == 3


def test_ids_are_those_of_the_twin():
    pl = pytest.importorskip("polars")
    from bioclip_jax.twin.observe.events import stable_ids

    moment = parse_time("2020-05-30T04:57:37+02:00")
    table = pa.table({"deploymentID": ["d"], "timestamp": [moment.text]})
    events = find_events([ImageFile("a", "a")], table, 60, lambda images: [])
    assert [events[0].id] == stable_ids(pl.Series([f"d {moment.instant}"])).to_list()


@pytest.mark.parametrize(
    ("written", "iso"),
    [
        ("2020-05-30T04:57:37+02:00", "2020-05-30T04:57:37+02:00"),
        ("2020:05:30 04:57:37", "2020-05-30T04:57:37"),
        (" 2020/05/30 04:57 ", "2020-05-30T04:57:00"),
        ("30-May-2020 04:57:37", "2020-05-30T04:57:37"),
        ("2020-05-30 04:57:37.5-0330", "2020-05-30T04:57:37.500000-03:30"),
    ],
)
def test_times_as_tables_write_them(written, iso):
    moment = parse_time(written)
    assert moment.text == iso
    expected = datetime.fromisoformat(iso)
    assert moment.local == round((expected.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds() * 1e6)
    assert moment.instant == (None if expected.tzinfo is None else round(expected.timestamp() * 1e6))


@given(
    st.text(max_size=30)
    | st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?.{0,8}\Z")
)
def test_any_text_is_a_time_that_exists_or_none(written):
    moment = parse_time(written)
    if moment is not None:
        assert parse_time(moment.text) == moment
        datetime.fromisoformat(moment.text)


@pytest.mark.parametrize(
    "written", ["5/6/2020 04:57", "2020-05-30", "2020-02-30T00:00:00", "٢020-05-30 04:57"]
)
def test_uncertain_times_are_none(written):
    assert parse_time(written) is None


def test_any_gap_is_finite():
    assert frames_of([("a", "0001-01-01T00:00:00"), ("a", "9999-12-31T23:59:59")], 1e300) == [0, 0]
    with pytest.raises(UserError, match="the gap between events is inf s"):
        PredictOptions(labels="a,b", events=math.inf)


def test_event_numbers_without_a_frame():
    assert event_numbers(np.zeros(0, np.int64), np.zeros(0, np.int64), 1).tolist() == []
