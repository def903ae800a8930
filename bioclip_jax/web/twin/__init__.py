"""The page of a twin, whose visitors simulate scenarios of their own."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "routes": ["routes_of", "twin_routes"],
        "service": ["TwinLimits", "TwinService", "open_twin"],
        "serve": ["serve_twin"],
    },
)
