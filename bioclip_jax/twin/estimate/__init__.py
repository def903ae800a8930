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
        "estimate": ["estimate_package"],
        "interval": ["Interval"],
        "labeled_events": ["BLANK", "event_labels"],
        "movement": ["Measured", "Movement", "read_movement"],
        "occupancy": ["Coefficient", "Occupancy", "fit_occupancy"],
        "options": ["EstimateOptions"],
        "overlap": ["Overlap", "estimate_overlaps", "overlap_coefficient"],
        "reliability": ["find_reliability"],
        "results": ["estimates_table"],
        "site_likelihood": ["FalsePositives"],
        "solar_time": ["equation_of_time", "mean_daylight", "solar_hours", "sun_elevation", "sunrise_sunset"],
        "species": ["SpeciesEstimator"],
        "survey": ["NEEDED_COLUMNS", "Survey", "read_survey"],
    },
)
