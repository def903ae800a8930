"""Processes, meshes, shardings and collectives."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "agreement": ["Agreement"],
        "backend": ["allow_platform", "check_backend"],
        "mesh": ["MeshConfig", "batch_sharding", "make_mesh", "replicated"],
        "rows": ["counts_its_rows", "rows_of_process"],
        "sharding": ["activation_sharding", "check_tensor", "parameter_shardings"],
        "startup": ["all_processes", "is_first_process"],
    },
)
