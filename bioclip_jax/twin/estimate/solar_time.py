"""True solar time, sun elevation, sunrise and sunset.

Animals follow the sun, not the clock of a time zone. True solar time has noon when the sun is highest; it
differs from clock time by longitude and by the equation of time, up to 16 minutes.

Formulas of NOAA's solar calculator (https://gml.noaa.gov/grad/solcalc/calcdetails.html), which are the
low-accuracy ones of Meeus, Astronomical Algorithms (1998), chapters 25 and 28. Against the IAU's models
(ERFA) from 1950 to 2025 the equation of time is within 4 s and the declination within 0.004°; real refraction
makes sunrise and sunset uncertain by a minute or more, NOAA's page says.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

# Elevation of the sun's center when its upper edge touches the horizon: refraction 34' and radius 16'.
_SUNRISE_ELEVATION_DEG = -0.833
_EPOCH = np.datetime64("2000-01-01T12:00:00", "us")  # J2000


def equation_of_time(utc: Shaped[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """True minus mean solar time in minutes, at UTC instants (datetime64); NaN for NaT."""
    return _sun(_centuries(utc))[1]


def solar_hours(
    utc: Shaped[np.ndarray, "*n"], longitude_deg: Float[np.ndarray, "*n"] | float
) -> Float[np.ndarray, "*n"]:
    """True solar time in hours, 0 <= hours < 24, of UTC instants (datetime64) at longitudes (east positive).

    NaN where the instant is NaT or the longitude NaN.
    """
    centuries = _centuries(utc)
    # Hours since noon UTC of J2000, a multiple of 24 at every noon UTC.
    clock = 12 + centuries * (36525 * 24)
    hours = (clock + np.asarray(longitude_deg, float) / 15 + _sun(centuries)[1] / 60) % 24
    return np.where(hours == 24, 0.0, hours)


def sun_elevation(
    utc: Shaped[np.ndarray, "*n"],
    latitude_deg: Float[np.ndarray, "*n"] | float,
    longitude_deg: Float[np.ndarray, "*n"] | float,
) -> Float[np.ndarray, "*n"]:
    """Elevation of the sun's center above the horizon in degrees, without refraction (at most 0.6°)."""
    declination, _ = _sun(_centuries(utc))
    hour_angle = np.radians(15 * (solar_hours(utc, longitude_deg) - 12))
    latitude = np.radians(latitude_deg)
    sine = np.sin(latitude) * np.sin(declination)
    sine = sine + np.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    return np.degrees(np.arcsin(np.clip(sine, -1, 1)))


def sunrise_sunset(
    days: Shaped[np.ndarray, "*n"], latitude_deg: float, longitude_deg: float = 0.0
) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "*n"]]:
    """True solar hours of sunrise and sunset on local days (datetime64) at a place.

    Where the sun does not rise both are 12, where it does not set 0 and 24, so that means over days and the
    length of daylight, sunset - sunrise, stay right.
    """
    midnight = _centuries(np.asarray(days).astype("datetime64[D]")) - longitude_deg / 15 / (36525 * 24)

    def half_day(solar: Float[np.ndarray, "*n"] | float) -> Float[np.ndarray, "*n"]:
        declination, _ = _sun(midnight + solar / (36525 * 24))
        latitude = np.radians(np.clip(latitude_deg, -89.999, 89.999))
        cosine = np.sin(np.radians(_SUNRISE_ELEVATION_DEG)) - np.sin(latitude) * np.sin(declination)
        return np.degrees(np.arccos(np.clip(cosine / (np.cos(latitude) * np.cos(declination)), -1, 1))) / 15

    # The declination moves by up to 0.4° a day: take it at sunrise and at sunset, not at noon.
    noon = half_day(12.0)
    return 12 - half_day(12 - noon), 12 + half_day(12 + noon)


def mean_daylight(
    first: np.datetime64, last: np.datetime64, latitude_deg: float, longitude_deg: float = 0.0
) -> tuple[float, float]:
    """Mean true solar hours of sunrise and sunset over the days of a survey, `first` to `last` inclusive."""
    days = np.arange(np.datetime64(first, "D"), np.datetime64(last, "D") + 1)
    sunrise, sunset = sunrise_sunset(days, latitude_deg, longitude_deg)
    return float(sunrise.mean()), float(sunset.mean())


def _centuries(utc: Shaped[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Julian centuries since J2000; UTC and dynamical time differ by a minute, which does not matter here."""
    return (np.asarray(utc).astype("datetime64[us]") - _EPOCH) / np.timedelta64(36525 * 86_400, "s")


def _sun(centuries: Float[np.ndarray, "*n"]) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "*n"]]:
    """The sun's apparent declination in radians and the equation of time in minutes (Meeus 25, 28.3)."""
    t = centuries
    mean_longitude = np.radians(280.46646 + t * (36000.76983 + t * 0.0003032))
    anomaly = np.radians(357.52911 + t * (35999.05029 - t * 0.0001537))
    eccentricity = 0.016708634 - t * (0.000042037 + t * 0.0000001267)
    center = np.sin(anomaly) * (1.914602 - t * (0.004817 + t * 0.000014))
    center = center + np.sin(2 * anomaly) * (0.019993 - t * 0.000101) + np.sin(3 * anomaly) * 0.000289
    node = np.radians(125.04 - 1934.136 * t)
    apparent = mean_longitude + np.radians(center - 0.00569 - 0.00478 * np.sin(node))
    obliquity = 23.4392911 - t * (0.0130042 + t * (1.64e-7 - t * 5.04e-7)) + 0.00256 * np.cos(node)
    obliquity = np.radians(obliquity)
    declination = np.arcsin(np.sin(obliquity) * np.sin(apparent))
    y = np.tan(obliquity / 2) ** 2
    radians = (
        y * np.sin(2 * mean_longitude)
        - 2 * eccentricity * np.sin(anomaly)
        + 4 * eccentricity * y * np.sin(anomaly) * np.cos(2 * mean_longitude)
        - 0.5 * y**2 * np.sin(4 * mean_longitude)
        - 1.25 * eccentricity**2 * np.sin(2 * anomaly)
    )
    return declination, 4 * np.degrees(radians)
