"""Occupancy, activity, density and relative abundance, with intervals, from a Camtrap DP."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "abundance": ["RelativeAbundance", "group_size", "relative_abundance"],
        "activity": ["Activity", "estimate_activity"],
        "circular_density": ["CircularDensity"],
        "confusion": ["ClassErrors", "Confusion", "score_ratio"],
        "encounter": ["EncounterDensity", "estimate_density"],
        "interval": ["Interval"],
        "movement": ["Measured", "Movement", "read_movement"],
        "occupancy": ["Coefficient", "Occupancy", "fit_occupancy"],
        "overlap": ["Overlap", "estimate_overlaps", "overlap_coefficient"],
        "simulate": ["SimulatedSurvey", "simulate_survey"],
        "site_likelihood": ["FalsePositives"],
        "solar_time": ["equation_of_time", "mean_daylight", "solar_hours", "sun_elevation", "sunrise_sunset"],
        "walks": ["WalkSurvey", "WalkWorld", "encounter_study", "enters_sector", "simulate_walks"],
    },
)
