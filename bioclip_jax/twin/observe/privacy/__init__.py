"""Camera-trap data that others may see: generalized positions, opaque names, no people, no metadata."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "grid": ["CATEGORIES", "Category", "coarsen", "coarsen_deployments"],
        "metadata": ["strip_metadata"],
        "sensitivity": ["Sensitivity", "package_category", "read_sensitivity", "withheld_names"],
        "share": ["check_shared_folder", "share_package"],
        "sites": ["public_deployments"],
    },
)
