"""The statistics of a set of shards as one web page that needs nothing but itself."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "page": ["write_report"],
    },
)
