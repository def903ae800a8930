"""Parameters of a community from observations: likelihood, maximum a posteriori, posterior, checks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={},
)
