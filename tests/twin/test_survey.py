"""A package as sites, visits and labeled events, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from made_package import made_package, seen

from bioclip_jax.errors import UserError
from bioclip_jax.twin.estimate.labeled_events import BLANK, event_labels, verified_pairs
from bioclip_jax.twin.estimate.survey import read_survey

FOX, HARE = "Vulpes vulpes", "Lepus europaeus"
HUMAN = {"classificationMethod": "human"}

EVENTS = [
    seen("a1", "e1", "2025-06-01T20:00:00+02:00", FOX, classificationProbability="0.9"),
    # 23:30 UTC is 01:30 of the next local day.
    seen("a1", "e2", "2025-06-01T23:30:00Z", FOX, count="2"),
    seen("a1", "e3", "2025-06-03T08:00:00+02:00", HARE),
    seen("a1", "e3", "2025-06-03T08:00:00+02:00", FOX, **HUMAN),
    seen("a2", "e4", "2025-06-10T08:00:00+02:00", FOX),
    seen("a2", "e4", "2025-06-10T08:00:00+02:00", "", **HUMAN),
    seen("b1", "e5", "2025-06-02T08:00:00+02:00", HARE),
    seen("b1", "e5", "2025-06-02T08:00:00+02:00", HARE, **HUMAN),
    seen("b1", "e5", "2025-06-02T08:00:00+02:00", FOX, **HUMAN),
    seen("b1", "e6", "2025-06-02T09:00:00+02:00", ""),
    seen("b1", "e7", "2025-06-02T10:00:00+02:00", "", observationType="unknown"),
]


def test_effort_is_of_locations_with_their_deployments_in_sequence():
    survey = read_survey(made_package(EVENTS))
    assert survey.sites == ("B", "A"), "B's deployment started first"
    expected = [[0.5, 1, 0, 0], [0.5, 1, 1, 1]]
    np.testing.assert_allclose(survey.effort, expected, err_msg="days by site and visit")


def test_visits_are_local_days():
    survey = read_survey(made_package(EVENTS))
    fox = survey.of_species(FOX).sort("time")
    assert fox.select("site", "visit").rows() == [(1, 0), (1, 1), (0, 1), (1, 2)]


def test_a_persons_labels_replace_the_machines():
    survey = read_survey(made_package(EVENTS))
    expected = [(FOX, False), (FOX, False), (FOX, True), (HARE, True), (FOX, True)]
    assert sorted(survey.events.select("species", "certain").rows()) == sorted(expected)
    assert survey.n_events == 6, "e7 is unknown"
    np.testing.assert_array_equal(survey.counts([FOX, HARE, BLANK], certain=False), [[0, 0, 1], [2, 0, 0]])
    np.testing.assert_array_equal(survey.counts([FOX, HARE, BLANK], certain=True), [[1, 1, 0], [1, 0, 0]])


def test_verified_pairs():
    human, machine = verified_pairs(event_labels(made_package(EVENTS)))
    assert sorted(zip(human, machine)) == sorted([(FOX, HARE), (BLANK, FOX), (HARE, HARE)])


def test_longer_visits():
    survey = read_survey(made_package(EVENTS), visit_days=2)
    np.testing.assert_allclose(survey.effort, [[1.5, 0, 0], [1.5, 1, 1]])
    assert survey.of_species(FOX).sort("time").select("site", "visit").rows() == [
        (1, 0),
        (1, 0),
        (0, 0),
        (1, 1),
    ]


def test_media_level_observations_are_grouped():
    """Without event-level observations, images within two minutes of each other are one event."""

    def image(media: str, time: str, species: str, probability: str = "", **columns: str) -> dict[str, str]:
        columns |= {"mediaID": media, "observationLevel": "media", "classificationProbability": probability}
        return seen("a1", "", time, species, **columns)

    labels = event_labels(
        made_package(
            [
                image("m1", "2025-06-01T20:00:00Z", FOX, "0.4"),
                image("m2", "2025-06-01T20:00:01Z", HARE, "0.9"),
                image("m3", "2025-06-01T20:00:02Z", FOX, "0.3"),
                image("m4", "2025-06-01T20:01:50Z", ""),
                # Two foxes in one image, as two boxes.
                image("m5", "2025-06-01T20:10:00Z", FOX, "0.8"),
                image("m5", "2025-06-01T20:10:00Z", FOX, "0.8"),
                image("m6", "2025-06-01T20:20:00Z", ""),
            ]
        )
    )
    rows = labels.sort("time").select("label", "count").rows()
    assert rows == [(HARE, 1), (FOX, 2), (BLANK, 1)], "the hare has 0.9 of one image, the fox 0.7 of two"


def test_a_survey_without_effort_is_refused():
    ends = ["2025-06-01T12:00:00+02:00", "2025-06-01T00:00:00+02:00", "2025-06-10T00:00:00+02:00"]
    with pytest.raises(UserError, match="none of the 3 deployments has any effort"):
        read_survey(made_package(EVENTS, deploymentEnd=ends))


def test_a_camera_without_coordinates_is_refused():
    with pytest.raises(UserError, match="deployment b1 has the longitude ''"):
        read_survey(made_package(EVENTS, longitude=["4.5", "", "4.5"]))


def test_events_while_the_camera_did_not_run_are_counted_apart():
    """Before a1 began, after it ended, when a2 at the same site had yet to begin, and after a2 ended."""
    lost = [
        seen("a1", "x1", "2025-05-30T20:00:00+02:00", FOX),
        seen("a1", "x2", "2025-06-05T20:00:00+02:00", FOX),
        seen("a2", "x3", "2025-06-12T08:00:00+02:00", "", **HUMAN),
    ]
    with_lost, without = (read_survey(made_package(rows)) for rows in (EVENTS + lost, EVENTS))
    assert (with_lost.n_events, with_lost.events_without_effort) == (without.n_events, 3)
    assert with_lost.events.height == without.events.height, "x2 is no event of a2's first day"
    np.testing.assert_array_equal(with_lost.labeled_share, without.labeled_share)
