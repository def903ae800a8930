"""The twin as one HTML page that loads nothing."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bundle": ["bundle_scripts"],
        "content": ["patch_labels", "patch_order"],
        "export": ["ExportOptions", "export_page"],
        "live": ["live_branch", "live_page", "live_scene"],
        "privacy": ["find_secrets", "secrets_of"],
        "scenes": ["HOURS"],
        "sight": ["QUANTITIES", "sight_of"],
        "three": ["three_js"],
        "twin_of_run": ["find_twin"],
    },
)
