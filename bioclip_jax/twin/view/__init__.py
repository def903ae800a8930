"""The twin as one HTML page that loads nothing."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bundle": ["bundle_scripts"],
        "export": ["ExportOptions", "export_page"],
        "privacy": ["Secrets", "find_secrets", "secrets_of"],
        "sight": ["QUANTITIES", "sight_of"],
        "three": ["ThreeJs", "three_js"],
    },
)
