"""Web page and HTTP API for a model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "serve": ["serve_page"],
        "twin": ["serve_twin"],
    },
)
