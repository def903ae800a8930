"""Build shards from images of any source."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "build": ["build_shards"],
        "settings": ["BuildSettings"],
    },
)
