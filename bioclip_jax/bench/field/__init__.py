"""A memory card's run through predict: flat memory, kills and resumes, and the gain of events."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bursts": ["bursts_table", "measure_bursts"],
        "measure": ["field_table", "measure_field"],
        "memory_card": ["make_card"],
    },
)
