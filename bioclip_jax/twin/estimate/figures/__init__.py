"""Figures of `twin estimate`: occupancy and abundance, activity clocks, and a map of the sites."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "clocks": ["draw_activity"],
        "intervals": ["draw_occupancy"],
        "map": ["draw_map"],
        "names": ["short_name", "text_width"],
    },
)
