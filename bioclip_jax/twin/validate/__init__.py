"""Published and planted cases that the twin is checked against."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cases": ["CASES", "Case", "Settings", "cases_table", "validate"],
        "closed_loop": ["study_closed_loop"],
        "inferred_links": ["inferred_links_case", "read_serengeti", "study_inferred_links"],
        "lynx_hare": ["Pelts", "fit_pelts", "read_pelts"],
        "walks": ["WalkSurvey", "WalkWorld", "encounter_study", "simulate_walks"],
    },
)
