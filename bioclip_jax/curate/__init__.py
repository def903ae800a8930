"""Build, align, verify and describe training shards."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "align": ["align_table"],
        "build": ["BuildSettings", "build_shards"],
        "stats": ["print_stats", "shard_stats"],
        "verify": ["print_report", "verify_shards"],
    },
)
