"""Dated events, paired ensembles of simulations, and their comparison."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={},
)
