"""Photographs of camera traps to a Camtrap DP package."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "effort": ["effort_days", "visit_effort"],
        "events": ["group_events"],
        "labels": ["one_spelling"],
        "observe": ["Predict", "observe_photos"],
        "options": ["ObserveOptions"],
    },
)
