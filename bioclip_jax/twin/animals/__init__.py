"""Individuals in space: populations by the hour, and herds and hunts by the second."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={})
