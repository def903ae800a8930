"""Verify shards: read everything, report all findings, and write repaired copies."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "report": ["print_report"],
        "verify": ["verify_shards"],
    },
)
