"""Parameters of a community from observations: likelihood, maximum a posteriori, posterior, checks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "batch": ["Batch"],
        "calibrate": ["METHODS", "CalibrateOptions", "calibrate_twin", "read_observations"],
        "check": ["Ranks", "judge_ranks", "rank_simulations"],
        "counts_table": ["read_counts"],
        "fit": ["Fit", "fit_map"],
        "importance": ["WeightedDraws", "importance_draws"],
        "likelihood": ["Calibration", "log_negative_binomial"],
        "maximum": ["Maxima", "covariances", "curvatures", "maximize"],
        "nuts": ["fit_nuts", "sample_chains"],
        "observations": ["BLANK", "Detectability", "Observations", "period_weights"],
        "parameters": ["Parameter", "apply_parameters", "community_parameters"],
        "periods": ["days_since", "month_starts", "monthly_conditions"],
        "posterior": ["ParameterDraws"],
        "priors": ["COMMUNITY_KINDS", "PRIORS", "Prior"],
        "summary": ["log_values", "predictive_check", "predictive_counts", "summarize"],
        "survey_events": ["package_observations", "read_package_observations"],
    },
)
