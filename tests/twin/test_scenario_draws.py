"""Draws of an ensemble: the same for a species whatever others there are, and with the stated moments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_twin import LION, START, ZEBRA, made_twin, without_species
from scipy import stats

from bioclip_jax.twin.scenario import (
    Ensemble,
    Noise,
    Timeline,
    environmental_noise,
    normals,
    rain_factors,
)
from bioclip_jax.twin.world import Climate

MEMBERS = np.arange(400)


def test_normals_depend_on_their_own_labels_alone():
    whole = normals(3, "noise", np.arange(5), ("a", "b", "c"), 12)
    assert np.array_equal(normals(3, "noise", np.arange(5), ("c", "a"), 12), whole[:, [2, 0]])
    assert np.array_equal(normals(3, "noise", np.array([4, 2]), ("b",), 7), whole[[4, 2]][:, [1], :7])
    others = [normals(4, "noise", np.arange(5), ("a",), 12), normals(3, "rain", np.arange(5), ("a",), 12)]
    assert not any(np.isin(other, whole).any() for other in others)


def test_normals_are_normal():
    drawn = normals(0, "x", np.arange(100), [f"species {i}" for i in range(10)], 24)
    assert len(np.unique(drawn)) == drawn.size
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 0.001
    for axis in range(3):
        lagged = np.corrcoef(*(drawn.take(range(i, drawn.shape[axis] - 1 + i), axis).ravel() for i in (0, 1)))
        assert abs(lagged[0, 1]) < 4 / np.sqrt(drawn.size), f"neighbors along axis {axis} correlate"


@pytest.mark.parametrize("name", [LION, ZEBRA])
def test_removing_a_species_leaves_the_other_draws(name):
    whole, less = (
        Ensemble(twin, Timeline.of(START, 2)) for twin in (made_twin(), without_species(made_twin(), name))
    )
    members = np.arange(5)
    draws, fewer = whole.parameter_draws(members), less.parameter_draws(members)
    kept = [number for number, text in enumerate(draws.names) if name not in text]
    assert fewer.names == tuple(draws.names[number] for number in kept)
    assert np.array_equal(fewer.values, draws.values[:, kept])
    before, after = whole.conditions(members, 0), less.conditions(members, 0)
    others = [number for number, one in enumerate(whole.twin.species) if one.name != name]
    assert np.array_equal(after.noise, before.noise[..., others])
    assert np.array_equal(after.rain, before.rain)


def test_the_years_rain_varies_as_the_climate_says():
    """Coefficient of variation of yearly totals by simulation, of months by the formula of the log-normal."""
    rain = np.array([100, 80, 120, 150, 60, 10, 5, 5, 10, 30, 70, 90], float)[:, None]
    climate = Climate(rain, np.full((12, 1), 295.0), rain_cv=0.4)
    factors = rain_factors(climate, 0, np.arange(4000), Timeline.of(START, 1))
    totals = (factors * rain).sum(axis=1) / rain.sum()
    assert totals.mean() == pytest.approx(1, abs=4 * 0.4 / np.sqrt(4000))
    assert totals.std() == pytest.approx(0.4, rel=0.06)
    assert factors[:, 3].mean() == pytest.approx(1, abs=0.04)
    still = replace(climate, rain_cv=0.0)
    assert (rain_factors(still, 0, np.arange(2), Timeline.of(START, 1)) == 1).all()


def test_dry_years_follow_each_other():
    climate = Climate(np.full((12, 1), 50.0), np.full((12, 1), 295.0), rain_cv=0.4, rain_autocorrelation=0.7)
    factors = rain_factors(climate, 0, MEMBERS, Timeline.of(START, 6))
    years = np.log(factors[:, :, 0].reshape(len(MEMBERS), 6, 12).mean(axis=2))
    assert np.corrcoef(years[:, 1], years[:, 2])[0, 1] == pytest.approx(0.65, abs=0.1)


def test_noise_has_its_spread_and_correlation():
    noise = environmental_noise(Noise(0.2, 0.6), 0, MEMBERS, ("a", "b"), Timeline.of(START, 2))
    assert np.exp(noise).mean() == pytest.approx(1, abs=0.01)
    assert noise.std() == pytest.approx(0.2, rel=0.05)
    assert np.corrcoef(noise[:, 7, 0], noise[:, 8, 0])[0, 1] == pytest.approx(0.6, abs=0.12)
    assert abs(np.corrcoef(noise[:, 7, 0], noise[:, 7, 1])[0, 1]) < 0.2


def test_a_longer_run_begins_with_the_shorter_ones_weather():
    short, long = (Ensemble(made_twin(), Timeline.of(START, years)) for years in (2, 4))
    members = np.arange(3)
    for name in ("rain", "noise"):
        one, other = (getattr(ensemble.conditions(members, 0), name) for ensemble in (short, long))
        assert np.array_equal(one, other[:, : one.shape[1]]), name
