"""Predictions as a self-contained web page."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "page": ["thumbnails", "write_page"],
        "report": ["Report"],
    },
)
