"""Explain the embedding space: traits and taxonomy between species, factors within them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "between": ["analyze_between"],
        "checkpoint_series": ["open_stages"],
        "overview": ["write_overview"],
        "within": ["analyze_within"],
    },
)
