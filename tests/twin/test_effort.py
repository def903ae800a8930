"""Effort by deployment and visit, against hand counts and minutes counted one by one."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.errors import UserError
from bioclip_jax.twin.observe import effort_days, visit_effort

ZONE = timezone(timedelta(hours=2))


def _deployments(*rows: tuple[str, str, str, str]) -> pl.DataFrame:
    columns = ("deploymentID", "deploymentStart", "deploymentEnd", "deploymentTags")
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def _by_visit(frame: pl.DataFrame, name: str) -> list[float | None]:
    return frame.filter(deploymentID=name)["effort_days"].to_list()


def test_effort_by_hand():
    deployments = _deployments(
        # Midnights in +02:00: 6 h on the first day, 24 h, 12 h.
        ("plain", "2021-06-01T18:00:00+02:00", "2021-06-03T12:00:00+02:00", "position:left bank"),
        # Down for all of June 2, stated twice with an overlap, and before the start, which does not count.
        (
            "down",
            "2021-06-01T18:00:00+02:00",
            "2021-06-03T12:00:00+02:00",
            "a:b | downTime:2021-06-02T00:00:00+02:00/2021-06-02T18:00:00+02:00 |"
            "downTime:2021-06-02T10:00:00Z/2021-06-02T22:00:00Z|downTime:2021-05-01T00:00:00Z/2021-06-01T16:00:00Z",
        ),
        (
            "broken",
            "2021-06-01T18:00:00Z",
            "2021-06-02T12:00:00Z",
            "downTime:2021-06-01T00:00:00Z/2021-07-01T00:00:00Z",
        ),
        ("zero", "2021-06-01T18:00:00Z", "2021-06-01T18:00:00Z", ""),
        # Ends at midnight, which begins no further visit.
        ("midnight", "2021-06-01T00:00:00-03:30", "2021-06-03T00:00:00-03:30", ""),
    )
    total = dict(effort_days(deployments).iter_rows())
    assert total == pytest.approx(
        {"plain": 1.75, "down": 0.75, "broken": None, "zero": None, "midnight": 2.0}
    )
    visits = visit_effort(deployments)
    assert _by_visit(visits, "plain") == pytest.approx([0.25, 1, 0.5])
    assert _by_visit(visits, "down") == pytest.approx([0.25, None, 0.5])
    assert _by_visit(visits, "broken") == [None, None]
    assert _by_visit(visits, "zero") == [None]
    assert _by_visit(visits, "midnight") == [1, 1]
    assert _by_visit(visit_effort(deployments, 2), "plain") == pytest.approx([1.25, 0.5])
    first = visits.row(0, named=True)
    assert first["visit"] == 0
    assert first["visit_start"] == datetime(2021, 6, 1, tzinfo=ZONE)


@given(
    st.integers(0, 1500),
    st.integers(0, 3000),
    st.lists(st.tuples(st.integers(-100, 4600), st.integers(0, 1000)), max_size=4),
    st.sampled_from([0.25, 1.0, 1.5]),
)
def test_effort_counts_minutes(start, length, downs, visit_days):
    """Minutes since local midnight, each of which the camera runs or not."""

    def moment(minute: int) -> str:
        return (datetime(2021, 6, 1, tzinfo=ZONE) + timedelta(minutes=minute)).isoformat()

    running = set(range(start, start + length))
    for begin, duration in downs:
        running -= set(range(begin, begin + duration))
    # The visits count from the midnight before the start.
    midnight = start // 1440 * 1440
    visit_minutes = int(visit_days * 1440)
    visits = max(1, -(-(start + length - midnight) // visit_minutes))
    expected = [0] * visits
    for minute in running:
        expected[(minute - midnight) // visit_minutes] += 1
    tags = " | ".join(f"downTime:{moment(begin)}/{moment(begin + duration)}" for begin, duration in downs)
    deployments = _deployments(("a", moment(start), moment(start + length), tags))
    frame = visit_effort(deployments, visit_days)
    assert frame["effort_days"].to_list() == pytest.approx([n / 1440 if n else None for n in expected])
    total = effort_days(deployments)["effort_days"][0]
    assert total == pytest.approx(len(running) / 1440 if running else None)


@pytest.mark.parametrize(
    "row, message",
    [
        (("a", "2021-06-02T00:00:00Z", "2021-06-01T00:00:00Z", ""), "row 2: a ends at .* before it starts"),
        (("a", "2021-06-02T00:00:00", "2021-06-01T00:00:00Z", ""), "with its zone"),
        (
            ("a", "2021-06-01T00:00:00Z", "2021-06-02T00:00:00Z", "downTime:yesterday"),
            "deployment a .*START/END",
        ),
        (
            (
                "a",
                "2021-06-01T00:00:00Z",
                "2021-06-02T00:00:00Z",
                "downTime:2021-06-01T09:00:00Z/2021-06-01T08:00:00Z",
            ),
            "START before its END",
        ),
    ],
)
def test_impossible_times(row, message):
    with pytest.raises(UserError, match=message):
        effort_days(_deployments(*[row]))


def test_visits_need_a_length():
    with pytest.raises(UserError, match="a visit lasts 0 days"):
        visit_effort(_deployments(), 0)
