"""Statistics of a set of shards: counts, a table for terminals, and an HTML report."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "stats": ["shard_stats"],
        "table": ["print_stats"],
    },
)
