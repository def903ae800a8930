"""Solar time and elevation of the sun by NOAA's series, in Fourier terms of the day of the year.

The twin's estimates use another formula, so that an error in either one shows in the closed loop.
"""

import numpy as np
from jaxtyping import Float

Times = np.ndarray  # datetime64, UTC


def solar_hour(times: Times, longitude: float | np.ndarray) -> Float[np.ndarray, " n"]:
    """Apparent local solar time in hours, 0 … 24; longitude in degrees, east positive."""
    hour = _utc_hour(times) + np.asarray(longitude) / 15 + equation_of_time(times) / 60
    return hour % 24


def equation_of_time(times: Times) -> Float[np.ndarray, " n"]:
    """Apparent minus mean solar time in minutes (NOAA, General Solar Position Calculations)."""
    g = _year_angle(times)
    return 229.18 * (
        0.000075 + 0.001868 * np.cos(g) - 0.032077 * np.sin(g)
        - 0.014615 * np.cos(2 * g) - 0.040849 * np.sin(2 * g)
    )  # fmt: skip


def sun_elevation(
    times: Times, latitude: float | np.ndarray, longitude: float | np.ndarray
) -> Float[np.ndarray, " n"]:
    """Elevation of the sun's center above the horizon in degrees, without refraction (NOAA, as above)."""
    g = _year_angle(times)
    declination = (
        0.006918 - 0.399912 * np.cos(g) + 0.070257 * np.sin(g)
        - 0.006758 * np.cos(2 * g) + 0.000907 * np.sin(2 * g)
        - 0.002697 * np.cos(3 * g) + 0.00148 * np.sin(3 * g)
    )  # fmt: skip
    latitude = np.radians(latitude)
    hour_angle = np.pi * (solar_hour(times, longitude) / 12 - 1)
    sine = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(
        hour_angle
    )
    return np.degrees(np.arcsin(np.clip(sine, -1, 1)))


def _utc_hour(times: Times) -> Float[np.ndarray, " n"]:
    times = np.asarray(times, "datetime64[ms]")
    return (times - times.astype("datetime64[D]")) / np.timedelta64(3_600_000, "ms")


def _year_angle(times: Times) -> Float[np.ndarray, " n"]:
    times = np.asarray(times, "datetime64[ms]")
    day = (times - times.astype("datetime64[Y]")) / np.timedelta64(86_400_000, "ms")
    return 2 * np.pi * (day - 0.5) / 365.25
