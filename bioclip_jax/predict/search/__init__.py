"""Similar images: an on-disk index over LanceDB."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "build": ["build_index", "delete_images"],
        "query": ["search_index", "within_filter"],
        "table": ["ImageIndex", "check_same_model", "quoted"],
    },
)
