"""Processes, meshes, shardings and collectives."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "collectives": ["Collectives"],
        "compilation": ["compile_lowered"],
        "data_parallel": ["DataParallel"],
        "initialize": ["all_processes", "allow_platform", "check_backend", "is_first_process"],
        "mesh": [
            "MeshConfig",
            "batch_sharding",
            "is_primary_replica",
            "make_mesh",
            "replicated",
            "rows_of_process",
        ],
        "sharding": ["ActivationSharding", "check_tensor", "parameter_shardings"],
    },
)
