"""Occupancy, activity, density and relative abundance, with intervals, from a Camtrap DP."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "activity": ["Activity", "estimate_activity"],
        "circular_density": ["CircularDensity"],
        "interval": ["Interval"],
        "overlap": ["Overlap", "estimate_overlaps", "overlap_coefficient"],
        "solar_time": ["equation_of_time", "mean_daylight", "solar_hours", "sun_elevation", "sunrise_sunset"],
    },
)
