"""Dated events, paired ensembles of simulations, and their comparison."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compare": ["CompareOptions", "branch_effects", "compare_runs", "comparison_table"],
        "contradictions": ["check_consistent"],
        "ensemble": ["BASELINE", "Ensemble"],
        "events": ["Crossing", "Event", "Harvest", "Introduce", "Remove", "Scenario", "Weather"],
        "randomness": ["normals"],
        "run": ["RunOptions", "ensemble_of", "run_twin", "summarize", "twin_digest"],
        "run_folder": ["Run", "read_run"],
        "scenario_file": ["read_scenario"],
        "timeline": ["Timeline", "end_of_run"],
        "weather": ["Noise", "environmental_noise", "rain_factors"],
    },
)
