"""Verify shards: read everything, say what is wrong where, and write clean copies."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "report": ["print_report"],
        "verify": ["verify_shards"],
    },
)
