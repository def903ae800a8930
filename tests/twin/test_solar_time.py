"""True solar time, sun elevation, sunrise and sunset against almanacs and published examples."""

import numpy as np
import pytest

from bioclip_jax.twin.estimate import (
    equation_of_time,
    mean_daylight,
    solar_hours,
    sun_elevation,
    sunrise_sunset,
)

# Reda and Andreas, Solar Position Algorithm (NREL/TP-560-34302, 2008), example of appendix A.5: Golden,
# Colorado, 2003-10-17 12:30:30 in UTC-7. Its sunset is the one of that UTC day: 17:20 on the 16th there.
GOLDEN = {"latitude_deg": 39.742476, "longitude_deg": -105.1786}
EXAMPLE = np.datetime64("2003-10-17T19:30:30", "us")


def test_equation_of_time_against_published_values():
    assert equation_of_time(EXAMPLE) == pytest.approx(14.641503, abs=4 / 60)
    # Meeus, Astronomical Algorithms, example 28.b: 13 min 42.7 s.
    assert equation_of_time(np.datetime64("1992-10-13")) == pytest.approx(13 + 42.7 / 60, abs=1 / 60)
    # Its extremes of the year, to the minute, as in any almanac: 11 to 12 February and 3 November.
    year = np.arange("2024-01-01T12", "2025-01-01T12", np.timedelta64(24, "h"), "datetime64[h]")
    minutes = equation_of_time(year)
    assert str(year[minutes.argmin()])[5:10] in ("02-11", "02-12")
    assert str(year[minutes.argmax()])[5:10] in ("11-02", "11-03")
    assert minutes.min() == pytest.approx(-14.25, abs=0.1)
    assert minutes.max() == pytest.approx(16.45, abs=0.1)


def test_sun_elevation_against_the_example():
    # Topocentric elevation without refraction, 39.872046°, is lowered by a parallax of 0.0019°.
    assert sun_elevation(EXAMPLE, **GOLDEN) == pytest.approx(39.872, abs=0.006)


def test_transit_is_at_solar_noon():
    transit = np.datetime64("2003-10-17T18:46:04.970", "us")
    assert solar_hours(transit, GOLDEN["longitude_deg"]) == pytest.approx(12, abs=4 / 3600)


@pytest.mark.parametrize(
    ("day", "instant", "which"),
    [("2003-10-17", "2003-10-17T13:12:43.460", 0), ("2003-10-16", "2003-10-17T00:20:19.190", 1)],
    ids=["sunrise", "sunset"],
)
def test_sunrise_and_sunset_against_the_example(day, instant, which):
    ours = sunrise_sunset(np.datetime64(day), **GOLDEN)[which]
    published = solar_hours(np.datetime64(instant, "us"), GOLDEN["longitude_deg"])
    assert ours == pytest.approx(published, abs=20 / 3600)


def test_polar_day_and_night():
    sunrise, sunset = sunrise_sunset(np.array(["2024-06-21", "2024-12-21"], "datetime64[D]"), 75.0)
    assert sunrise.tolist() == [0, 12]
    assert sunset.tolist() == [24, 12]


def test_mean_daylight_of_a_year_on_the_equator():
    # The sun is above the horizon for half the day and for 2 × 0.833° / 15°/h, divided by the mean cosine of
    # the declination (0.96): 12.116 h.
    sunrise, sunset = mean_daylight(np.datetime64("2024-01-01"), np.datetime64("2024-12-31"), 0.0)
    assert sunset - sunrise == pytest.approx(12.116, abs=0.003)


def test_longitude_zones_and_missing_values():
    instants = np.array(["2024-04-15T12:00:00", "2024-04-15T23:59:00", "NaT"], "datetime64[us]")
    # The equation of time is zero on 15 April; 30° E is two hours ahead.
    hours = solar_hours(instants, np.array([30.0, 30.0, 30.0]))
    np.testing.assert_allclose(hours, [14, 1.9833, np.nan], atol=0.01)
    assert np.isnan(solar_hours(instants[0], np.nan))
