"""The page: a model for people with a browser, and the same answers for programs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "serve": ["serve_page"],
    },
)
