"""Observations of a calibration: tables of counts and Camtrap DP packages, and what is wrong with them."""

from __future__ import annotations

import dataclasses
import datetime

import numpy as np
import pytest
import small_web
from made_package import made_package, seen

from bioclip_jax.errors import UserError
from bioclip_jax.twin.calibrate import (
    BLANK,
    Detectability,
    Observations,
    package_observations,
    read_counts,
)
from bioclip_jax.twin.world import Extent

TABLE = """date,patch,species,count,effort_days
2020-01,south,Equus quagga,12,300
2020-01,south,Panthera leo,1,300
2020-01,north,,0,150
2020-02,south,Equus quagga,,0
2020-03-05,south,Lepus capensis,2,10
"""


def read(tmp_path, text: str) -> Observations:
    path = tmp_path / "counts.csv"
    path.write_text(text)
    return read_counts(path, small_web.small_twin())


def test_table_of_counts(tmp_path):
    with pytest.raises(UserError, match="row 5: count is ''"):
        read(tmp_path, TABLE)
    observed = read(tmp_path, TABLE.replace("Equus quagga,,0", "Equus quagga,0,0"))
    assert observed.classes == ("Equus quagga", "Lepus capensis", "Panthera leo")
    np.testing.assert_array_equal(observed.start_day, [0, 31, 64])
    np.testing.assert_array_equal(observed.end_day, [31, 60, 65])
    np.testing.assert_array_equal(observed.effort_days, [[300, 150], [0, 0], [10, 0]])
    np.testing.assert_array_equal(observed.counts[0, 0], [12, 0, 1], "species without a row are 0")
    np.testing.assert_array_equal(observed.counts[0, 1], [0, 0, 0], "an empty catch is 0 of all")
    assert np.isnan(observed.counts[1]).all(), "no effort is missing, never 0"
    np.testing.assert_array_equal(observed.counts[2, 0], [0, 2, 0])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2020-01,south,Equus quaga,1,300", "row 2: 'Equus quaga' is not a species.*did you mean"),
        ("2020-01,suoth,Equus quagga,1,300", "row 2: patch 'suoth' is not one.*did you mean"),
        ("2019-12,south,Equus quagga,1,300", "row 2: 2019-12-01 is before the twin's start, 2020-01-01"),
        ("2020-13,south,Equus quagga,1,300", "row 2: date is '2020-13-01'"),
        ("2020-01,south,Equus quagga,-1,300", "row 2: count is '-1'"),
        ("2020-01,south,Equus quagga,1.5,300", "row 2: count is 1.5"),
        ("2020-01,south,Equus quagga,1,nan", "row 2: effort_days is 'nan'"),
        ("2020-01,south,Equus quagga,1e300,30", "row 2: count is '1e300'; write a number from 0 to 1"),
        ("9999-12,south,Equus quagga,1,30", "row 2: date is '9999-12-01'"),
        ("2020-01,south,Equus quagga,1,0", "row 2: a count of 1 without effort"),
        ("2020-01,south,,4,30", "row 2: a count of 4 without a species"),
        ("2020-01,south,Equus quagga,0,0", "no period has any effort"),
    ],
)
def test_wrong_rows(tmp_path, row, message):
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path, f"date,patch,species,count,effort_days\n{row}\n")
    assert "\n" not in str(error.value)


def test_rows_that_contradict_each_other(tmp_path):
    head = "date,patch,species,count,effort_days\n2020-01,south,Equus quagga,1,300\n"
    with pytest.raises(UserError, match="row 3: effort_days is 200, and 300"):
        read(tmp_path, f"{head}2020-01,south,Panthera leo,1,200\n")
    with pytest.raises(UserError, match="row 3: Equus quagga is there twice"):
        read(tmp_path, f"{head}2020-01,south,Equus quagga,1,300\n")
    with pytest.raises(UserError, match="has no column effort_days"):
        read(tmp_path, "date,patch,species,count\n2020-01,south,Equus quagga,1\n")
    with pytest.raises(UserError, match="has no column patch"):
        read(tmp_path, "date,species,count,effort_days\n2020-01,Equus quagga,1,2\n")
    with pytest.raises(UserError, match="the end, 2020-01-02, is before the start"):
        read(
            tmp_path,
            "start,end,patch,species,count,effort_days\n2020-01-05,2020-01-02,south,Equus quagga,1,2\n",
        )


