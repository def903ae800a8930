"""Events: frames of one place without a long pause between them, answered once each."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "frames": ["EVENT_COLUMNS", "FrameEvents", "find_events"],
        "grouping": ["check_gap", "event_id", "event_numbers"],
        "output": ["frames_path", "with_event"],
        "pooling": ["EventPredictions"],
        "times": ["Moment", "parse_time"],
    },
)
