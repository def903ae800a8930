"""Parameters of a community from observations: likelihood, maximum a posteriori, posterior, checks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "likelihood": ["Calibration", "log_negative_binomial"],
        "observations": ["Detectability", "Observations", "period_weights"],
        "parameters": ["Parameter", "apply_parameters", "community_parameters"],
        "posterior": ["ParameterDraws"],
        "priors": ["PRIORS", "Prior"],
    },
)
