"""Places, species and links of a twin: terrain, climate, species tables, observed and inferred links."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={},
)
