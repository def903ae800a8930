"""Occupancy, activity, density and relative abundance, with intervals, from a Camtrap DP."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"interval": ["Interval"]})