ZEBRA, LION, HARE = "Equus quagga", "Panthera leo", "Lepus capensis"
# a1, a2 in the south, b1 in the north, in June 2025; the twin starts in 2020.
PLACES = {"latitude": ["-2.49", "-2.31", "-2.49"], "longitude": ["34.8"] * 3}


def test_package_by_month_and_patch():
    zebras = [seen("a1", f"e{n}", f"2025-06-02T{n:02}:00:00+02:00", ZEBRA) for n in range(5)]
    package = made_package(
        [
            *zebras,
            seen("b1", "n1", "2025-06-02T12:00:00+02:00", LION),
            seen("b1", "n2", "2025-06-04T18:00:00+02:00", LION),  # after the camera's end
            seen("a2", "s1", "2025-06-10T05:00:00+02:00", HARE, classificationMethod="human"),
            seen("a2", "s1", "2025-06-10T05:00:00+02:00", ZEBRA),  # the person is right
        ],
        **PLACES,
    )
    observed = package_observations(package, small_web.small_twin())
    assert observed.classes == (ZEBRA, HARE, LION)
    june = 12 * 5 + 5
    assert observed.counts.shape == (june + 1, 2, 3)
    np.testing.assert_array_equal(observed.counts[june], [[5, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(observed.effort_days[june], [3.5, 1.5])
    assert np.isnan(observed.counts[:june]).all() and not observed.effort_days[:june].any()
    assert observed.end_day[-1] - observed.start_day[-1] == 30
    assert observed.dirichlet is None, "nothing is known of the machine's errors"


def test_package_with_verified_events_has_a_confusion_matrix():
    rows = []
    for number in range(30):
        event, time = f"v{number}", f"2025-06-02T{number % 24:02}:{number:02}:00+02:00"
        true = ZEBRA if number < 20 else ("Genetta genetta" if number < 25 else "")
        label = HARE if number in (3, 4, 21) else (true or ZEBRA if number == 29 else true)
        rows.append(seen("a1", event, time, true, classificationMethod="human"))
        rows.append(seen("a1", event, time, label))
    rows += [seen("a1", f"m{n}", f"2025-06-03T{n % 24:02}:{n:02}:00+02:00", ZEBRA) for n in range(60)]
    observed = package_observations(made_package(rows, **PLACES), small_web.small_twin())
    assert observed.classes == (ZEBRA, HARE, BLANK), "others and blanks are one class"
    assert observed.dirichlet.shape == (3, 3)
    shares = observed.dirichlet / observed.dirichlet.sum(axis=1, keepdims=True)
    assert 0.01 < shares[0, 1] < 0.1, f"two of 20 zebras were taken for hares: {shares}"
    np.testing.assert_allclose(observed.labeled_share, [30 / 90, 0.0])
    assert np.nansum(observed.counts) == 90


def test_package_errors():
    twin = small_web.small_twin()
    row = seen("a1", "e1", "2025-06-02T12:00:00+02:00", "Equus quaga")
    with pytest.raises(UserError, match="'Equus quaga' is not a species of the twin; did you mean Equus"):
        package_observations(made_package([row], **PLACES), twin)
    row = seen("a1", "e1", "2025-06-02T12:00:00+02:00", "Genetta genetta")
    with pytest.raises(UserError, match="no species of the twin"):
        package_observations(made_package([row], **PLACES), twin)
    row = seen("a1", "e1", "2025-06-02T12:00:00+02:00", ZEBRA)
    with pytest.raises(UserError, match="deployment b1: patch 'nowhere' is not one"):
        package_observations(made_package([row], **PLACES, patch=["south", "nowhere", "south"]), twin)
    late = dataclasses.replace(twin, start=datetime.date(2026, 1, 1))
    with pytest.raises(UserError, match="begins on 2025-06-01, before the twin's start, 2026-01-01"):
        package_observations(made_package([row], **PLACES), late)
    fenced = dataclasses.replace(twin, extent=Extent(-3.0, 34.0, -2.4, 35.0))
    with pytest.raises(UserError, match="deployment b1 at -2.31, 34.8 is outside the twin"):
        package_observations(made_package([row], **PLACES), fenced)


def test_detectability_of_movement():
    # 0.1 m/s, 10 m, 0.7 rad: 0.1 · 10 · 2.7 / π m²/s = 0.0743 km²/day.
    ours = Detectability.of_movement(0.1, 10.0, 0.7, relative_variance=0.04)
    assert np.exp(ours.log_mean) == pytest.approx(0.1 * 10 * 2.7 / np.pi * 86_400 / 1e6)
    assert ours.log_sd == pytest.approx(0.2)
